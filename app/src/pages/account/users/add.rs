//! The form for a new account.

use leptos::prelude::*;
use leptos::task::spawn_local;
use model::Role;
use model::access::check_password;
use model::id::Name;

use super::Crew;
use crate::api::{ApiError, account as functions};
use crate::components::button::Tone;
use crate::components::error_note::ErrorNote;
use crate::components::field::{Choice, Field};
use crate::format::use_locale;
use crate::forms::problems::{Problems, words};
use crate::forms::refused::refused;
use crate::i18n::people as text;
use crate::pages::account::password::is_whole;
use crate::pages::account::role_options;

const POST: &str = "/fn/account/add_user";

#[derive(Clone, Copy)]
struct Form {
    name: RwSignal<String>,
    role: RwSignal<String>,
    password: RwSignal<String>,
    problems: RwSignal<Problems>,
    said: RwSignal<Option<ApiError>>,
    is_sending: RwSignal<bool>,
}

impl Form {
    fn send(self, crew: Crew) {
        let (name, password) = (self.name.get_untracked().trim().to_owned(), self.password.get_untracked());
        let mut problems = Problems::default();
        problems.keep("name", name.parse::<Name>());
        problems.keep("password", check_password(&password));
        let role = problems.keep("role", self.role.get_untracked().parse::<Role>());
        let is_right = problems.is_empty();
        self.problems.set(problems);
        self.said.set(None);
        let Some(role) = role.filter(|_| is_right && !self.is_sending.get_untracked()) else {
            return;
        };
        self.is_sending.set(true);
        spawn_local(async move {
            match functions::add_user(name.clone(), role, password).await {
                Ok(_) => {
                    self.name.try_set(String::new());
                    self.password.try_set(String::new());
                    crew.over(Ok(()), text::USER_ADDED, &name);
                }
                Err(error) => {
                    self.said.try_set(Some(error));
                }
            }
            self.is_sending.try_set(false);
        });
    }

    fn error_of(self, field: &'static str) -> Signal<Option<String>> {
        let locale = use_locale();
        Signal::derive(move || {
            let ruled = self.problems.with(|problems| problems.of(field).map(str::to_owned));
            let said = || {
                self.said
                    .get()
                    .map(|error| error.body())
                    .filter(|body| body.field.as_deref() == Some(field))
                    .map(|body| body.message)
            };
            ruled.map(|message| words(locale, field, &message)).or_else(said)
        })
    }
}

/// The form, folded.
#[component]
pub fn AddUser(crew: Crew) -> impl IntoView {
    let locale = use_locale();
    let form = Form {
        name: RwSignal::default(),
        role: RwSignal::new(Role::Operator.as_str().to_owned()),
        password: RwSignal::default(),
        problems: RwSignal::default(),
        said: RwSignal::new(refused(POST)),
        is_sending: RwSignal::new(false),
    };
    let submit = move |event: web_sys::SubmitEvent| {
        event.prevent_default();
        form.send(crew);
    };
    let whole = move || form.said.get().filter(is_whole);
    let is_open = form.said.with_untracked(Option::is_some);
    view! {
        <details class="fold" open=is_open>
            <summary>{locale.t(text::ADD_USER)}</summary>
            <form class="form" method="post" action=POST on:submit=submit novalidate>
                {move || whole().map(|error| view! { <ErrorNote error=error title=text::USER_NOT_ADDED/> })}
                <div class="fields">
                    <Field label=locale.t(text::NAME) name="user" value=form.name error=form.error_of("name") required=true autocomplete="off"/>
                    <Choice label=locale.t(text::ROLE) name="user_role" value=form.role options=role_options(locale)/>
                    <Field label=locale.t(text::INITIAL_PASSWORD) name="password" kind="password" value=form.password hint=locale.t(text::INITIAL_PASSWORD_HINT)
                        error=form.error_of("password") required=true autocomplete="new-password"/>
                </div>
                <button class=Tone::Plain.class() aria-disabled=move || form.is_sending.get().then_some("true")>{locale.t(text::ADD)}</button>
            </form>
        </details>
    }
}
