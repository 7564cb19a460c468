//! Tasks.

use leptos::prelude::*;

/// The page.
#[component]
pub fn TasksPage() -> impl IntoView {
    view! { <h1 tabindex="-1">"Tasks"</h1> }
}
