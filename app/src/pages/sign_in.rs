//! Signing in, and going on to the page that was asked for.

use leptos::prelude::*;
use leptos::task::spawn_local;
use leptos_router::components::Redirect;
use leptos_router::hooks::use_query_map;
use model::ErrorCode;

use crate::api::{ApiError, session as functions};
use crate::components::browser;
use crate::components::button::Tone;
use crate::components::field::{Choice, Field};
use crate::components::page_frame::PageFrame;
use crate::format::use_locale;
use crate::forms::refused::refused;
use crate::forms::sign_in::{safe_next, seconds_in};
use crate::i18n::account as text;
use crate::i18n::frame::{CONSOLE_UNREACHABLE, LANGUAGE, THEME, TRY_AGAIN, UNREACHABLE_HINT};
use crate::page_context::{LANGUAGE_COOKIE, THEME_COOKIE, use_page};
use crate::pages::account::settings;

const POST: &str = "/fn/session/sign_in";

/// The page.
#[component]
pub fn SignInPage() -> impl IntoView {
    let locale = use_locale();
    let next = use_query_map().with_untracked(|query| safe_next(query.get_str("next")));
    if use_page().who.is_some() {
        // Also the way on after the plain form of a page without script, which comes back here.
        return view! { <Redirect path=next/> }.into_any();
    }
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
                    <FirstAccount/>
                </section>
                <Appearance/>
            </PageFrame>
        </div>
    }
    .into_any()
}

/// The way to the first account stands here at all times: its presence tells a stranger nothing.
#[component]
fn FirstAccount() -> impl IntoView {
    let locale = use_locale();
    view! { <p class="muted">{locale.t(text::NO_ACCOUNT_YET)}" "{locale.t(text::FIRST_ACCOUNT)}" "<a href="/setup">{locale.t(text::SET_UP)}</a></p> }
}

/// Language and theme before anybody is signed in: kept in cookies, which the server reads.
#[component]
fn Appearance() -> impl IntoView {
    let (locale, page) = (use_locale(), use_page());
    let (language, theme) = (RwSignal::new(page.lang.tag().to_owned()), RwSignal::new(page.theme.unwrap_or_default()));
    let choose = move |name: &'static str, value: RwSignal<String>| {
        Effect::new(move |before: Option<String>| {
            let now = value.get();
            if before.is_some_and(|before| before != now) {
                browser::set_cookie(name, &now);
                browser::reload();
            }
            now
        });
    };
    choose(LANGUAGE_COOKIE, language);
    choose(THEME_COOKIE, theme);
    view! {
        <div class="fields gate__appearance">
            <Choice label=locale.t(LANGUAGE) name="language" value=language options=settings::languages().to_vec()/>
            <Choice label=locale.t(THEME) name="theme" value=theme options=settings::themes(locale)/>
        </div>
    }
}

/// What was wrong. Where the console asks to wait, the seconds count down.
#[component]
fn Refusal(error: ApiError) -> impl IntoView {
    let locale = use_locale();
    let body = error.body();
    let title = match error {
        ApiError::Unreachable(_) => CONSOLE_UNREACHABLE,
        ApiError::Refused(_) => text::NOT_SIGNED_IN,
    };
    let wait = body.hint.as_deref().filter(|_| body.code == ErrorCode::SlowDown).and_then(seconds_in);
    let hint = match (wait, &error) {
        (Some(_), _) => None,
        (None, ApiError::Unreachable(_)) => Some(locale.t(UNREACHABLE_HINT).to_owned()),
        (None, ApiError::Refused(_)) => body.hint,
    };
    view! {
        <div class="error-note" role="alert">
            <p class="error-note__title"><strong>{locale.t(title)}</strong></p>
            <p>{body.message}</p>
            {hint.map(|hint| view! { <p class="muted">{hint}</p> })}
            {wait.map(|seconds| view! { <Countdown seconds=seconds/> })}
        </div>
    }
}

/// Ticks in the browser; without script the first number stays.
#[component]
fn Countdown(seconds: u32) -> impl IntoView {
    let locale = use_locale();
    let left = RwSignal::new(seconds);
    Effect::new(move || {
        let now = left.get();
        if now > 0 {
            browser::after(1000, move || {
                left.try_set(now - 1);
            });
        }
    });
    let words = move || match left.get() {
        0 => locale.t(TRY_AGAIN).to_owned(),
        now => locale.fill(text::WAIT, &[("time", &locale.duration(i64::from(now) * 1000))]),
    };
    // Read out once, not every second.
    view! { <p class="muted number" aria-live="off">{words}</p> }
}
