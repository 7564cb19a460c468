//! Overview.

use leptos::prelude::*;

/// The page.
#[component]
pub fn DashboardPage() -> impl IntoView {
    view! { <h1 tabindex="-1">"Overview"</h1> }
}
