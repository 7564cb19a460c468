//! Containers.

use leptos::prelude::*;

/// The page.
#[component]
pub fn ContainersPage() -> impl IntoView {
    view! { <h1 tabindex="-1">"Containers"</h1> }
}
