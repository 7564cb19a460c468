//! Account.

use leptos::prelude::*;

/// The page.
#[component]
pub fn AccountPage() -> impl IntoView {
    view! { <h1 tabindex="-1">"Account"</h1> }
}
