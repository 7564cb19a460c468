//! Bringing a template in: from an address, or from a file that the browser sends as it is.

use leptos::prelude::*;
use leptos::task::spawn_local;

use super::Shelf;
use crate::api::{ApiError, templates as functions};
use crate::components::browser;
use crate::components::error_note::ErrorNote;
use crate::components::field::Field;
use crate::format::use_locale;
use crate::forms::import::{name_of, parse};
use crate::forms::problems::{Problems, words};
use crate::i18n::supply as text;

#[component]
pub fn Import(shelf: Shelf) -> impl IntoView {
    let locale = use_locale();
    view! {
        <details class="card fold">
            <summary>{locale.t(text::IMPORT)}</summary>
            <FromUrl shelf=shelf/>
            <FromFile shelf=shelf/>
        </details>
    }
}

fn error_of(problems: RwSignal<Problems>, field: &'static str) -> Signal<Option<String>> {
    let locale = use_locale();
    Signal::derive(move || problems.with(|problems| problems.of(field).map(|message| words(locale, field, message))))
}

#[component]
fn FromUrl(shelf: Shelf) -> impl IntoView {
    let locale = use_locale();
    let (url, name, sha256) = (RwSignal::new(String::new()), RwSignal::new(String::new()), RwSignal::new(String::new()));
    let (problems, said) = (RwSignal::new(Problems::default()), RwSignal::new(None::<ApiError>));
    let submit = move |event: web_sys::SubmitEvent| {
        event.prevent_default();
        said.set(None);
        if let Err(wrong) = parse(&name.get_untracked(), &sha256.get_untracked(), false) {
            problems.set(wrong);
            return;
        }
        problems.set(Problems::default());
        spawn_local(async move {
            match functions::import(url.get_untracked(), name.get_untracked(), sha256.get_untracked()).await {
                Ok(task) => {
                    browser::go_to(&format!("/tasks/{}", task.id));
                    shelf.live.seed_task(task);
                }
                Err(error) => {
                    said.try_set(Some(error));
                }
            }
        });
    };
    view! {
        <form class="form" on:submit=submit novalidate>
            <h2>{locale.t(text::FROM_URL)}</h2>
            {move || said.get().map(|error| view! { <ErrorNote error=error title=text::NOT_IMPORTED/> })}
            <div class="fields">
                <Field label=locale.t(text::URL) name="import-url" kind="url" value=url hint=locale.t(text::URL_HINT) required=true autocomplete="off" placeholder="https://"/>
                <Field label=locale.t(text::NAME_OPTIONAL) name="import-name" value=name error=error_of(problems, "name") autocomplete="off"/>
                <Field label=locale.t(text::SHA256) name="import-sha256" value=sha256 error=error_of(problems, "sha256") autocomplete="off"/>
            </div>
            <button class="button">{locale.t(text::DO_IMPORT)}</button>
        </form>
    }
}

#[component]
fn FromFile(shelf: Shelf) -> impl IntoView {
    let locale = use_locale();
    let (name, sha256) = (RwSignal::new(String::new()), RwSignal::new(String::new()));
    let (problems, said) = (RwSignal::new(Problems::default()), RwSignal::new(None::<String>));
    let input = NodeRef::<leptos::html::Input>::new();
    let is_sending = RwSignal::new(false);
    let chosen = move |_| {
        let file = input.get_untracked().and_then(|input| input.files()).and_then(|files| files.get(0));
        if let Some(file) = file.filter(|_| name.with_untracked(String::is_empty)) {
            name.set(name_of(&file.name()));
        }
    };
    let submit = move |event: web_sys::SubmitEvent| {
        event.prevent_default();
        said.set(None);
        let Some(file) = input.get_untracked().and_then(|input| input.files()).and_then(|files| files.get(0)) else {
            said.set(Some(locale.t(text::NO_FILE).to_owned()));
            return;
        };
        if let Err(wrong) = parse(&name.get_untracked(), &sha256.get_untracked(), true) {
            problems.set(wrong);
            return;
        }
        problems.set(Problems::default());
        is_sending.set(true);
        spawn_local(async move {
            match browser::upload(&name.get_untracked(), &sha256.get_untracked(), &file).await {
                Ok(task) => {
                    browser::go_to(&format!("/tasks/{}", task.id));
                    shelf.live.seed_task(task);
                }
                Err(why) => {
                    is_sending.try_set(false);
                    said.try_set(Some(why));
                }
            }
        });
    };
    view! {
        <form class="form" on:submit=submit novalidate>
            <h2>{locale.t(text::FROM_FILE)}</h2>
            <p class="field__error" role="alert">{move || said.get()}</p>
            <div class="fields">
                <div class="field">
                    <label for="import-file">{locale.t(text::FILE)}</label>
                    <input id="import-file" type="file" node_ref=input on:change=chosen/>
                </div>
                <Field label=locale.t(text::NAME) name="upload-name" value=name error=error_of(problems, "name") required=true autocomplete="off"/>
                <Field label=locale.t(text::SHA256) name="upload-sha256" value=sha256 error=error_of(problems, "sha256") autocomplete="off"/>
            </div>
            <button class="button" aria-disabled=move || is_sending.get().then_some("true")>{locale.t(text::UPLOAD)}</button>
        </form>
    }
}
