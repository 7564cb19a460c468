//! A menu behind one button: a native `<details>`, which works by keyboard and without script; it closes on Escape, on a
//! choice, on a click elsewhere and on another page. Escape gives the focus back to the button.

use leptos::html;
use leptos::prelude::*;
use leptos_router::hooks::use_location;
use wasm_bindgen::JsCast as _;

use super::icon::{Glyph, Icon};

/// A `<details>` that closes like a menu.
#[derive(Clone, Copy, Debug)]
pub struct Fold {
    pub element: NodeRef<html::Details>,
}

impl Fold {
    /// For a component inside the router.
    #[must_use]
    #[expect(clippy::new_without_default, reason = "it makes signals, so it belongs to an owner")]
    pub fn new() -> Self {
        let fold = Self { element: NodeRef::new() };
        let path = use_location().pathname;
        Effect::new(move || {
            path.track();
            fold.close();
        });
        fold
    }

    pub fn close(self) {
        if let Some(details) = self.element.get_untracked() {
            details.set_open(false);
        }
    }

    pub fn on_key(self, event: &web_sys::KeyboardEvent) {
        let details = self.element.get_untracked().filter(|details| event.key() == "Escape" && details.open());
        let Some(details) = details else { return };
        details.set_open(false);
        let button = details.query_selector("summary").ok().flatten();
        if let Some(button) = button.and_then(|button| button.dyn_into::<web_sys::HtmlElement>().ok()) {
            // Only an element that is not shown refuses the focus.
            drop(button.focus());
        }
    }

    pub fn on_blur(self, event: &web_sys::FocusEvent) {
        let target = event.related_target().and_then(|target| target.dyn_into::<web_sys::Node>().ok());
        let is_inside = self.element.get_untracked().is_some_and(|details| details.contains(target.as_ref()));
        if !is_inside && target.is_some() {
            self.close();
        }
    }
}

/// The button carries `label` as its name.
#[component]
pub fn Menu(#[prop(into)] label: String, #[prop(optional, into)] icon: Option<Icon>, children: Children) -> impl IntoView {
    let fold = Fold::new();
    view! {
        <details class="menu" node_ref=fold.element on:keydown=move |event| fold.on_key(&event) on:focusout=move |event| fold.on_blur(&event)>
            <summary class="button button--quiet button--compact" aria-label=label.clone() title=label>
                <Glyph icon=icon.unwrap_or(Icon::More)/>
            </summary>
            <div class="menu__list" on:click=move |_| fold.close()>{children()}</div>
        </details>
    }
}
