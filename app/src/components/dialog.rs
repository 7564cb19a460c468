//! A question in a native `<dialog>`: focus starts on the safe answer, Escape closes, focus returns to where it was.

use leptos::html;
use leptos::prelude::*;

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
    view! {
        <dialog class="dialog" node_ref=element on:close=move |_| open.set(false) aria-label=move || title.get()>
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
