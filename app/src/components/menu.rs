//! A menu of actions behind one button: a native `<details>`, which works by keyboard and without script; it closes on
//! Escape, on a choice and on a click elsewhere.

use leptos::html;
use leptos::prelude::*;
use wasm_bindgen::JsCast as _;

use super::icon::{Glyph, Icon};

/// The button carries `label` as its name.
#[component]
pub fn Menu(#[prop(into)] label: String, #[prop(optional, into)] icon: Option<Icon>, children: Children) -> impl IntoView {
    let element = NodeRef::<html::Details>::new();
    let close = move || {
        if let Some(details) = element.get_untracked() {
            details.set_open(false);
        }
    };
    let on_key = move |event: web_sys::KeyboardEvent| {
        if event.key() == "Escape" {
            close();
        }
    };
    let on_blur = move |event: web_sys::FocusEvent| {
        let target = event.related_target().and_then(|target| target.dyn_into::<web_sys::Node>().ok());
        let is_inside = element.get_untracked().is_some_and(|details| details.contains(target.as_ref()));
        if !is_inside && target.is_some() {
            close();
        }
    };
    view! {
        <details class="menu" node_ref=element on:keydown=on_key on:focusout=on_blur>
            <summary class="button button--quiet button--compact" aria-label=label.clone() title=label>
                <Glyph icon=icon.unwrap_or(Icon::More)/>
            </summary>
            <div class="menu__list" on:click=move |_| close()>{children()}</div>
        </details>
    }
}
