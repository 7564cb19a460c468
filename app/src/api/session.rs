//! Signing in and out, and what a person chose for their pages.

use leptos::prelude::*;
use model::access::WhoAmI;

#[cfg(feature = "ssr")]
use super::request;
use super::wire::Form;
use super::{ApiError, ApiResult};

/// Where the plain form of the frame posts to.
pub const SIGN_OUT_PATH: &str = "/fn/session/sign_out";

/// Signs in and sets the cookie.
///
/// # Errors
/// One message for every wrong pair; `SlowDown` after several.
#[server(name = SignInFn, prefix = "/fn", endpoint = "session/sign_in", protocol = Form)]
pub async fn sign_in(name: String, password: String) -> Result<WhoAmI, ApiError> {
    let context = request::context()?;
    let (from, agent) = request::origin(&context.caller);
    let signed = context.control.access.sign_in(&name, &password, &from, &agent).await?;
    request::set_cookie(&context.cookie.set(&signed.secret));
    Ok(signed.who)
}

/// Ends this session, with every stream and terminal that it opened.
///
/// # Errors
/// Nobody is signed in.
#[server(name = SignOutFn, prefix = "/fn", endpoint = "session/sign_out", protocol = Form)]
pub async fn sign_out() -> Result<(), ApiError> {
    let context = request::context()?;
    context.control.access.sign_out(&context.caller).await?;
    request::set_cookie(&context.cookie.clear());
    Ok(())
}

/// Stores language and theme with the account.
///
/// # Errors
/// Nobody is signed in.
#[server(name = ChangeSettingsFn, prefix = "/fn", endpoint = "session/settings", protocol = Form)]
pub async fn change_settings(language: Option<String>, theme: Option<String>) -> ApiResult<()> {
    let (control, caller) = request::request()?;
    // A form cannot leave a choice out: its empty value is "no choice".
    let (language, theme) = (language.filter(|word| !word.is_empty()), theme.filter(|word| !word.is_empty()));
    Ok(control.access.change_settings(&caller, model::access::UserSettings { language, theme }).await?)
}
