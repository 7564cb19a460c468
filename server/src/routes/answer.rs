//! What handlers answer: one shape for errors, one for tasks, and a JSON extractor that names the wrong field.

use axum::Json;
use axum::body::Bytes;
use axum::extract::{FromRequest, Request};
use axum::http::header::{CONTENT_TYPE, LOCATION, RETRY_AFTER};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use model::error::{ErrorBody, ErrorCode};
use model::task::Task;
use serde::de::DeserializeOwned;
use serde::{Deserializer, Serialize};

/// The result of a handler.
pub type Answer<T> = Result<T, ApiError>;

/// A refusal or failure on its way out.
#[derive(Clone, Debug)]
pub struct ApiError(pub Box<ErrorBody>);

/// The body of every error.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct ErrorAnswer {
    pub error: ErrorBody,
}

impl ApiError {
    /// An error with a code and a message.
    #[must_use]
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self(Box::new(ErrorBody::new(code, message)))
    }

    /// With the way out.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.0.hint = Some(hint.into());
        self
    }
}

impl From<control::Error> for ApiError {
    fn from(error: control::Error) -> Self {
        Self(error.body)
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut body = *self.0;
        let status = StatusCode::from_u16(body.code.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        if body.code == ErrorCode::Failed && body.log_id.is_none() {
            let id = uuid::Uuid::new_v4().simple().to_string();
            tracing::error!(log_id = %&id[..12], error = %body.message, "an operation failed");
            body.log_id = Some(id[..12].to_owned());
        }
        let wait = (body.code == ErrorCode::SlowDown).then(|| seconds(&body)).flatten();
        let mut response = (status, Json(ErrorAnswer { error: body })).into_response();
        if let Some(wait) = wait {
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(wait));
        }
        response
    }
}

/// The first number of the hint ("try again in 4 s").
fn seconds(body: &ErrorBody) -> Option<u64> {
    let hint = body.hint.as_deref()?;
    hint.split(|c: char| !c.is_ascii_digit()).find(|part| !part.is_empty())?.parse().ok()
}

/// `202` with the task and where to follow it.
#[derive(Debug)]
pub struct Accepted(pub Task);

impl IntoResponse for Accepted {
    fn into_response(self) -> Response {
        let location = format!("/api/v1/tasks/{}", self.0.id);
        (StatusCode::ACCEPTED, [(LOCATION, location)], Json(self.0)).into_response()
    }
}

/// A JSON body. What is wrong with it is told with the field's path.
#[derive(Clone, Copy, Debug)]
pub struct Body<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Body<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        let is_json = request
            .headers()
            .get(CONTENT_TYPE)
            .is_some_and(|kind| kind.as_bytes().starts_with(b"application/json"));
        let bytes = Bytes::from_request(request, state).await.map_err(|rejection| {
            let code = if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE {
                ErrorCode::TooLarge
            } else {
                ErrorCode::BadRequest
            };
            ApiError::new(code, rejection.body_text())
        })?;
        if !is_json && !bytes.is_empty() {
            return Err(ApiError::new(ErrorCode::BadRequest, "the body is not marked as JSON").hint("send `Content-Type: application/json`"));
        }
        // No body stands for an object without fields.
        let text: &[u8] = if bytes.is_empty() { b"{}" } else { &bytes };
        read(&mut serde_json::Deserializer::from_slice(text)).map(Self)
    }
}

/// Reads a value; what is wrong names its field.
///
/// # Errors
/// `Invalid` for a bad value, `BadRequest` for what is no JSON.
pub fn read<'de, T: DeserializeOwned>(from: impl Deserializer<'de, Error = serde_json::Error>) -> Answer<T> {
    serde_path_to_error::deserialize(from).map_err(|error| {
        let (path, inner) = (error.path().to_string(), error.into_inner());
        let code = if inner.is_data() { ErrorCode::Invalid } else { ErrorCode::BadRequest };
        let mut refusal = ApiError::new(code, format!("the body is wrong: {inner}"));
        refusal.0.field = Some(path).filter(|path| path != ".");
        refusal
    })
}

/// The `Idempotency-Key` of a request.
#[must_use]
pub fn idempotency_key(headers: &axum::http::HeaderMap) -> Option<&str> {
    headers.get("idempotency-key").and_then(|key| key.to_str().ok()).filter(|key| !key.is_empty())
}
