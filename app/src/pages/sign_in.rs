//! Signing in, and going on to the page that was asked for.

use leptos::prelude::*;
use leptos::task::spawn_local;
use leptos_router::hooks::use_query_map;

use crate::api::{ApiError, session as functions};
use crate::components::browser;
use crate::components::button::Tone;
use crate::components::field::Field;
use crate::components::page_frame::PageFrame;
use crate::format::use_locale;
use crate::forms::refused::refused;
use crate::forms::sign_in::safe_next;
use crate::i18n::account as text;

const POST: &str = "/fn/session/sign_in";

/// The page.
#[component]
pub fn SignInPage() -> impl IntoView {
    let locale = use_locale();
    let next = use_query_map().with_untracked(|query| safe_next(query.get_str("next")));
    let (name, password) = (RwSignal::new(String::new()), RwSignal::new(String::new()));
    let is_sending = RwSignal::new(false);
    let said = RwSignal::new(refused(POST));
    let send = move |next: String| {
        if is_sending.get_untracked() {
            return;
        }
        said.set(None);
        is_sending.set(true);
        spawn_local(async move {
            match functions::sign_in(name.get_untracked(), password.get_untracked()).await {
                Ok(_) => browser::go_to(&next),
                Err(error) => {
                    is_sending.try_set(false);
                    password.try_set(String::new());
                    said.try_set(Some(error));
                }
            }
        });
    };
    let submit = move |event: web_sys::SubmitEvent| {
        event.prevent_default();
        send(next.clone());
    };
    view! {
        <div class="gate">
            <PageFrame title=locale.t(text::SIGN_IN).to_owned()>
                <section class="card">
                    <form class="form" method="post" action=POST on:submit=submit novalidate>
                        {move || said.get().map(|error| view! { <Refusal error=error/> })}
                        <Field label=locale.t(text::ACCOUNT_NAME) name="name" value=name required=true autocomplete="username"/>
                        <Field label=locale.t(text::PASSWORD) name="password" kind="password" value=password required=true autocomplete="current-password"/>
                        <button class=Tone::Primary.class() aria-disabled=move || is_sending.get().then_some("true")>{locale.t(text::SIGN_IN)}</button>
                        <p class="muted">{locale.t(text::SIGN_IN_HINT)}</p>
                    </form>
                </section>
            </PageFrame>
        </div>
    }
}

#[component]
fn Refusal(error: ApiError) -> impl IntoView {
    let locale = use_locale();
    let body = error.body();
    view! {
        <div class="error-note" role="alert">
            <p class="error-note__title"><strong>{locale.t(text::NOT_SIGNED_IN)}</strong></p>
            <p>{body.message}</p>
            {body.hint.map(|hint| view! { <p class="muted">{hint}</p> })}
        </div>
    }
}
