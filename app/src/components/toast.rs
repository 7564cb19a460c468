//! Short messages over the page: what was done with "Undo" for 10 s, and what failed until it is dismissed.

use leptos::prelude::*;

use super::browser;
use super::button::{Button, Tone};
use super::icon::Icon;
use crate::api::ApiError;
use crate::format::{Locale, use_locale};
use crate::i18n::Text;
use crate::i18n::frame::{DISMISS, NOTIFICATIONS, RETRY_FAILED, UNDO};
use crate::i18n::reasons::answer;

const DONE_MS: i32 = 5000;

#[derive(Clone, Debug)]
struct Toast {
    id: u32,
    text: String,
    is_failure: bool,
    /// What can be done about it: the word of the button, and what hears once whether it was pressed.
    answer: Option<(Text, Callback<bool>)>,
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

    /// Something was done that can be undone for so long. `over` is told when the message goes: whether to undo it.
    pub fn undoable(self, text: impl Into<String>, over: Callback<bool>, stays_ms: i32) {
        self.put(text.into(), false, Some((UNDO, over)), Some(stays_ms));
    }

    /// Something failed: stays until it is dismissed.
    pub fn failed(self, text: impl Into<String>) {
        self.put(text.into(), true, None, None);
    }

    /// Something failed for some of many: those can be tried again.
    pub fn retryable(self, text: impl Into<String>, retry: Callback<bool>) {
        self.put(text.into(), true, Some((RETRY_FAILED, retry)), None);
    }

    /// A refusal with its hint.
    pub fn refused(self, error: &ApiError) {
        let why = answer(self.locale, error);
        self.failed(match error.body().hint {
            Some(hint) => format!("{why}; {hint}"),
            None => why,
        });
    }

    fn put(self, text: String, is_failure: bool, answer: Option<(Text, Callback<bool>)>, stays_ms: Option<i32>) {
        let id = self.next.try_update_value(|next| {
            *next += 1;
            *next
        });
        let Some(id) = id else { return };
        self.list.update(|list| list.push(Toast { id, text, is_failure, answer }));
        if let Some(ms) = stays_ms {
            // What was done on a page is often told on the next one.
            browser::after_on_any_page(ms, move || self.end(id, false));
        }
    }

    /// Takes a message away, and tells whether its button was pressed.
    fn end(self, id: u32, is_pressed: bool) {
        let gone = self.list.try_update(|list| {
            let place = list.iter().position(|toast| toast.id == id)?;
            Some(list.remove(place))
        });
        if let Some((_, deed)) = gone.flatten().and_then(|toast| toast.answer) {
            // Gone with the page that asked.
            deed.try_run(is_pressed);
        }
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
    let answer = toast
        .answer
        .map(|(word, _)| view! { <Button label=locale.t(word).to_owned() on_press=move |()| toasts.end(id, true)/> });
    view! {
        <div class="toast" data-state=if toast.is_failure { "failed" } else { "done" }>
            <p>{toast.text}</p>
            {answer}
            <Button label=locale.t(DISMISS).to_owned() tone=Tone::Quiet icon=Icon::Close compact=true on_press=move |()| toasts.end(id, false)/>
        </div>
    }
}
