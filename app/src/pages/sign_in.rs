//! Sign in.

use leptos::prelude::*;

/// The page.
#[component]
pub fn SignInPage() -> impl IntoView {
    view! { <h1 tabindex="-1">"Sign in"</h1> }
}
