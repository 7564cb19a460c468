//! A terminal pane. The work is done by the element `<berth-terminal>` of public/terminal.js, which is loaded with
//! xterm.js the first time that a pane is shown; this wraps it and says in words what became of the session.

use leptos::prelude::*;
use wasm_bindgen::prelude::*;

use super::button::Tone;
use super::dialog::Dialog;
use crate::format::use_locale;
use crate::i18n::containers as text;
use crate::page_context::{Assets, use_page};

/// What the session does.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Session {
    #[default]
    Opening,
    Open,
    Lost,
    /// It ended, with its exit code and a reason.
    Ended(i32, String),
    /// The socket was closed for good: its close code and a reason.
    Refused(i32, String),
}

/// A pane attached to the WebSocket at `socket`.
#[component]
pub fn TerminalPane(#[prop(into)] socket: String, #[prop(into)] label: String, session: RwSignal<Session>) -> impl IntoView {
    let assets = use_page().assets;
    let host = NodeRef::<leptos::html::Div>::new();
    let pasted = RwSignal::new(String::new());
    let is_asking = RwSignal::new(false);
    Effect::new(move || {
        let Some(host) = host.get() else { return };
        load_script(&assets.file("terminal.js"));
        if let Some(element) = make_element(&assets, &socket, &label) {
            listen(&element, session, pasted, is_asking);
            // A pane for another session is drawn into the same div, where Leptos knows of no child: the one of the session
            // before goes, and its listeners with it.
            host.replace_children_with_node_1(&element);
        }
    });
    view! {
        <div class="terminal" node_ref=host></div>
        <PasteQuestion host=host pasted=pasted is_asking=is_asking/>
    }
}

fn load_script(address: &str) {
    if document().query_selector(&format!("script[src='{address}']")).ok().flatten().is_some() {
        return;
    }
    let make = || {
        let script = document().create_element("script").ok()?;
        script.set_attribute("type", "module").ok()?;
        script.set_attribute("src", address).ok()?;
        document().head()?.append_child(&script).ok()
    };
    if make().is_none() {
        leptos::logging::warn!("the terminal's script could not be loaded");
    }
}

fn make_element(assets: &Assets, socket: &str, label: &str) -> Option<web_sys::Element> {
    let element = document().create_element("berth-terminal").ok()?;
    let attributes = [
        ("data-socket", socket.to_owned()),
        ("data-label", label.to_owned()),
        ("data-xterm", assets.file("xterm.mjs")),
        ("data-fit", assets.file("addon-fit.mjs")),
        ("data-css", assets.file("xterm.css")),
    ];
    for (name, value) in attributes {
        element.set_attribute(name, &value).ok()?;
    }
    Some(element)
}

fn listen(element: &web_sys::Element, session: RwSignal<Session>, pasted: RwSignal<String>, is_asking: RwSignal<bool>) {
    let on_state = Closure::<dyn FnMut(web_sys::CustomEvent)>::new(move |event: web_sys::CustomEvent| {
        session.try_set(state_of(&event.detail()));
    });
    let on_paste = Closure::<dyn FnMut(web_sys::CustomEvent)>::new(move |event: web_sys::CustomEvent| {
        pasted.try_set(text_of(&event.detail(), "text"));
        is_asking.try_set(true);
    });
    // Event names and listeners of the right kind cannot be refused.
    drop(element.add_event_listener_with_callback("terminal-state", on_state.as_ref().unchecked_ref()));
    drop(element.add_event_listener_with_callback("terminal-paste", on_paste.as_ref().unchecked_ref()));
    on_state.forget();
    on_paste.forget();
}

fn text_of(detail: &JsValue, key: &str) -> String {
    js_sys::Reflect::get(detail, &key.into())
        .ok()
        .and_then(|value| value.as_string())
        .unwrap_or_default()
}

#[expect(clippy::cast_possible_truncation, reason = "an exit code")]
fn state_of(detail: &JsValue) -> Session {
    let code = js_sys::Reflect::get(detail, &"code".into())
        .ok()
        .and_then(|value| value.as_f64())
        .unwrap_or(0.0) as i32;
    match text_of(detail, "state").as_str() {
        "open" => Session::Open,
        "lost" => Session::Lost,
        "ended" => Session::Ended(code, text_of(detail, "reason")),
        "refused" => Session::Refused(code, text_of(detail, "reason")),
        _ => Session::Opening,
    }
}

/// What is pasted with its control characters drawn, so that nothing in it hides.
fn shown(text: &str) -> String {
    let draw = |letter: char| match u32::from(letter) {
        code if letter == '\n' || code > 0x9f => letter,
        code @ 0..=0x1f => char::from_u32(0x2400 + code).unwrap_or('\u{fffd}'),
        0x7f => '\u{2421}',
        0x80..=0x9f => '\u{fffd}',
        _ => letter,
    };
    text.replace("\r\n", "\n").chars().map(draw).collect()
}

/// Several lines run as they arrive and a control character may be a command, so they are asked about first.
#[component]
fn PasteQuestion(host: NodeRef<leptos::html::Div>, pasted: RwSignal<String>, is_asking: RwSignal<bool>) -> impl IntoView {
    let locale = use_locale();
    let question = move || match pasted.with(|text| text.lines().count() as u64) {
        0 | 1 => locale.t(text::PASTE_CONTROL).to_owned(),
        lines => locale.fill(text::PASTE_TEXT, &[("n", &locale.integer(lines))]),
    };
    let paste = move |()| {
        let element = host.get_untracked().and_then(|host| host.first_element_child());
        let method = element.as_ref().and_then(|element| js_sys::Reflect::get(element, &"paste".into()).ok());
        if let (Some(element), Some(Ok(method))) = (element, method.map(|method| method.dyn_into::<js_sys::Function>())) {
            drop(method.call1(&element, &JsValue::from_str(&pasted.get_untracked())));
        }
    };
    view! {
        <Dialog open=is_asking title=locale.t(text::PASTE_TITLE).to_owned() confirm=locale.t(text::PASTE).to_owned() tone=Tone::Primary on_confirm=paste>
            <p>{question}</p>
            <pre class="log log--short">{move || pasted.with(|text| shown(text))}</pre>
        </Dialog>
    }
}

#[cfg(test)]
mod tests {
    use super::shown;

    #[test]
    fn control_characters_are_drawn() {
        assert_eq!(shown("ls\r\nrm\u{3}\u{1b}[A\u{7f}é"), "ls\nrm\u{2403}\u{241b}[A\u{2421}é");
    }
}
