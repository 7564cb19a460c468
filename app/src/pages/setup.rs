//! Setup.

use leptos::prelude::*;

/// The page.
#[component]
pub fn SetupPage() -> impl IntoView {
    view! { <h1 tabindex="-1">"Setup"</h1> }
}
