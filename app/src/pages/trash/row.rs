//! One deleted container.

use leptos::prelude::*;
use model::Permission;
use model::storage::TrashEntry;

use super::Bin;
use crate::components::button::{Button, Tone};
use crate::components::icon::{Glyph, Icon};
use crate::components::moment::Ago;
use crate::format::use_locale;
use crate::i18n::frame::PHASE_WORK;
use crate::i18n::upkeep as text;
use crate::page_context::use_may;

/// A row of the table.
#[component]
pub fn TrashRow(bin: Bin, entry: TrashEntry) -> impl IntoView {
    let locale = use_locale();
    let id = entry.id;
    let is_busy = Memo::new(move |_| bin.busy.with(|busy| busy.contains(&id)));
    let size = match entry.size_bytes {
        Some(bytes) => view! { {locale.bytes(bytes)} }.into_any(),
        None => view! { <span class="muted">{locale.t(text::NOT_MEASURED)}</span> }.into_any(),
    };
    let shown = entry.clone();
    view! {
        <tr aria-busy=move || is_busy.get().then_some("true")>
            <th scope="row" class="cell-name"><bdi>{shown.name}</bdi></th>
            <td class="cell-size number" data-label=locale.t(text::SIZE)>{size}</td>
            <td class="cell-deleted" data-label=locale.t(text::DELETED)><Ago at=shown.deleted_at/></td>
            <td class="cell-user" data-label=locale.t(text::DELETED_BY)><bdi>{shown.deleted_by}</bdi></td>
            <td class="cell-expires" data-label=locale.t(text::EXPIRES)><Ago at=shown.expires_at/></td>
            <td class="cell-actions">
                {use_may(Permission::Containers).then(|| view! { <RowActions bin=bin entry=entry is_busy=is_busy/> })}
            </td>
        </tr>
    }
}

#[component]
fn RowActions(bin: Bin, entry: TrashEntry, is_busy: Memo<bool>) -> impl IntoView {
    let locale = use_locale();
    let off = Signal::derive(move || is_busy.get().then(|| locale.t(PHASE_WORK).to_owned()));
    let purge_label = locale.fill(text::PURGE_NAMED, &[("name", &entry.name)]);
    let about = entry.clone();
    let ask = move |()| {
        bin.asked.set(Some(about.clone()));
        bin.is_purging.set(true);
    };
    let (id, name) = (entry.id.to_string(), entry.name.clone());
    let submit = move |event: web_sys::SubmitEvent| {
        event.prevent_default();
        if !is_busy.get_untracked() {
            bin.restore(entry.clone(), None);
        }
    };
    view! {
        <div class="row">
            <form method="post" action="/fn/trash/restore" on:submit=submit>
                <input type="hidden" name="id" value=id/>
                <button class=Tone::Plain.class() aria-label=locale.fill(text::RESTORE_NAMED, &[("name", &name)])
                    aria-disabled=move || is_busy.get().then_some("true") aria-description=move || off.get()>
                    <Glyph icon=Icon::Restart/>
                    <span>{locale.t(text::RESTORE)}</span>
                </button>
            </form>
            <Button label=purge_label tone=Tone::Danger icon=Icon::Delete compact=true off=off on_press=ask/>
        </div>
    }
}
