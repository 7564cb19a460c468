//! What failed, why and what to do, with a second try and the details to copy.

use crate::json;
use leptos::prelude::*;
use model::ErrorCode;

use super::browser;
use super::button::Button;
use super::icon::{Glyph, Icon};
use crate::api::ApiError;
use crate::format::use_locale;
use crate::i18n::Text;
use crate::i18n::frame::{CANNOT_LOAD, CONSOLE_UNREACHABLE, COPY_DETAILS, NOT_ALLOWED, NOT_ALLOWED_HINT, REQUEST_ID, TRY_AGAIN, UNREACHABLE_HINT};

/// Replaces the region that failed, and nothing else.
#[component]
pub fn ErrorNote(
    error: ApiError,
    #[prop(optional, into)] on_retry: Option<Callback<()>>,
    /// What was not done, when something was asked for and refused; else it is said that the region could not be loaded.
    #[prop(optional, into)]
    title: Option<Text>,
) -> impl IntoView {
    let locale = use_locale();
    let body = error.body();
    let (heading, hint) = match &error {
        ApiError::Unreachable(_) => (CONSOLE_UNREACHABLE, Some(locale.t(UNREACHABLE_HINT).to_owned())),
        ApiError::Refused(body) if body.code == ErrorCode::NotAllowed => (NOT_ALLOWED, Some(locale.t(NOT_ALLOWED_HINT).to_owned())),
        ApiError::Refused(body) => (title.unwrap_or(CANNOT_LOAD), body.hint.clone()),
    };
    let details = serde_json::to_value(&body).map(|body| json::pretty(&body)).unwrap_or_default();
    let copy = move |()| browser::copy_text(&details);
    view! {
        <div class="error-note" role="alert">
            <p class="error-note__title"><Glyph icon=Icon::Warning/><strong>{locale.t(heading)}</strong></p>
            <p>{body.message}</p>
            {hint.map(|hint| view! { <p class="muted">{hint}</p> })}
            {body.log_id.map(|id| view! { <p class="muted"><code>{locale.fill(REQUEST_ID, &[("id", &id)])}</code></p> })}
            <div class="row">
                {on_retry.map(|retry| view! { <Button label=locale.t(TRY_AGAIN).to_owned() on_press=retry/> })}
                <Button label=locale.t(COPY_DETAILS).to_owned() tone=super::button::Tone::Quiet on_press=copy/>
            </div>
        </div>
    }
}
