//! Setting up, signing in and out, accounts, tokens, sessions and the audit log.

use app::api::request::SessionCookie;
use axum::extract::{Path, Query, State};
use axum::http::header::{SET_COOKIE, USER_AGENT};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use control::Caller;
use control::access::SignedIn;
use model::Timestamp;
use model::access::{AuditEntry, NewToken, Role, SessionInfo, TokenInfo, UserInfo, WhoAmI};
use model::error::ErrorCode;
use serde::{Deserialize, Serialize};

use crate::console::Console;
use crate::routes::answer::{Answer, ApiError, Body};

fn agent(headers: &HeaderMap) -> String {
    headers
        .get(USER_AGENT)
        .and_then(|agent| agent.to_str().ok())
        .unwrap_or_default()
        .chars()
        .take(200)
        .collect()
}

fn signed_in(status: StatusCode, cookie: SessionCookie, signed: SignedIn) -> Response {
    (status, [(SET_COOKIE, cookie.set(&signed.secret))], Json(signed.who)).into_response()
}

#[derive(Deserialize, utoipa::ToSchema)]
pub struct SetUp {
    token: String,
    name: String,
    password: String,
}

/// Makes the first account, an administrator, and signs it in.
#[utoipa::path(post, path = "/api/v1/setup", tag = "access", request_body = SetUp, responses((status = 201, body = WhoAmI)))]
pub async fn set_up(
    State(console): State<Console>,
    Extension(caller): Extension<Caller>,
    Extension(cookie): Extension<SessionCookie>,
    headers: HeaderMap,
    Body(form): Body<SetUp>,
) -> Answer<Response> {
    let signed = console
        .control
        .access
        .set_up(&form.token, &form.name, &form.password, &caller.from, &agent(&headers))
        .await?;
    Ok(signed_in(StatusCode::CREATED, cookie, signed))
}

/// A link for the first account.
#[derive(Serialize, utoipa::ToSchema)]
pub struct SetupLink {
    url: String,
}

/// Makes a new link for the first account; the one before is void.
#[utoipa::path(post, path = "/api/v1/setup/link", tag = "access", responses((status = 201, body = SetupLink)))]
pub async fn setup_link(State(console): State<Console>, Extension(caller): Extension<Caller>) -> Answer<(StatusCode, Json<SetupLink>)> {
    let token = console.control.access.setup_token(&caller).await?;
    Ok((
        StatusCode::CREATED,
        Json(SetupLink {
            url: format!("{}/setup#{token}", console.base_url()),
        }),
    ))
}

#[derive(Deserialize, utoipa::ToSchema)]
pub struct SignIn {
    name: String,
    password: String,
}

/// Signs in and sets the cookie.
#[utoipa::path(post, path = "/api/v1/session", tag = "access", request_body = SignIn, responses((status = 200, body = WhoAmI)))]
pub async fn sign_in(
    State(console): State<Console>,
    Extension(caller): Extension<Caller>,
    Extension(cookie): Extension<SessionCookie>,
    headers: HeaderMap,
    Body(form): Body<SignIn>,
) -> Answer<Response> {
    let signed = console
        .control
        .access
        .sign_in(&form.name, &form.password, &caller.from, &agent(&headers))
        .await?;
    Ok(signed_in(StatusCode::OK, cookie, signed))
}

/// Signs out.
#[utoipa::path(delete, path = "/api/v1/session", tag = "access", responses((status = 204)))]
pub async fn sign_out(State(console): State<Console>, Extension(caller): Extension<Caller>, Extension(cookie): Extension<SessionCookie>) -> Answer<Response> {
    console.control.access.sign_out(&caller).await?;
    Ok((StatusCode::NO_CONTENT, [(SET_COOKIE, cookie.clear())]).into_response())
}

/// Who is signed in.
#[utoipa::path(get, path = "/api/v1/session", tag = "access", responses((status = 200, body = WhoAmI)))]
pub async fn who_am_i(State(console): State<Console>, Extension(caller): Extension<Caller>) -> Answer<Json<WhoAmI>> {
    Ok(Json(console.control.access.who_am_i(&caller).await?))
}

/// The caller's sessions.
#[utoipa::path(get, path = "/api/v1/sessions", tag = "access", responses((status = 200, body = Vec<SessionInfo>)))]
pub async fn sessions(State(console): State<Console>, Extension(caller): Extension<Caller>) -> Answer<Json<Vec<SessionInfo>>> {
    Ok(Json(console.control.access.sessions(&caller).await?))
}

/// Ends one of them.
#[utoipa::path(delete, path = "/api/v1/sessions/{id}", tag = "access", params(("id" = String, Path)), responses((status = 204)))]
pub async fn end_session(State(console): State<Console>, Extension(caller): Extension<Caller>, Path(id): Path<String>) -> Answer<StatusCode> {
    console.control.access.end_session(&caller, &id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// All accounts.
#[utoipa::path(get, path = "/api/v1/users", tag = "access", responses((status = 200, body = Vec<UserInfo>)))]
pub async fn users(State(console): State<Console>, Extension(caller): Extension<Caller>) -> Answer<Json<Vec<UserInfo>>> {
    Ok(Json(console.control.access.users(&caller).await?))
}

#[derive(Deserialize, utoipa::ToSchema)]
pub struct NewUser {
    name: String,
    role: Role,
    password: String,
}

/// Makes an account.
#[utoipa::path(post, path = "/api/v1/users", tag = "access", request_body = NewUser, responses((status = 201, body = UserInfo)))]
pub async fn add_user(State(console): State<Console>, Extension(caller): Extension<Caller>, Body(new): Body<NewUser>) -> Answer<(StatusCode, Json<UserInfo>)> {
    let user = console.control.access.add_user(&caller, &new.name, new.role, &new.password).await?;
    Ok((StatusCode::CREATED, Json(user)))
}

#[derive(Debug, Deserialize, utoipa::ToSchema)]
pub struct UserChange {
    role: Role,
}

/// Gives an account another role; its sessions end.
#[utoipa::path(patch, path = "/api/v1/users/{name}", tag = "access", params(("name" = String, Path)), request_body = UserChange, responses((status = 200, body = UserInfo)))]
pub async fn change_user(
    State(console): State<Console>,
    Extension(caller): Extension<Caller>,
    Path(name): Path<String>,
    Body(change): Body<UserChange>,
) -> Answer<Json<UserInfo>> {
    let access = &console.control.access;
    access.set_role(&caller, &name, change.role).await?;
    let changed = access.users(&caller).await?.into_iter().find(|user| user.name.as_str() == name);
    let gone = || ApiError::new(ErrorCode::NotFound, format!("the account `{name}` was removed meanwhile"));
    changed.map(Json).ok_or_else(gone)
}

/// Removes an account with its sessions.
#[utoipa::path(delete, path = "/api/v1/users/{name}", tag = "access", params(("name" = String, Path)), responses((status = 204)))]
pub async fn remove_user(State(console): State<Console>, Extension(caller): Extension<Caller>, Path(name): Path<String>) -> Answer<StatusCode> {
    console.control.access.remove_user(&caller, &name).await?;
    Ok(StatusCode::NO_CONTENT)
}

#[derive(Deserialize, utoipa::ToSchema)]
pub struct NewPassword {
    /// The present one, of one's own account.
    old: Option<String>,
    password: String,
}

/// Sets a password: one's own with the present one, others' as an administrator.
#[utoipa::path(put, path = "/api/v1/users/{name}/password", tag = "access", params(("name" = String, Path)), request_body = NewPassword, responses((status = 204)))]
pub async fn set_password(
    State(console): State<Console>,
    Extension(caller): Extension<Caller>,
    Path(name): Path<String>,
    Body(new): Body<NewPassword>,
) -> Answer<StatusCode> {
    let set = console.control.access.set_password(&caller, &name, new.old.as_deref(), &new.password).await;
    set.map_err(|error| {
        let mut refusal = ApiError::from(error);
        // Pages call the field so; here it has another name.
        if refusal.0.field.as_deref() == Some("new") {
            refusal.0.field = Some("password".into());
        }
        refusal
    })?;
    Ok(StatusCode::NO_CONTENT)
}

/// All tokens.
#[utoipa::path(get, path = "/api/v1/tokens", tag = "access", responses((status = 200, body = Vec<TokenInfo>)))]
pub async fn tokens(State(console): State<Console>, Extension(caller): Extension<Caller>) -> Answer<Json<Vec<TokenInfo>>> {
    Ok(Json(console.control.access.tokens(&caller).await?))
}

#[derive(Deserialize, utoipa::ToSchema)]
pub struct TokenRequest {
    name: String,
    /// `viewer` unless given.
    role: Option<Role>,
    /// RFC 3339; lives until it is revoked unless given.
    expires: Option<Timestamp>,
}

/// Makes a token; its secret is told once.
#[utoipa::path(post, path = "/api/v1/tokens", tag = "access", request_body = TokenRequest, responses((status = 201, body = NewToken)))]
pub async fn create_token(
    State(console): State<Console>,
    Extension(caller): Extension<Caller>,
    Body(new): Body<TokenRequest>,
) -> Answer<(StatusCode, Json<NewToken>)> {
    let token = console
        .control
        .access
        .create_token(&caller, &new.name, new.role.unwrap_or(Role::Viewer), new.expires)
        .await?;
    Ok((StatusCode::CREATED, Json(token)))
}

/// Revokes a token.
#[utoipa::path(delete, path = "/api/v1/tokens/{name}", tag = "access", params(("name" = String, Path)), responses((status = 204)))]
pub async fn revoke_token(State(console): State<Console>, Extension(caller): Extension<Caller>, Path(name): Path<String>) -> Answer<StatusCode> {
    console.control.access.revoke_token(&caller, &name).await?;
    Ok(StatusCode::NO_CONTENT)
}

#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
pub struct Since {
    since: Option<Timestamp>,
}

/// Who did what.
#[utoipa::path(get, path = "/api/v1/audit", tag = "access", params(Since), responses((status = 200, body = Vec<AuditEntry>)))]
pub async fn audit(State(console): State<Console>, Extension(caller): Extension<Caller>, Query(query): Query<Since>) -> Answer<Json<Vec<AuditEntry>>> {
    Ok(Json(console.control.access.audit(&caller, query.since).await?))
}
