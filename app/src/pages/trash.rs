//! Trash.

use leptos::prelude::*;

/// The page.
#[component]
pub fn TrashPage() -> impl IntoView {
    view! { <h1 tabindex="-1">"Trash"</h1> }
}
