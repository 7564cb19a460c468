//! The few things asked of the browser directly. All of it is called from effects and handlers only, so never on the
//! server.

use std::time::Duration;

use leptos::prelude::*;
use wasm_bindgen::JsCast as _;
use wasm_bindgen::prelude::Closure;

/// Runs something later. Without a window there is no later, and nothing to do.
pub fn after(ms: u64, then: impl FnOnce() + 'static) {
    drop(set_timeout(then, Duration::from_millis(ms)));
}

/// As [`after`], also when the page that asked was left: a timer of the framework ends with its owner.
pub fn after_on_any_page(ms: i32, then: impl FnOnce() + 'static) {
    let then = Closure::<dyn FnMut()>::once_into_js(then);
    // Only a missing function can be refused.
    drop(window().set_timeout_with_callback_and_timeout_and_arguments_0(then.unchecked_ref(), ms));
}

/// Sets a cookie that is no secret, for a year.
pub fn set_cookie(name: &str, value: &str) {
    if let Ok(document) = document().dyn_into::<web_sys::HtmlDocument>() {
        // A browser that refuses cookies keeps the defaults.
        drop(document.set_cookie(&format!("{name}={value}; path=/; max-age=31536000; samesite=strict")));
    }
}

/// Where this tab keeps what its next page may need. A browser may refuse to keep anything.
fn tab() -> Option<web_sys::Storage> {
    window().session_storage().ok().flatten()
}

/// What an earlier page of this tab kept.
#[must_use]
pub fn kept(key: &str) -> Option<String> {
    tab()?.get_item(key).ok().flatten()
}

/// Keeps a text for later pages of this tab.
pub fn keep(key: &str, text: &str) {
    if let Some(tab) = tab() {
        // Without room the next page knows less.
        drop(tab.set_item(key, text));
    }
}

/// Keeps nothing more of what this tab kept.
pub fn forget_all() {
    if let Some(tab) = tab() {
        drop(tab.clear());
    }
}

/// Loads a page anew from the server: after signing in or out, and for a new version.
pub fn go_to(path: &str) {
    // Only a malformed address can be refused.
    drop(window().location().set_href(path));
}

/// As [`go_to`], without a step back to where it came from.
pub fn replace_with(path: &str) {
    drop(window().location().replace(path));
}

/// Calls back before anything else hears that a link was pressed.
pub fn before_each_click_on_a_link(call: impl Fn(web_sys::HtmlAnchorElement) + 'static) {
    let hear = Closure::<dyn Fn(web_sys::MouseEvent)>::new(move |event: web_sys::MouseEvent| {
        let pressed = event.target().and_then(|target| target.dyn_into::<web_sys::Element>().ok());
        let link = pressed.and_then(|pressed| pressed.closest("a[href]").ok().flatten());
        if let Some(link) = link.and_then(|link| link.dyn_into().ok()) {
            call(link);
        }
    });
    let heard = document().add_event_listener_with_callback_and_bool("click", hear.as_ref().unchecked_ref(), true);
    drop(heard);
    // As long as the page.
    hear.forget();
}

/// Loads this page anew.
pub fn reload() {
    drop(window().location().reload());
}

/// The browser asks whether to leave a page for another that is loaded, while something typed would be lost.
pub fn ask_before_leaving(has_typed: impl Fn() -> bool + Copy + 'static) {
    Effect::new(move || {
        let heard = window_event_listener(leptos::ev::beforeunload, move |event| {
            if has_typed() {
                event.prevent_default();
            }
        });
        on_cleanup(move || heard.remove());
    });
}

/// Writes text to the clipboard. Without a secure context there is none, so a selection is copied instead.
pub fn copy_text(text: &str) {
    let has_clipboard = js_sys::Reflect::get(&window().navigator(), &"clipboard".into()).is_ok_and(|value| value.is_object());
    if has_clipboard && window().is_secure_context() {
        drop(window().navigator().clipboard().write_text(text));
        return;
    }
    copy_by_selection(text);
}

fn copy_by_selection(text: &str) -> Option<()> {
    let area = document().create_element("textarea").ok()?.dyn_into::<web_sys::HtmlTextAreaElement>().ok()?;
    area.set_value(text);
    let body = document().body()?;
    body.append_child(&area).ok()?;
    area.select();
    let document = document().dyn_into::<web_sys::HtmlDocument>().ok()?;
    // When the command is refused the person still sees nothing copied in the paste.
    drop(document.exec_command("copy"));
    area.remove();
    Some(())
}

/// The fragment of the address without its `#`.
#[must_use]
pub fn fragment() -> String {
    window().location().hash().unwrap_or_default().trim_start_matches('#').to_owned()
}
