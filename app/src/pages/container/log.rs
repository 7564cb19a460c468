//! What was written to the console, as plain text: to read, search with the browser, and follow.

use leptos::prelude::*;
use leptos::task::spawn_local;

use super::Subject;
use crate::api::containers as functions;
use crate::api::fetched::Fetched;
use crate::components::field::Tick;
use crate::components::page_frame::{Empty, Loaded};
use crate::format::use_locale;
use crate::i18n::containers as text;
use crate::live::use_live;

/// How much of the end is shown.
const BYTES: u32 = 256 * 1024;
/// How often it is read while it is followed, in seconds.
const EVERY_S: i64 = 2;

/// The tab.
#[component]
pub fn LogTab(subject: Subject) -> impl IntoView {
    let name = subject.name.clone();
    let first = Fetched::new(move || name.clone(), |name| functions::log(name, BYTES));
    view! { <Loaded resource=first full=move |log| view! { <Log name=subject.name.clone() first=log/> }.into_any()/> }
}

#[component]
fn Log(name: String, first: String) -> impl IntoView {
    let (locale, live) = (use_locale(), use_live());
    let (is_followed, is_wrapped) = (RwSignal::new(true), RwSignal::new(true));
    let log = RwSignal::new(plain(&first));
    let element = NodeRef::<leptos::html::Pre>::new();
    let due = Memo::new(move |_| live.now_ms.get() / (EVERY_S * 1000));
    Effect::new(move |before: Option<i64>| {
        let now = due.get();
        if before.is_some_and(|before| before != now) && is_followed.get_untracked() {
            let name = name.clone();
            spawn_local(async move {
                if let Ok(fresh) = functions::log(name, BYTES).await {
                    log.try_set(plain(&fresh));
                }
            });
        }
        now
    });
    Effect::new(move || {
        log.track();
        if let Some(element) = element.get().filter(|_| is_followed.get()) {
            element.set_scroll_top(element.scroll_height());
        }
    });
    let is_empty = Memo::new(move |_| log.with(String::is_empty));
    // Scrolling up is reading: the end no longer pulls the view down.
    let scrolled = move |_| {
        if let Some(element) = element.get_untracked() {
            let is_at_end = element.scroll_height() - element.scroll_top() - element.client_height() < 8;
            if is_followed.get_untracked() != is_at_end {
                is_followed.set(is_at_end);
            }
        }
    };
    view! {
        <div class="pane-head">
            <p class="muted">{locale.t(text::LOG_HINT)}</p>
            <Tick label=locale.t(text::FOLLOW) name="follow" value=is_followed/>
            <Tick label=locale.t(text::WRAP) name="wrap" value=is_wrapped/>
        </div>
        <Show when=move || !is_empty.get() fallback=move || view! { <Empty title=locale.t(text::LOG_EMPTY)/> }>
            <pre class="log" class:log--wrapped=move || is_wrapped.get() tabindex="0" node_ref=element on:scroll=scrolled dir="ltr"
                role="region" aria-label=locale.t(text::LOG)>{move || log.get()}</pre>
        </Show>
    }
}

/// Text without colours, cursor movements and control characters, so that what a container prints stays text.
fn plain(raw: &str) -> String {
    let mut out = String::with_capacity(raw.len());
    let mut rest = raw.chars().peekable();
    while let Some(letter) = rest.next() {
        match letter {
            '\u{1b}' => skip_escape(&mut rest),
            '\n' | '\t' => out.push(letter),
            '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => out.push('\u{fffd}'),
            control if control.is_control() => {}
            other => out.push(other),
        }
    }
    out
}

fn skip_escape(rest: &mut std::iter::Peekable<std::str::Chars<'_>>) {
    match rest.next() {
        // A control sequence ends with a letter or one of @[\]^_`{|}~.
        Some('[') => while rest.next().is_some_and(|letter| !('@'..='~').contains(&letter)) {},
        // A string ends with BEL or ESC \.
        Some(']' | 'P' | '_' | '^' | 'X') => {
            while let Some(letter) = rest.next() {
                if letter == '\u{7}' || letter == '\n' {
                    break;
                }
                if letter == '\u{1b}' {
                    rest.next_if_eq(&'\\');
                    break;
                }
            }
        }
        // Character sets take one more.
        Some('(' | ')') => drop(rest.next()),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::plain;

    #[test]
    fn colours_and_tricks_are_taken_out() {
        assert_eq!(plain("\u{1b}[1;32m OK \u{1b}[0m Started\r\n"), " OK  Started\n");
        assert_eq!(plain("\u{1b}]0;evil title\u{7}text"), "text");
        assert_eq!(plain("a\u{202e}b\u{8}c"), "a\u{fffd}bc");
        assert_eq!(plain("\u{1b}[31"), "");
        assert_eq!(plain("\u{1b}(Bok"), "ok");
    }
}
