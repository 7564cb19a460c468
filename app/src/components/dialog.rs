//! A question in a native `<dialog>`: focus starts on the safe answer, Escape closes, focus returns to where it was.

use leptos::html;
use leptos::prelude::*;
use wasm_bindgen::JsCast as _;

use super::button::{Button, Tone};
use crate::format::use_locale;
use crate::i18n::frame::CANCEL;

/// Opens while `open` is true; `confirm` is the verb of the button ("Delete web"), never "OK".
#[component]
pub fn Dialog(
    open: RwSignal<bool>,
    #[prop(into)] title: Signal<String>,
    #[prop(into)] confirm: Signal<String>,
    #[prop(optional)] tone: Tone,
    /// Why it cannot be confirmed yet.
    #[prop(optional, into)]
    off: Signal<Option<String>>,
    #[prop(into)] on_confirm: Callback<()>,
    children: ChildrenFn,
) -> impl IntoView {
    let locale = use_locale();
    let element = NodeRef::<html::Dialog>::new();
    Effect::new(move || {
        let Some(dialog) = element.get() else { return };
        if open.get() && !dialog.open() {
            // Fails only for a dialog that is open or not in the page.
            drop(dialog.show_modal());
        } else if !open.get() && dialog.open() {
            dialog.close();
        }
    });
    let children = StoredValue::new(children);
    let accept = move |()| {
        open.set(false);
        on_confirm.run(());
    };
    // Enter in a line of text presses the button, as it would in a form.
    let enter = move |event: web_sys::KeyboardEvent| {
        let is_line = || {
            event
                .target()
                .and_then(|target| target.dyn_into::<web_sys::HtmlInputElement>().ok())
                .is_some_and(|input| input.type_() == "text")
        };
        if event.key() == "Enter" && !event.is_composing() && is_line() {
            event.prevent_default();
            if off.with_untracked(Option::is_none) {
                accept(());
            }
        }
    };
    view! {
        <dialog class="dialog" node_ref=element on:keydown=enter on:close=move |_| open.set(false) aria-label=move || title.get()>
            <Show when=move || open.get()>
                <h2>{move || title.get()}</h2>
                <div class="dialog__body">{children.with_value(|children| children())}</div>
                <div class="dialog__actions">
                    <Button label=locale.t(CANCEL).to_owned() on_press=move |()| open.set(false)/>
                    <Button label=confirm tone=tone off=off on_press=accept/>
                </div>
            </Show>
        </dialog>
    }
}
