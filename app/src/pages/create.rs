//! Create.

use leptos::prelude::*;

/// The page.
#[component]
pub fn CreatePage() -> impl IntoView {
    view! { <h1 tabindex="-1">"Create"</h1> }
}
