//! Short messages over the page: what was done with "Undo" for 10 s, and what failed until it is dismissed.

use leptos::prelude::*;

use super::browser;
use super::button::{Button, Tone};
use super::icon::Icon;
use crate::api::ApiError;
use crate::format::{Locale, use_locale};
use crate::i18n::Text;
use crate::i18n::frame::{DISMISS, NOTIFICATIONS, RETRY_FAILED, UNDO};
use crate::i18n::reasons::said;

/// How long a message with "Undo" stays (ui.md rule 7: at least 10 s).
const UNDO_MS: i32 = 12_000;
const DONE_MS: i32 = 5000;

#[derive(Clone, Debug)]
struct Toast {
    id: u32,
    text: String,
    is_failure: bool,
    /// What can be done about it: the word of the button, and the deed.
    answer: Option<(Text, Callback<()>)>,
}

/// The messages of this tab.
#[derive(Clone, Copy, Debug)]
pub struct Toasts {
    list: RwSignal<Vec<Toast>>,
    next: StoredValue<u32>,
    locale: Locale,
}

impl Toasts {
    #[must_use]
    #[expect(clippy::new_without_default, reason = "it makes signals, so it belongs to an owner")]
    pub fn new() -> Self {
        Self {
            list: RwSignal::default(),
            next: StoredValue::new(0),
            locale: use_locale(),
        }
    }

    /// Something was done.
    pub fn done(self, text: impl Into<String>) {
        self.put(text.into(), false, None, Some(DONE_MS));
    }

    /// Something was done that can be undone.
    pub fn undoable(self, text: impl Into<String>, undo: Callback<()>) {
        self.put(text.into(), false, Some((UNDO, undo)), Some(UNDO_MS));
    }

    /// Something failed: stays until it is dismissed.
    pub fn failed(self, text: impl Into<String>) {
        self.put(text.into(), true, None, None);
    }

    /// Something failed for some of many: those can be tried again.
    pub fn retryable(self, text: impl Into<String>, retry: Callback<()>) {
        self.put(text.into(), true, Some((RETRY_FAILED, retry)), None);
    }

    /// A refusal with its hint.
    pub fn refused(self, error: &ApiError) {
        let body = error.body();
        let why = said(self.locale, body.code, &body.message);
        self.failed(match body.hint {
            Some(hint) => format!("{why}; {hint}"),
            None => why,
        });
    }

    fn put(self, text: String, is_failure: bool, answer: Option<(Text, Callback<()>)>, stays_ms: Option<i32>) {
        let id = self.next.try_update_value(|next| {
            *next += 1;
            *next
        });
        let Some(id) = id else { return };
        self.list.update(|list| list.push(Toast { id, text, is_failure, answer }));
        if let Some(ms) = stays_ms {
            // What was done on a page is often told on the next one.
            browser::after_on_any_page(ms, move || self.drop_one(id));
        }
    }

    fn drop_one(self, id: u32) {
        self.list.try_update(|list| list.retain(|toast| toast.id != id));
    }
}

/// The messages of this tab.
#[must_use]
pub fn use_toasts() -> Toasts {
    use_context::<Toasts>().unwrap_or_else(Toasts::new)
}

/// Where they appear; once in the frame.
#[component]
pub fn ToastList() -> impl IntoView {
    let toasts = use_toasts();
    let locale = use_locale();
    view! {
        <section class="toasts" role="status" aria-live="polite" aria-label=locale.t(NOTIFICATIONS)>
            <For each=move || toasts.list.get() key=|toast| toast.id let:toast>
                <ToastView toast=toast/>
            </For>
        </section>
    }
}

#[component]
fn ToastView(toast: Toast) -> impl IntoView {
    let toasts = use_toasts();
    let locale = use_locale();
    let id = toast.id;
    let answer = toast.answer.map(|(word, deed)| {
        let press = move |()| {
            deed.run(());
            toasts.drop_one(id);
        };
        view! { <Button label=locale.t(word).to_owned() on_press=press/> }
    });
    view! {
        <div class="toast" data-state=if toast.is_failure { "failed" } else { "done" }>
            <p>{toast.text}</p>
            {answer}
            <Button label=locale.t(DISMISS).to_owned() tone=Tone::Quiet icon=Icon::Close compact=true on_press=move |()| toasts.drop_one(id)/>
        </div>
    }
}
