//! A value with a button that copies it; copying is announced.

use leptos::prelude::*;

use super::announcer::use_announcer;
use super::browser;
use super::icon::{Glyph, Icon};
use crate::format::use_locale;
use crate::i18n::frame::{COPIED, COPY};

/// Shows `shown` (or the value itself) in a monospace face and copies `value`.
#[component]
pub fn Copyable(#[prop(into)] value: String, #[prop(optional, into)] shown: Option<String>) -> impl IntoView {
    let locale = use_locale();
    let announcer = use_announcer();
    let is_copied = RwSignal::new(false);
    let text = shown.unwrap_or_else(|| value.clone());
    let full = value.clone();
    let copy = move |_| {
        browser::copy_text(&value);
        is_copied.set(true);
        announcer.say(locale.t(COPIED));
        browser::after(1500, move || {
            is_copied.try_set(false);
        });
    };
    let label = move || locale.t(if is_copied.get() { COPIED } else { COPY });
    view! {
        <span class="copyable">
            <code title=full><bdi>{text}</bdi></code>
            <button type="button" class="button button--quiet button--compact" on:click=copy aria-label=label title=label>
                {move || view! { <Glyph icon=if is_copied.get() { Icon::Check } else { Icon::Copy }/> }}
            </button>
        </span>
    }
}
