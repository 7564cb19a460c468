//! One shape for every error of the interfaces: what the router, extractors or hyper answer by themselves (404, 405,
//! 408, 413 ...) is put into it too.

use axum::extract::Request;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use model::error::ErrorCode;

use crate::routes::answer::ApiError;

/// Rewrites plain error answers below `/api/`, `/fn/`, `/ws/` and `/metrics`.
pub async fn unify(request: Request, next: Next) -> Response {
    let path = request.uri().path();
    let is_interface = ["/api/", "/fn/", "/ws/", "/metrics"].iter().any(|prefix| path.starts_with(prefix));
    let response = next.run(request).await;
    let status = response.status();
    let is_json = response
        .headers()
        .get(CONTENT_TYPE)
        .is_some_and(|value| value.as_bytes().starts_with(b"application/json"));
    if !is_interface || is_json || !(status.is_client_error() || status.is_server_error()) {
        return response;
    }
    let (code, message) = meaning(status);
    let mut shaped = ApiError::new(code, message).into_response();
    *shaped.status_mut() = status;
    let allow = response.headers().get(axum::http::header::ALLOW).cloned();
    shaped.headers_mut().extend(allow.map(|allow| (axum::http::header::ALLOW, allow)));
    shaped
}

fn meaning(status: StatusCode) -> (ErrorCode, &'static str) {
    match status {
        StatusCode::UNAUTHORIZED => (ErrorCode::SignInRequired, "nobody is signed in"),
        StatusCode::FORBIDDEN => (ErrorCode::NotAllowed, "this is not allowed"),
        StatusCode::NOT_FOUND => (ErrorCode::NotFound, "there is nothing at this address"),
        StatusCode::METHOD_NOT_ALLOWED => (ErrorCode::BadRequest, "this address does not know that method"),
        StatusCode::REQUEST_TIMEOUT => (ErrorCode::Timeout, "the request took too long"),
        StatusCode::PAYLOAD_TOO_LARGE => (ErrorCode::TooLarge, "the body is larger than is allowed here"),
        StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE => (ErrorCode::HeadersTooLarge, "the headers are too large"),
        status if status.is_server_error() => (ErrorCode::Failed, "the console failed"),
        _ => (ErrorCode::BadRequest, "the request is not understood"),
    }
}
