//! A file that becomes a template, with how much of it is sent.

use std::cell::RefCell;

use leptos::prelude::*;
use leptos::task::spawn_local;
use web_sys::XmlHttpRequest;

use super::Wrong;
use crate::api::upload;
use crate::bundle::use_go;
use crate::components::button::Button;
use crate::components::error_note::ErrorNote;
use crate::components::field::Field;
use crate::components::submit::Submit;
use crate::format::{Locale, use_locale};
use crate::forms::import::{name_of, parse};
use crate::i18n::frame::PROGRESS_OF;
use crate::i18n::supply as text;
use crate::pages::templates::Shelf;

thread_local! {
    /// The request of the upload under way. Stored with the page it could be dropped by no other thread than its maker's, and the
    /// server ends a page on any thread.
    static REQUEST: RefCell<Option<XmlHttpRequest>> = const { RefCell::new(None) };
}

/// An upload under way.
#[derive(Clone, Copy)]
struct Sending {
    is_on: RwSignal<bool>,
    /// Bytes that are out, and all of them.
    sent: RwSignal<(u64, u64)>,
    is_cancelled: StoredValue<bool>,
}

impl Sending {
    fn new() -> Self {
        Self {
            is_on: RwSignal::new(false),
            sent: RwSignal::new((0, 0)),
            is_cancelled: StoredValue::new(false),
        }
    }

    fn cancel(self) {
        self.is_cancelled.set_value(true);
        // A request that has ended already refuses; then there is nothing to cancel.
        drop(REQUEST.with_borrow(Clone::clone).map(|request| request.abort()));
    }
}

#[component]
pub fn FromFile(shelf: Shelf) -> impl IntoView {
    let locale = use_locale();
    let (name, sha256) = (RwSignal::new(String::new()), RwSignal::new(String::new()));
    let (wrong, sending, has_no_file) = (Wrong::new(), Sending::new(), RwSignal::new(false));
    let input = NodeRef::<leptos::html::Input>::new();
    let file = move || input.get_untracked().and_then(|input| input.files()).and_then(|files| files.get(0));
    let chosen = move |_| {
        has_no_file.set(false);
        if let Some(file) = file().filter(|_| name.with_untracked(String::is_empty)) {
            name.set(name_of(&file.name()));
        }
    };
    let go = use_go();
    let submit = move |event: web_sys::SubmitEvent| {
        event.prevent_default();
        if sending.is_on.get_untracked() {
            return;
        }
        wrong.said.set(None);
        let file = file();
        has_no_file.set(file.is_none());
        let (name, sha256) = (name.get_untracked().trim().to_owned(), sha256.get_untracked().trim().to_owned());
        wrong.problems.set(parse(None, &name, &sha256).err().unwrap_or_default());
        if let Some(file) = file.filter(|_| wrong.problems.with_untracked(|problems| problems.is_empty())) {
            send(shelf, sending, wrong, name, sha256, file, go.clone());
        }
    };
    view! {
        <form class="form" method="post" on:submit=submit novalidate>
            <h2>{locale.t(text::FROM_FILE)}</h2>
            {move || wrong.whole().map(|error| view! { <ErrorNote error=error title=text::NOT_IMPORTED/> })}
            <div class="fields">
                <div class="field">
                    <label for="import-file">{locale.t(text::FILE)}</label>
                    <input id="import-file" type="file" node_ref=input on:change=chosen aria-invalid=move || has_no_file.get().then_some("true")
                        aria-describedby="import-file-error"/>
                    <p class="field__error" id="import-file-error" role="alert">{move || has_no_file.get().then(|| locale.t(text::NO_FILE))}</p>
                </div>
                <Field label=locale.t(text::NAME) name="upload-name" value=name error=wrong.of("name") required=true autocomplete="off"/>
                <Field label=locale.t(text::SHA256) name="upload-sha256" value=sha256 error=wrong.of("sha256") autocomplete="off"/>
            </div>
            <Submit label=locale.t(text::UPLOAD) busy=sending.is_on/>
            {move || sending.is_on.get().then(|| view! { <Progress sending=sending/> })}
        </form>
    }
}

fn send(shelf: Shelf, sending: Sending, wrong: Wrong, name: String, sha256: String, file: web_sys::File, go: impl Fn(&str) + 'static) {
    let Ok(request) = XmlHttpRequest::new() else { return };
    REQUEST.set(Some(request.clone()));
    sending.is_cancelled.set_value(false);
    sending.sent.set((0, 0));
    sending.is_on.set(true);
    spawn_local(async move {
        let seen = move |sent, all| {
            sending.sent.try_set((sent, all));
        };
        let answer = upload::template(&request, &name, &sha256, &file, seen).await;
        let is_here = sending.is_on.try_set(false).is_none();
        match answer {
            Ok(task) => {
                let path = format!("/tasks/{}", task.id);
                shelf.live.seed_task(task);
                if is_here {
                    go(&path);
                }
            }
            Err(_) if sending.is_cancelled.try_get_value() == Some(true) => {}
            Err(error) if is_here => {
                wrong.said.try_set(Some(error));
            }
            Err(error) => shelf.toasts.refused(&error),
        }
    });
}

/// How much is out. The bar stays short of its end until the console has answered.
#[component]
fn Progress(sending: Sending) -> impl IntoView {
    let locale = use_locale();
    let value = move || {
        Some(sending.sent.get())
            .filter(|(_, all)| *all > 0)
            .map(|(sent, all)| model::number::fixed(share(sent, all), 3))
    };
    view! {
        <div class="task-progress">
            <div class="task-progress__words">
                <span>{locale.t(text::SENDING)}</span>
                <span class="number muted">{move || amounts(locale, sending.sent.get())}</span>
            </div>
            <progress max="1" value=value aria-label=locale.t(text::SENDING)></progress>
            <div class="row"><Button label=locale.t(text::CANCEL).to_owned() on_press=move |()| sending.cancel()/></div>
        </div>
    }
}

fn amounts(locale: Locale, (sent, all): (u64, u64)) -> String {
    match all {
        0 => String::new(),
        all => locale.fill(PROGRESS_OF, &[("done", &locale.bytes(sent)), ("total", &locale.bytes(all))]),
    }
}

#[expect(clippy::cast_precision_loss, reason = "a share for a bar")]
fn share(sent: u64, all: u64) -> f64 {
    (sent as f64 / all as f64).min(0.99)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_out_is_not_yet_taken_in() {
        assert!(share(5, 5) < 1.0 && (share(1, 2) - 0.5).abs() < 1e-9);
        assert_eq!(amounts(Locale::default(), (0, 0)), "");
        assert!(amounts(Locale::default(), (1024, 2048)).contains(&Locale::default().bytes(2048)));
    }
}
