//! What a task writes: read again every second while it runs, and once more when it is over.

use leptos::prelude::*;
use leptos::task::spawn_local;
use model::TaskId;

use crate::api::fetched::Fetched;
use crate::api::tasks as functions;
use crate::components::field::Tick;
use crate::components::page_frame::{Empty, Loaded};
use crate::format::use_locale;
use crate::i18n::reasons::answer;
use crate::i18n::upkeep as text;
use crate::live::use_live;

/// The log of one task.
#[component]
pub fn TaskLog(id: TaskId, is_over: Memo<bool>) -> impl IntoView {
    let locale = use_locale();
    let first = Fetched::new(|| (), move |()| functions::log(id));
    view! {
        <section class="card">
            <h2>{locale.t(text::LOG)}</h2>
            <Loaded resource=first full=move |log| view! { <Lines id=id is_over=is_over first=log/> }.into_any()/>
        </section>
    }
}

#[component]
fn Lines(id: TaskId, is_over: Memo<bool>, first: String) -> impl IntoView {
    let locale = use_locale();
    let log = RwSignal::new(first);
    let stale = RwSignal::new(None::<String>);
    let is_followed = RwSignal::new(true);
    let element = NodeRef::<leptos::html::Pre>::new();
    read_again(id, is_over, log, stale);
    Effect::new(move || {
        log.track();
        if let Some(element) = element.get().filter(|_| is_followed.get()) {
            element.set_scroll_top(element.scroll_height());
        }
    });
    // Scrolling up is reading: the end no longer pulls the view down.
    let scrolled = move |_| {
        if let Some(element) = element.get_untracked() {
            let is_at_end = element.scroll_height() - element.scroll_top() - element.client_height() < 8;
            if is_followed.get_untracked() != is_at_end {
                is_followed.set(is_at_end);
            }
        }
    };
    let is_empty = Memo::new(move |_| log.with(String::is_empty));
    let nothing = move || locale.t(if is_over.get() { text::LOG_EMPTY } else { text::LOG_EMPTY_YET }).to_owned();
    view! {
        <Show when=move || !is_over.get()><Tick label=locale.t(text::FOLLOW) name="follow" value=is_followed/></Show>
        {move || stale.get().map(|why| view! { <p class="muted" role="status">{locale.fill(text::LOG_STALE, &[("why", &why)])}</p> })}
        <Show when=move || !is_empty.get() fallback=move || view! { <Empty title=nothing()/> }>
            <pre class="log log--short log--wrapped" tabindex="0" node_ref=element on:scroll=scrolled dir="ltr"
                role="region" aria-label=locale.t(text::LOG_OF)>{move || log.get()}</pre>
        </Show>
    }
}

/// Reads the log each second until the task is over, and then a last time. A reading that is late skips the next.
fn read_again(id: TaskId, is_over: Memo<bool>, log: RwSignal<String>, stale: RwSignal<Option<String>>) {
    let (locale, now_ms) = (use_locale(), use_live().now_ms);
    let is_reading = StoredValue::new(false);
    let due = Memo::new(move |_| if is_over.get() { None } else { Some(now_ms.get() / 1000) });
    Effect::new(move |before: Option<Option<i64>>| {
        let now = due.get();
        let is_last = now.is_none();
        let is_due = before.is_some_and(|before| before != now) && (is_last || !is_reading.get_value());
        if is_due {
            is_reading.set_value(true);
            spawn_local(async move {
                match functions::log(id).await {
                    Ok(fresh) => {
                        stale.try_set(None);
                        log.try_set(fresh);
                    }
                    Err(error) => {
                        stale.try_set(Some(answer(locale, &error)));
                    }
                }
                is_reading.try_set_value(false);
            });
        }
        now
    });
}
