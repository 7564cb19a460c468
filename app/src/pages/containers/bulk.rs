//! The bar over the list while rows are selected.

use leptos::prelude::*;
use model::container::Action;

use super::Selection;
use crate::components::button::{Button, Tone};
use crate::components::icon::Icon;
use crate::format::use_locale;
use crate::i18n::containers as text;
use crate::i18n::frame::SELECTED;
use crate::live::{Row, use_live};
use crate::pages::actions::use_actions;

/// Starts or stops what is selected and may be; the others are left alone. For those who may act.
#[component]
pub fn BulkBar(selection: Selection) -> impl IntoView {
    let (locale, live, actions) = (use_locale(), use_live(), use_actions());
    let chosen = move || -> Vec<Row> {
        let ids = selection.ids.get();
        live.rows.with(|rows| ids.iter().filter_map(|id| rows.get(id)).cloned().collect())
    };
    let able = move |action: Action| {
        let mut rows = chosen();
        rows.retain(|row| row.summary.with(|summary| summary.state.allows(action).is_ok()));
        rows
    };
    let count = Memo::new(move |_| selection.ids.with(|ids| ids.len() as u64));
    let startable = Memo::new(move |_| able(Action::Start).len() as u64);
    let stoppable = Memo::new(move |_| able(Action::Stop).len() as u64);
    let run = move |action: Action| move |()| actions.run_all(able(action), action);
    view! {
        <Show when=move || count.get() != 0>
            <div class="bulk-bar" role="region" aria-label=move || locale.count(SELECTED, count.get())>
                <strong>{move || locale.count(SELECTED, count.get())}</strong>
                <Show when=move || startable.get() != 0>
                    <Button label=Signal::derive(move || locale.count(text::START_N, startable.get())) icon=Icon::Play on_press=run(Action::Start)/>
                </Show>
                <Show when=move || stoppable.get() != 0>
                    <Button label=Signal::derive(move || locale.count(text::STOP_N, stoppable.get())) icon=Icon::Stop on_press=run(Action::Stop)/>
                </Show>
                <Button label=locale.t(text::CLEAR_SELECTION).to_owned() tone=Tone::Quiet on_press=move |()| selection.ids.set(Default::default())/>
            </div>
        </Show>
    }
}
