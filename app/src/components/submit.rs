//! The button that sends a form which needs the script.

use leptos::prelude::*;

use super::button::Tone;

/// Until the script has taken over it is off, and with it the enter key: sent plainly, such a form would lose what was
/// typed, or write a password into the address.
#[component]
pub fn Submit(
    #[prop(into)] label: String,
    #[prop(optional)] tone: Tone,
    /// Whether the form is on its way; another press does nothing.
    #[prop(optional, into)]
    busy: Signal<bool>,
) -> impl IntoView {
    let is_awake = RwSignal::new(false);
    Effect::new(move || is_awake.set(true));
    view! {
        <button type="submit" class=tone.class() disabled=move || !is_awake.get() aria-disabled=move || busy.get().then_some("true")>
            {label}
        </button>
    }
}
