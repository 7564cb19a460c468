//! Bringing a template in: from an address, or from a file that the browser sends as it is.

use leptos::prelude::*;
use leptos::task::spawn_local;

use super::Shelf;
use crate::api::{ApiError, templates as functions};
use crate::bundle::use_go;
use crate::components::error_note::ErrorNote;
use crate::components::field::Field;
use crate::components::submit::Submit;
use crate::format::{Locale, use_locale};
use crate::forms::import::parse;
use crate::forms::problems::{Problems, words};
use crate::i18n::{rules, supply as text};

mod file;

#[component]
pub fn Import(shelf: Shelf) -> impl IntoView {
    let locale = use_locale();
    view! {
        <details class="card fold">
            <summary>{locale.t(text::IMPORT)}</summary>
            <FromUrl shelf=shelf/>
            <file::FromFile shelf=shelf/>
        </details>
    }
}

/// What is wrong with one of the forms, by the rules or by the server.
#[derive(Clone, Copy, Debug)]
struct Wrong {
    problems: RwSignal<Problems>,
    said: RwSignal<Option<ApiError>>,
    locale: Locale,
}

impl Wrong {
    fn new() -> Self {
        Self {
            problems: RwSignal::default(),
            said: RwSignal::new(None),
            locale: use_locale(),
        }
    }

    /// What is wrong with a field.
    fn of(self, field: &'static str) -> Signal<Option<String>> {
        Signal::derive(move || {
            let ruled = self.problems.with(|problems| problems.of(field).map(str::to_owned));
            if field == "url" && ruled.is_some() {
                return Some(self.locale.t(rules::URL).to_owned());
            }
            let said = || self.said.get().map(|error| error.body()).filter(|body| body.field.as_deref() == Some(field));
            let ruled = ruled.map(|message| words(self.locale, field, &message));
            ruled.or_else(|| said().map(|body| body.message))
        })
    }

    /// The refusal, unless it stands beside its field.
    fn whole(self) -> Option<ApiError> {
        let has_place = |field: &str| matches!(field, "url" | "name" | "sha256");
        self.said.get().filter(|error| !error.body().field.is_some_and(|field| has_place(&field)))
    }
}

#[component]
fn FromUrl(shelf: Shelf) -> impl IntoView {
    let locale = use_locale();
    let (url, name, sha256) = (RwSignal::new(String::new()), RwSignal::new(String::new()), RwSignal::new(String::new()));
    let (wrong, is_sending) = (Wrong::new(), RwSignal::new(false));
    let go = use_go();
    let submit = move |event: web_sys::SubmitEvent| {
        event.prevent_default();
        if is_sending.get_untracked() {
            return;
        }
        wrong.said.set(None);
        let (url, name, sha256) = (url.get_untracked(), name.get_untracked(), sha256.get_untracked());
        wrong.problems.set(parse(Some(&url), &name, &sha256).err().unwrap_or_default());
        if wrong.problems.with_untracked(|problems| !problems.is_empty()) {
            return;
        }
        is_sending.set(true);
        let go = go.clone();
        spawn_local(async move {
            let answer = functions::import(url, name, sha256).await;
            let is_here = is_sending.try_set(false).is_none();
            match answer {
                Ok(task) => {
                    let path = format!("/tasks/{}", task.id);
                    shelf.live.seed_task(task);
                    if is_here {
                        go(&path);
                    }
                }
                Err(error) => {
                    wrong.said.try_set(Some(error));
                }
            }
        });
    };
    view! {
        <form class="form" method="post" on:submit=submit novalidate>
            <h2>{locale.t(text::FROM_URL)}</h2>
            {move || wrong.whole().map(|error| view! { <ErrorNote error=error title=text::NOT_IMPORTED/> })}
            <div class="fields">
                <Field label=locale.t(text::URL) name="import-url" kind="url" value=url hint=locale.t(text::URL_HINT) error=wrong.of("url") required=true
                    autocomplete="off" placeholder="https://"/>
                <Field label=locale.t(text::NAME_OPTIONAL) name="import-name" value=name error=wrong.of("name") autocomplete="off"/>
                <Field label=locale.t(text::SHA256) name="import-sha256" value=sha256 error=wrong.of("sha256") autocomplete="off"/>
            </div>
            <Submit label=locale.t(text::DO_IMPORT) busy=is_sending/>
        </form>
    }
}
