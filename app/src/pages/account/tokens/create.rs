//! The form for a new token. It needs script: a plain post could not show the secret.

use leptos::prelude::*;
use leptos::task::spawn_local;
use model::access::NewToken;
use model::id::Name;
use model::{Role, Timestamp};

use super::Keys;
use crate::api::{ApiError, account as functions};
use crate::components::button::Tone;
use crate::components::error_note::ErrorNote;
use crate::components::field::{Choice, Field};
use crate::format::{Locale, use_locale};
use crate::forms::problems::words;
use crate::forms::token::{LIFETIMES, expiry};
use crate::i18n::people as text;
use crate::live::use_live;
use crate::pages::account::password::is_whole;
use crate::pages::account::role_options;

fn lifetimes(locale: Locale) -> Vec<(String, String)> {
    let words = |days: &str| {
        days.parse()
            .map_or_else(|_| locale.t(text::NO_END).to_owned(), |days| locale.count(text::DAYS_N, days))
    };
    LIFETIMES.into_iter().map(|lifetime| (lifetime.to_owned(), words(lifetime))).collect()
}

#[derive(Clone, Copy)]
struct Form {
    name: RwSignal<String>,
    role: RwSignal<String>,
    lifetime: RwSignal<String>,
    /// What is wrong with the name.
    wrong: RwSignal<Option<String>>,
    said: RwSignal<Option<ApiError>>,
    is_sending: RwSignal<bool>,
}

impl Form {
    fn send(self, keys: Keys, now: Timestamp) {
        let name = self.name.get_untracked().trim().to_owned();
        self.said.set(None);
        self.wrong.set(name.parse::<Name>().err().map(|error| error.to_string()));
        let role = self.role.get_untracked().parse::<Role>().ok();
        let Some(role) = role.filter(|_| self.wrong.with_untracked(Option::is_none) && !self.is_sending.get_untracked()) else {
            return;
        };
        let expires_at = expiry(&self.lifetime.get_untracked(), now);
        self.is_sending.set(true);
        spawn_local(async move {
            match functions::create_token(name, role, expires_at).await {
                Ok((token, info)) => {
                    self.name.try_set(String::new());
                    keys.made.try_set(Some(NewToken { token, info }));
                    keys.list.refetch();
                }
                Err(error) => {
                    self.said.try_set(Some(error));
                }
            }
            self.is_sending.try_set(false);
        });
    }
}

/// The form, folded.
#[component]
pub fn CreateToken(keys: Keys) -> impl IntoView {
    let (locale, live) = (use_locale(), use_live());
    let form = Form {
        name: RwSignal::default(),
        role: RwSignal::new(Role::Viewer.as_str().to_owned()),
        lifetime: RwSignal::new(LIFETIMES[1].to_owned()),
        wrong: RwSignal::new(None),
        said: RwSignal::new(None),
        is_sending: RwSignal::new(false),
    };
    let submit = move |event: web_sys::SubmitEvent| {
        event.prevent_default();
        form.send(keys, Timestamp::from_ms(live.now_ms.get_untracked()));
    };
    let error = Signal::derive(move || {
        let said = || {
            form.said
                .get()
                .map(|error| error.body())
                .filter(|body| body.field.is_some())
                .map(|body| body.message)
        };
        form.wrong.get().map(|message| words(locale, "name", &message)).or_else(said)
    });
    let whole = move || form.said.get().filter(is_whole);
    view! {
        <details class="fold">
            <summary>{locale.t(text::CREATE_TOKEN)}</summary>
            <form class="form" on:submit=submit novalidate>
                {move || whole().map(|error| view! { <ErrorNote error=error title=text::NOT_CREATED/> })}
                <div class="fields">
                    <Field label=locale.t(text::NAME) name="token" value=form.name error=error required=true autocomplete="off"/>
                    <Choice label=locale.t(text::ROLE) name="token_role" value=form.role options=role_options(locale)/>
                    <Choice label=locale.t(text::LIFETIME) name="lifetime" value=form.lifetime options=lifetimes(locale)/>
                </div>
                <button class=Tone::Plain.class() aria-disabled=move || form.is_sending.get().then_some("true")>{locale.t(text::CREATE)}</button>
            </form>
        </details>
    }
}
