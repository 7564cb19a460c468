//! Server functions: what the pages ask of the console. Every one is a public endpoint under `/fn/`, is a POST, has an
//! explicit name and declares its permission in [`PERMISSIONS`]; a test of the server compares that table with the
//! registry.

use http::StatusCode;
use model::access::Permission;
use model::error::{ErrorBody, ErrorCode};
use serde::{Deserialize, Serialize};
use server_fn::error::{FromServerFnError, ServerFnErrorErr};

use crate::page_context::PageContext;

pub mod account;
pub mod containers;
pub mod detail;
pub mod events;
pub mod fetched;
pub mod host;
#[cfg(feature = "ssr")]
pub mod request;
pub mod session;
pub mod setup;
pub mod sources;
pub mod tasks;
pub mod templates;
pub mod trash;
pub mod upload;
pub mod wire;

/// Every server function with the permission that it needs; `None` = for anybody, signed in or not.
pub const PERMISSIONS: &[(&str, Option<Permission>)] = &[
    ("/fn/containers/list", Some(Permission::View)),
    ("/fn/containers/show", Some(Permission::View)),
    ("/fn/containers/start", Some(Permission::Containers)),
    ("/fn/containers/stop", Some(Permission::Containers)),
    ("/fn/containers/kill", Some(Permission::Containers)),
    ("/fn/containers/restart", Some(Permission::Containers)),
    ("/fn/containers/freeze", Some(Permission::Containers)),
    ("/fn/containers/unfreeze", Some(Permission::Containers)),
    ("/fn/containers/delete", Some(Permission::Containers)),
    ("/fn/containers/undo_delete", Some(Permission::Containers)),
    ("/fn/containers/tasks", Some(Permission::View)),
    ("/fn/containers/not_created", Some(Permission::View)),
    ("/fn/containers/running_tasks", Some(Permission::View)),
    ("/fn/containers/update", Some(Permission::Containers)),
    ("/fn/containers/rename", Some(Permission::Containers)),
    ("/fn/containers/create", Some(Permission::Containers)),
    ("/fn/containers/suggest_name", Some(Permission::Containers)),
    ("/fn/containers/log", Some(Permission::View)),
    ("/fn/containers/open_terminal", Some(Permission::Terminal)),
    ("/fn/containers/terminals", Some(Permission::Terminal)),
    ("/fn/host/findings", Some(Permission::View)),
    ("/fn/host/report", Some(Permission::View)),
    ("/fn/host/recommended", Some(Permission::View)),
    ("/fn/host/values", Some(Permission::View)),
    ("/fn/events/history", Some(Permission::View)),
    ("/fn/templates/list", Some(Permission::View)),
    ("/fn/templates/download", Some(Permission::Templates)),
    ("/fn/templates/remove", Some(Permission::Templates)),
    ("/fn/templates/import", Some(Permission::Templates)),
    ("/fn/setup/set_up", None),
    ("/fn/session/sign_in", None),
    ("/fn/session/sign_out", Some(Permission::OwnAccount)),
    ("/fn/session/settings", Some(Permission::OwnAccount)),
    ("/fn/tasks/list", Some(Permission::View)),
    ("/fn/tasks/show", Some(Permission::View)),
    ("/fn/tasks/log", Some(Permission::View)),
    ("/fn/tasks/cancel", Some(Permission::Containers)),
    ("/fn/trash/list", Some(Permission::View)),
    ("/fn/trash/restore", Some(Permission::Containers)),
    ("/fn/trash/purge", Some(Permission::Containers)),
    ("/fn/trash/empty", Some(Permission::Containers)),
    ("/fn/sources/list", Some(Permission::View)),
    ("/fn/sources/add", Some(Permission::Administer)),
    ("/fn/sources/remove", Some(Permission::Administer)),
    ("/fn/sources/refresh", Some(Permission::Templates)),
    ("/fn/account/password", Some(Permission::OwnAccount)),
    ("/fn/account/sessions", Some(Permission::OwnAccount)),
    ("/fn/account/end_session", Some(Permission::OwnAccount)),
    ("/fn/account/tokens", Some(Permission::Administer)),
    ("/fn/account/create_token", Some(Permission::Administer)),
    ("/fn/account/revoke_token", Some(Permission::Administer)),
    ("/fn/account/users", Some(Permission::Administer)),
    ("/fn/account/add_user", Some(Permission::Administer)),
    ("/fn/account/set_role", Some(Permission::Administer)),
    ("/fn/account/remove_user", Some(Permission::Administer)),
];

/// The result of a server function.
pub type ApiResult<T> = Result<T, ApiError>;

/// Why a server function gave no answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ApiError {
    /// The console refused or failed: what, why, and what to do.
    Refused(Box<ErrorBody>),
    /// The console could not be reached, which says nothing about what was asked.
    Unreachable(String),
}

impl ApiError {
    /// The parts that a page shows.
    #[must_use]
    pub fn body(&self) -> ErrorBody {
        match self {
            Self::Refused(body) => (**body).clone(),
            Self::Unreachable(why) => ErrorBody::new(ErrorCode::Upstream, why.clone()),
        }
    }

    /// Its code.
    #[must_use]
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::Refused(body) => body.code,
            Self::Unreachable(_) => ErrorCode::Upstream,
        }
    }

    fn refused(code: ErrorCode, message: String) -> Self {
        Self::Refused(Box::new(ErrorBody::new(code, message)))
    }
}

impl std::fmt::Display for ApiError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Refused(body) => f.write_str(&body.message),
            Self::Unreachable(why) => f.write_str(why),
        }
    }
}

impl std::error::Error for ApiError {}

impl FromServerFnError for ApiError {
    type Encoder = wire::Refusal;

    fn from_server_fn_error(error: ServerFnErrorErr) -> Self {
        let message = error.to_string();
        match error {
            ServerFnErrorErr::Request(_) | ServerFnErrorErr::Response(_) => Self::Unreachable(message),
            ServerFnErrorErr::Args(_) | ServerFnErrorErr::MissingArg(_) | ServerFnErrorErr::Deserialization(_) => Self::refused(ErrorCode::BadRequest, message),
            _ => Self::refused(ErrorCode::Failed, message),
        }
    }

    fn status_code(&self) -> StatusCode {
        StatusCode::from_u16(self.code().status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }
}

#[cfg(feature = "ssr")]
impl From<control::Error> for ApiError {
    fn from(error: control::Error) -> Self {
        Self::Refused(error.body)
    }
}

/// Whether this is the half that renders on the server.
pub const IS_SERVER: bool = cfg!(feature = "ssr");

/// The page's context: on the server out of the request, in the browser out of the page itself.
#[cfg(feature = "ssr")]
#[must_use]
pub fn page_context() -> PageContext {
    request::page_context()
}

/// The page's context: on the server out of the request, in the browser out of the page itself.
#[cfg(not(feature = "ssr"))]
#[must_use]
pub fn page_context() -> PageContext {
    let element = web_sys::window()
        .and_then(|window| window.document())
        .and_then(|document| document.get_element_by_id(crate::page_context::ELEMENT_ID));
    let text = element.and_then(|element| element.text_content()).unwrap_or_default();
    crate::json::read(&text).unwrap_or_default()
}

/// Sets the status of the answer while the server renders; nothing in the browser.
#[cfg(feature = "ssr")]
pub fn set_status(code: ErrorCode) {
    request::set_status(code);
}

/// Sets the status of the answer while the server renders; nothing in the browser.
#[cfg(not(feature = "ssr"))]
pub fn set_status(_code: ErrorCode) {}

/// The nonce for inline script and style of this answer.
#[must_use]
pub fn nonce() -> Option<String> {
    leptos::nonce::use_nonce().map(|nonce| nonce.as_inner().to_string())
}
