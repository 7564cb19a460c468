//! One's own password. Changing it ends all sessions of the account, and the page says so before.

use leptos::prelude::*;
use leptos::task::spawn_local;
use model::ErrorCode;
use model::access::check_password;

use crate::api::{ApiError, account as functions};
use crate::components::browser;
use crate::components::button::Tone;
use crate::components::error_note::ErrorNote;
use crate::components::field::Field;
use crate::format::use_locale;
use crate::forms::problems::words;
use crate::forms::refused::refused;
use crate::i18n::people as text;

const POST: &str = "/fn/account/password";

/// The form. A hidden user name lets password stores know whose it is.
#[component]
pub fn PasswordForm(name: String) -> impl IntoView {
    let locale = use_locale();
    let (old, new) = (RwSignal::new(String::new()), RwSignal::new(String::new()));
    let is_checked = RwSignal::new(false);
    let is_sending = RwSignal::new(false);
    let said = RwSignal::new(refused(POST));
    let field_error = move |field: &'static str| {
        said.get()
            .map(|error| error.body())
            .filter(|body| body.field.as_deref() == Some(field))
            .map(|body| body.message)
    };
    let old_error = Signal::derive(move || field_error("old"));
    let new_error = Signal::derive(move || {
        let ruled = is_checked.get().then(|| new.with(|new| check_password(new).err())).flatten();
        ruled.map(|message| words(locale, "new", &message)).or_else(|| field_error("new"))
    });
    let send = move || {
        said.set(None);
        is_checked.set(true);
        if is_sending.get_untracked() || new.with_untracked(|new| check_password(new).is_err()) {
            return;
        }
        is_sending.set(true);
        spawn_local(async move {
            match functions::change_password(old.get_untracked(), new.get_untracked()).await {
                // This session has ended with all others.
                Ok(()) => browser::go_to("/sign-in?next=/account"),
                Err(error) => {
                    is_sending.try_set(false);
                    said.try_set(Some(error));
                }
            }
        });
    };
    let submit = move |event: web_sys::SubmitEvent| {
        event.prevent_default();
        send();
    };
    let whole = move || said.get().filter(is_whole);
    view! {
        <section class="card">
            <h2>{locale.t(text::PASSWORD)}</h2>
            <form class="form" method="post" action=POST on:submit=submit novalidate>
                {move || whole().map(|error| view! { <ErrorNote error=error title=text::PASSWORD_KEPT/> })}
                <input type="text" name="username" autocomplete="username" value=name readonly hidden/>
                <div class="fields">
                    <Field label=locale.t(text::OLD_PASSWORD) name="old" kind="password" value=old error=old_error required=true autocomplete="current-password"/>
                    <Field label=locale.t(text::NEW_PASSWORD) name="new" kind="password" value=new hint=locale.t(text::PASSWORD_HINT) error=new_error
                        required=true autocomplete="new-password"/>
                </div>
                <p class="muted">{locale.t(text::PASSWORD_ENDS)}</p>
                <button class=Tone::Plain.class() aria-disabled=move || is_sending.get().then_some("true")>{locale.t(text::CHANGE_PASSWORD)}</button>
            </form>
        </section>
    }
}

/// Whether it is said over the form, not beside a field.
pub fn is_whole(error: &ApiError) -> bool {
    error.code() != ErrorCode::Invalid || error.body().field.is_none()
}
