//! Templates.

use leptos::prelude::*;

/// The page.
#[component]
pub fn TemplatesPage() -> impl IntoView {
    view! { <h1 tabindex="-1">"Templates"</h1> }
}
