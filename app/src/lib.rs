//! The pages of the console, rendered by the server and hydrated in the browser.
//!
//! Invariant: nothing here knows SQL, system calls or business rules; server functions (`api`) name the caller, make one
//! call to `control` and return.
#![recursion_limit = "256"]

pub mod api;
pub mod app;
pub mod bundle;
pub mod components;
pub mod format;
pub mod forms;
pub mod i18n;
pub mod json;
pub mod live;
pub mod map;
pub mod page_context;
pub mod pages;

/// Entry point of the browser half.
#[cfg(feature = "hydrate")]
#[wasm_bindgen::prelude::wasm_bindgen]
pub fn hydrate() {
    // A release build has no words for panics: the page says that something broke, and how to go on.
    #[cfg(feature = "panic-words")]
    console_error_panic_hook::set_once();
    leptos::mount::hydrate_body(app::App);
}
