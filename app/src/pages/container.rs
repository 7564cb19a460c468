//! Container.

use leptos::prelude::*;

/// The page.
#[component]
pub fn ContainerPage() -> impl IntoView {
    view! { <h1 tabindex="-1">"Container"</h1> }
}
