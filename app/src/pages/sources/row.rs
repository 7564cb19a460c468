//! One source, and beneath it why its last refresh failed.

use leptos::prelude::*;
use model::Permission;
use model::template::{Source, SourceKind};

use super::Shelf;
use crate::components::button::{Button, Tone};
use crate::components::icon::{Glyph, Icon};
use crate::components::moment::Ago;
use crate::format::use_locale;
use crate::i18n::Text;
use crate::i18n::frame::PHASE_WORK;
use crate::i18n::upkeep as text;
use crate::page_context::use_may;

/// The word for a kind.
#[must_use]
pub fn kind(kind: SourceKind) -> Text {
    match kind {
        SourceKind::Simplestreams => text::KIND_SIMPLESTREAMS,
        SourceKind::Mirror => text::KIND_MIRROR,
        SourceKind::Aplinfo => text::KIND_APLINFO,
        SourceKind::Oci => text::KIND_OCI,
        SourceKind::Lxc => text::KIND_LXC,
    }
}

/// A row of the table.
#[component]
pub fn SourceRow(shelf: Shelf, source: Source) -> impl IntoView {
    let locale = use_locale();
    let name = source.name.to_string();
    let refreshed = match source.last_refresh_at {
        Some(at) => view! { <Ago at=at/> }.into_any(),
        None => view! { <span class="muted">{locale.t(text::NEVER)}</span> }.into_any(),
    };
    let dropped = (source.dropped > 0).then(|| locale.count(text::DROPPED_N, u64::from(source.dropped)));
    let plain = (!source.encrypted)
        .then(|| view! { <span class="tag" data-tone="progress" title=locale.t(text::NOT_ENCRYPTED_HINT)>{locale.t(text::NOT_ENCRYPTED)}</span> });
    let error = source.last_error.map(|why| {
        view! {
            <p class="source-error"><Glyph icon=Icon::Warning/>{locale.fill(text::LAST_ERROR, &[("why", &why)])}</p>
        }
    });
    let is_busy = {
        let name = name.clone();
        Memo::new(move |_| shelf.is_busy(&name))
    };
    view! {
        <tr aria-busy=move || is_busy.get().then_some("true")>
            <th scope="row" class="cell-name"><a href=format!("/templates?source={name}")><bdi>{name.clone()}</bdi></a></th>
            <td class="cell-kind" data-label=locale.t(text::KIND)>{locale.t(kind(source.kind))}</td>
            <td class="cell-url" data-label=locale.t(text::ADDRESS)><code><bdi>{source.url}</bdi></code>" "{plain}</td>
            <td class="cell-offered number" data-label=locale.t(text::OFFERED)>
                {locale.count(text::OFFERED_N, u64::from(source.offered))}
                {dropped.map(|dropped| view! { <p class="muted">{dropped}</p> })}
            </td>
            <td class="cell-refresh" data-label=locale.t(text::LAST_REFRESH)>{refreshed}{error}</td>
            <td class="cell-actions">{use_may(Permission::Templates).then(|| view! { <RowActions shelf=shelf name=name is_busy=is_busy/> })}</td>
        </tr>
    }
}

#[component]
fn RowActions(shelf: Shelf, name: String, is_busy: Memo<bool>) -> impl IntoView {
    let locale = use_locale();
    let off = Signal::derive(move || is_busy.get().then(|| locale.t(PHASE_WORK).to_owned()));
    let (refresh_label, remove_label) = (
        locale.fill(text::REFRESH_NAMED, &[("name", &name)]),
        locale.fill(text::REMOVE_NAMED, &[("name", &name)]),
    );
    let asked = name.clone();
    let ask = move |()| {
        shelf.asked.set(asked.clone());
        shelf.is_asking.set(true);
    };
    view! {
        <div class="row">
            <Button label=refresh_label icon=Icon::Restart compact=true off=off on_press=move |()| shelf.refresh(&name)/>
            {use_may(Permission::Administer).then(|| view! { <Button label=remove_label tone=Tone::Danger icon=Icon::Delete compact=true off=off on_press=ask/> })}
        </div>
    }
}
