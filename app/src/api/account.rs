//! One's own account; for administrators also all accounts and the tokens. Parameters are named as the fields of the
//! forms that post them, and those differ because the forms stand on one page.

use leptos::prelude::*;
use model::Timestamp;
use model::access::{Role, SessionInfo, TokenInfo, UserInfo};

use super::ApiResult;
#[cfg(feature = "ssr")]
use super::request;
use super::wire::Form;

/// Sets one's own password. All sessions of the account end, this one included.
///
/// # Errors
/// `Invalid` names the field: the old one is wrong, the new one too short.
#[server(name = ChangePasswordFn, prefix = "/fn", endpoint = "account/password", protocol = Form)]
pub async fn change_password(old: String, new: String) -> ApiResult<()> {
    let (control, caller) = request::request()?;
    Ok(control.access.set_password(&caller, &caller.name, Some(&old), &new).await?)
}

/// One's own sessions, the last seen first.
///
/// # Errors
/// Nobody is signed in.
#[server(name = SessionsFn, prefix = "/fn", endpoint = "account/sessions", protocol = Form)]
pub async fn sessions() -> ApiResult<Vec<SessionInfo>> {
    let (control, caller) = request::request()?;
    Ok(control.access.sessions(&caller).await?)
}

/// Ends one of one's own sessions with every stream and terminal that it opened.
///
/// # Errors
/// There is none of this id.
#[server(name = EndSessionFn, prefix = "/fn", endpoint = "account/end_session", protocol = Form)]
pub async fn end_session(id: String) -> ApiResult<()> {
    let (control, caller) = request::request()?;
    Ok(control.access.end_session(&caller, &id).await?)
}

/// All tokens, without their secrets.
///
/// # Errors
/// Not an administrator.
#[server(name = TokensFn, prefix = "/fn", endpoint = "account/tokens", protocol = Form)]
pub async fn tokens() -> ApiResult<Vec<TokenInfo>> {
    let (control, caller) = request::request()?;
    Ok(control.access.tokens(&caller).await?)
}

/// Makes a token; its secret is in the answer, first, and never again.
///
/// # Errors
/// The name is bad or taken, or the end lies in the past.
#[server(name = CreateTokenFn, prefix = "/fn", endpoint = "account/create_token", protocol = Form)]
pub async fn create_token(token: String, token_role: Role, expires_at: Option<Timestamp>) -> ApiResult<(String, TokenInfo)> {
    let (control, caller) = request::request()?;
    let made = control.access.create_token(&caller, &token, token_role, expires_at).await?;
    Ok((made.token, made.info))
}

/// Revokes a token; what it opened closes.
///
/// # Errors
/// There is none of this name.
#[server(name = RevokeTokenFn, prefix = "/fn", endpoint = "account/revoke_token", protocol = Form)]
pub async fn revoke_token(name: String) -> ApiResult<()> {
    let (control, caller) = request::request()?;
    Ok(control.access.revoke_token(&caller, &name).await?)
}

/// All accounts.
///
/// # Errors
/// Not an administrator.
#[server(name = UsersFn, prefix = "/fn", endpoint = "account/users", protocol = Form)]
pub async fn users() -> ApiResult<Vec<UserInfo>> {
    let (control, caller) = request::request()?;
    Ok(control.access.users(&caller).await?)
}

/// Makes an account.
///
/// # Errors
/// The name is bad or taken, or the password too short.
#[server(name = AddUserFn, prefix = "/fn", endpoint = "account/add_user", protocol = Form)]
pub async fn add_user(user: String, user_role: Role, password: String) -> ApiResult<UserInfo> {
    let (control, caller) = request::request()?;
    Ok(control.access.add_user(&caller, &user, user_role, &password).await?)
}

/// Gives an account another role and ends its sessions.
///
/// # Errors
/// There is none, or it is the last administrator.
#[server(name = SetRoleFn, prefix = "/fn", endpoint = "account/set_role", protocol = Form)]
pub async fn set_role(name: String, role: Role) -> ApiResult<()> {
    let (control, caller) = request::request()?;
    Ok(control.access.set_role(&caller, &name, role).await?)
}

/// Removes an account and ends its sessions.
///
/// # Errors
/// There is none, or it is the last administrator.
#[server(name = RemoveUserFn, prefix = "/fn", endpoint = "account/remove_user", protocol = Form)]
pub async fn remove_user(name: String) -> ApiResult<()> {
    let (control, caller) = request::request()?;
    Ok(control.access.remove_user(&caller, &name).await?)
}
