//! The first account: the token comes in the link's fragment, the name is filled in, only a password is typed. Who comes
//! without the link is told how to get one.

use leptos::prelude::*;
use leptos::task::spawn_local;
use leptos_router::components::Redirect;
use model::access::check_password;

use super::account::is_whole;
use crate::api::{ApiError, setup as functions};
use crate::components::browser;
use crate::components::button::Tone;
use crate::components::field::{Field, Tick};
use crate::components::page_frame::PageFrame;
use crate::components::submit::Submit;
use crate::format::use_locale;
use crate::forms::problems::words;
use crate::forms::sign_in::token_of;
use crate::i18n::account as text;
use crate::i18n::frame::CONSOLE_UNREACHABLE;
use crate::page_context::use_page;

/// The page: to strangers the same before and after, so that nobody learns from it whether an account exists.
#[component]
pub fn SetupPage() -> impl IntoView {
    let locale = use_locale();
    if use_page().who.is_some() {
        return view! { <Redirect path="/"/> }.into_any();
    }
    view! {
        <div class="gate">
            <PageFrame title=locale.t(text::SET_UP).to_owned()>
                <SetupForm/>
            </PageFrame>
        </div>
    }
    .into_any()
}

#[component]
fn SetupForm() -> impl IntoView {
    let locale = use_locale();
    let (token, name, password) = (RwSignal::new(String::new()), RwSignal::new("admin".to_owned()), RwSignal::new(String::new()));
    let (shows_token, shows_password) = (RwSignal::new(true), RwSignal::new(false));
    let has_token = Memo::new(move |_| token.with(|token| !token.is_empty()));
    let (is_checked, is_sending) = (RwSignal::new(false), RwSignal::new(false));
    let said = RwSignal::new(None::<ApiError>);
    // The fragment never leaves the browser: only there it can be read.
    Effect::new(move || {
        let found = token_of(&browser::fragment());
        shows_token.set(found.is_empty());
        token.set(found);
        // The printed link, opened while this page is, changes the fragment alone.
        let heard = window_event_listener(leptos::ev::hashchange, move |_| {
            let found = token_of(&browser::fragment());
            if !found.is_empty() {
                shows_token.set(false);
                said.set(None);
                token.set(found);
            }
        });
        on_cleanup(move || heard.remove());
    });
    let of_field = move |field: &'static str| {
        let body = said.get().map(|error| error.body()).filter(|body| body.field.as_deref() == Some(field));
        body.map(|body| body.message)
    };
    let password_error = Signal::derive(move || {
        let ruled = is_checked.get().then(|| password.with(|typed| check_password(typed).err())).flatten();
        ruled.map(|message| words(locale, "password", &message)).or_else(|| of_field("password"))
    });
    let name_error = Signal::derive(move || of_field("name"));
    let token_error = Signal::derive(move || (is_checked.get() && !has_token.get()).then(|| locale.t(text::TOKEN_MISSING).to_owned()));
    let send = move || {
        said.set(None);
        is_checked.set(true);
        let is_ready = !is_sending.get_untracked() && has_token.get_untracked() && password.with_untracked(|typed| check_password(typed).is_ok());
        if !is_ready {
            return;
        }
        is_sending.set(true);
        spawn_local(async move {
            match functions::set_up(token_of(&token.get_untracked()), name.get_untracked(), password.get_untracked()).await {
                Ok(_) => browser::go_to("/"),
                Err(error) => {
                    is_sending.try_set(false);
                    // A token that is no good is asked for again.
                    shows_token.try_set(error.code() == model::ErrorCode::NotAllowed);
                    said.try_set(Some(error));
                }
            }
        });
    };
    let submit = move |event: web_sys::SubmitEvent| {
        event.prevent_default();
        send();
    };
    let kind = move || if shows_password.get() { "text" } else { "password" };
    view! {
        <section class="card">
            <form class="form" method="post" on:submit=submit novalidate>
                <p>{locale.t(text::SET_UP_TEXT)}</p>
                {move || said.get().filter(is_whole).map(|error| view! { <SetupRefused error=error/> })}
                {move || shows_token.get().then(|| view! {
                    <Field label=locale.t(text::TOKEN) name="token" value=token hint=locale.t(text::TOKEN_HINT) error=token_error required=true autocomplete="off"/>
                })}
                {move || has_token.get().then(|| view! {
                    <Field label=locale.t(text::ACCOUNT_NAME) name="name" value=name error=name_error required=true autocomplete="username"/>
                    {move || view! {
                        <Field label=locale.t(text::PASSWORD) name="password" kind=kind() value=password hint=locale.t(text::PASSWORD_HINT) error=password_error
                            required=true autocomplete="new-password"/>
                    }}
                    <Tick label=locale.t(text::SHOW_PASSWORD) name="show" value=shows_password/>
                })}
                <Submit label=locale.t(text::CREATE_ACCOUNT) tone=Tone::Primary busy=is_sending/>
            </form>
            <p class="muted">{locale.t(text::HAS_ACCOUNT)}" "<a href="/sign-in">{locale.t(text::SIGN_IN)}</a></p>
        </section>
    }
}

/// The server says the same of every bad token; what to do stands in its hint.
#[component]
fn SetupRefused(error: ApiError) -> impl IntoView {
    let body = error.body();
    let locale = use_locale();
    let title = match error {
        ApiError::Unreachable(_) => CONSOLE_UNREACHABLE,
        ApiError::Refused(_) => text::NO_ACCOUNT,
    };
    view! {
        <div class="error-note" role="alert">
            <p class="error-note__title"><strong>{locale.t(title)}</strong></p>
            <p>{body.message}</p>
            {body.hint.map(|hint| view! { <p class="muted">{hint}</p> })}
        </div>
    }
}
