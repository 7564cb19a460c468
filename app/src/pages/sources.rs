//! Sources.

use leptos::prelude::*;

/// The page.
#[component]
pub fn SourcesPage() -> impl IntoView {
    view! { <h1 tabindex="-1">"Sources"</h1> }
}
