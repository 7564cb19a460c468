//! Says in a polite live region what a sighted person sees change, and moves the focus to the heading of a new page.

use leptos::prelude::*;

/// Context of the frame.
#[derive(Clone, Copy, Debug)]
pub struct Announcer {
    text: RwSignal<String>,
    /// The first page is announced by the browser itself.
    has_navigated: StoredValue<bool>,
}

impl Announcer {
    #[must_use]
    #[expect(clippy::new_without_default, reason = "it makes signals, so it belongs to an owner")]
    pub fn new() -> Self {
        Self {
            text: RwSignal::default(),
            has_navigated: StoredValue::new(false),
        }
    }

    /// Says a sentence once; also when it is the one that was said last.
    pub fn say(self, text: impl Into<String>) {
        let next = anew(&self.text.get_untracked(), text.into());
        self.text.set(next);
    }

    /// A page with this title and heading is shown now.
    pub fn page_shown(self, title: &str, heading: Option<web_sys::HtmlElement>) {
        if !self.has_navigated.try_get_value().unwrap_or(false) {
            self.has_navigated.set_value(true);
            return;
        }
        self.say(title.to_owned());
        if let Some(heading) = heading {
            // A heading with tabindex can always take the focus.
            drop(heading.focus());
        }
    }
}

/// A live region speaks when its text changes: the same sentence again ends with a space of no width.
fn anew(before: &str, text: String) -> String {
    if before == text { text + "\u{200b}" } else { text }
}

/// The announcer of this tab.
#[must_use]
pub fn use_announcer() -> Announcer {
    use_context::<Announcer>().unwrap_or_else(Announcer::new)
}

/// The live region; once in the frame.
#[component]
pub fn LiveRegion() -> impl IntoView {
    let announcer = use_announcer();
    view! { <div class="visually-hidden" role="status" aria-live="polite">{move || announcer.text.get()}</div> }
}

#[cfg(test)]
mod tests {
    use super::anew;

    #[test]
    fn the_same_sentence_twice_is_two_texts() {
        let first = anew("", "Tasks".to_owned());
        let second = anew(&first, "Tasks".to_owned());
        let third = anew(&second, "Tasks".to_owned());
        assert!(first != second && second != third);
        assert_eq!(third, "Tasks");
    }
}
