//! Not found.

use leptos::prelude::*;

/// The page.
#[component]
pub fn NotFoundPage() -> impl IntoView {
    view! { <h1 tabindex="-1">"Not found"</h1> }
}
