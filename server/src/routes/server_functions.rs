//! The pages' server functions under `/fn/`, each behind the permission that `app::api::PERMISSIONS` declares.

use app::api::PERMISSIONS;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::HeaderValue;
use axum::http::header::LOCATION;
use axum::response::{IntoResponse as _, Response};
use axum::routing::post;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE;
use control::Caller;
use model::access::Permission;
use model::error::ErrorCode;

use super::answer::ApiError;
use super::pages;
use super::table::{Entry, Table, judge};
use crate::console::Console;
use crate::middleware::language::Reader;

/// Adds one address for all; each is gated by its own row.
#[must_use]
pub fn add_to(mut table: Table) -> Table {
    table.entries.extend(PERMISSIONS.iter().map(|(path, permission)| Entry {
        method: "POST".into(),
        path: (*path).to_owned(),
        permission: *permission,
    }));
    table.add_plain("POST", "/fn/{*name}", None, post(call))
}

/// The permission of a server function; `None` = there is no such function.
fn permission(path: &str) -> Option<Option<Permission>> {
    PERMISSIONS.iter().find(|(known, _)| *known == path).map(|(_, permission)| *permission)
}

async fn call(State(console): State<Console>, request: Request) -> Response {
    let Some(permission) = permission(request.uri().path()) else {
        return ApiError::new(ErrorCode::NotFound, "there is nothing at this address").into_response();
    };
    if let Err(error) = judge(permission, request.extensions().get::<Caller>()) {
        // In the shape that the pages read.
        let refused = app::api::ApiError::Refused(error.0);
        let status = axum::http::StatusCode::from_u16(refused.code().status()).unwrap_or(axum::http::StatusCode::FORBIDDEN);
        return (
            status,
            [("content-type", "application/json")],
            serde_json::to_string(&refused).unwrap_or_default(),
        )
            .into_response();
    }
    let reader = request.extensions().get::<Reader>().copied().unwrap_or(Reader::Program);
    let context = match pages::context(&console, request.extensions()).await {
        Ok(context) => context,
        Err(error) => return error.into_response(),
    };
    let mut response = leptos_axum::handle_server_fns_with_context(move || context.clone().provide(), request)
        .await
        .into_response()
        .map(Body::new);
    // A page without script is sent back, with the refusal in the address.
    let sent_back = response.headers().get(LOCATION).and_then(|to| spoken(to.to_str().ok()?, reader));
    if let Some(to) = sent_back.and_then(|to| HeaderValue::from_str(&to).ok()) {
        response.headers_mut().insert(LOCATION, to);
    }
    response
}

/// The address with the refusal in the words of its reader; `None` = there is none in it.
fn spoken(address: &str, reader: Reader) -> Option<String> {
    let (before, rest) = address.rsplit_once("__err=")?;
    let (refusal, after) = rest.split_at(rest.find(['&', '#']).unwrap_or(rest.len()));
    let text = URL_SAFE.decode(refusal.replace("%3D", "=")).ok()?;
    let refusal: serde_json::Value = serde_json::from_slice(&text).ok()?;
    let refusal = URL_SAFE.encode(reader.json(&refusal).ok()?).replace('=', "%3D");
    Some(format!("{before}__err={refusal}{after}"))
}
