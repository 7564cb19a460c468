//! The first account.

use leptos::prelude::*;
use model::access::WhoAmI;

use super::ApiResult;
#[cfg(feature = "ssr")]
use super::request;
use super::wire::Form;

/// Makes the first account with the one-time token and signs it in.
///
/// # Errors
/// `NotAllowed` for every token that is wrong, used or expired; `Invalid` names the field.
#[server(name = SetUpFn, prefix = "/fn", endpoint = "setup/set_up", protocol = Form)]
pub async fn set_up(token: String, name: String, password: String) -> ApiResult<WhoAmI> {
    let context = request::context()?;
    let (from, agent) = request::origin(&context.caller);
    let signed = context.control.access.set_up(&token, &name, &password, &from, &agent).await?;
    request::set_cookie(&context.cookie.set(&signed.secret));
    Ok(signed.who)
}
