//! The table of routes: address, method, permission. The gate in front of each handler reads the same permission that the
//! tests compare.

use std::collections::BTreeMap;

use axum::Router;
use axum::extract::Request;
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse as _, Response};
use axum::routing::MethodRouter;
use control::Caller;
use model::access::Permission;
use utoipa::openapi::OpenApi;
use utoipa_axum::router::{OpenApiRouter, UtoipaMethodRouter};

use super::answer::ApiError;
use crate::console::Console;

/// One row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub method: String,
    pub path: String,
    /// `None` = for anybody, signed in or not.
    pub permission: Option<Permission>,
}

/// All routes with what they need.
pub struct Table {
    router: OpenApiRouter<Console>,
    plain: Router<Console>,
    pub entries: Vec<Entry>,
}

impl Table {
    /// No route yet.
    #[must_use]
    pub fn new() -> Self {
        Self {
            router: OpenApiRouter::new(),
            plain: Router::new(),
            entries: Vec::new(),
        }
    }

    /// Adds a documented route behind its gate.
    #[must_use]
    pub fn add(mut self, permission: Option<Permission>, (schemas, paths, methods): UtoipaMethodRouter<Console>) -> Self {
        let value = serde_json::to_value(&paths).unwrap_or_default();
        let all: BTreeMap<String, BTreeMap<String, serde_json::Value>> = serde_json::from_value(value).unwrap_or_default();
        for (path, item) in all {
            let verbs = item.into_keys().filter(|key| ["get", "post", "put", "patch", "delete"].contains(&key.as_str()));
            self.entries.extend(verbs.map(|verb| Entry {
                method: verb.to_uppercase(),
                path: path.clone(),
                permission,
            }));
        }
        self.router = self
            .router
            .routes((schemas, paths, methods.layer(from_fn(move |request, next| pass(permission, request, next)))));
        self
    }

    /// Adds a route that the document does not describe.
    #[must_use]
    pub fn add_plain(mut self, method: &str, path: &str, permission: Option<Permission>, methods: MethodRouter<Console>) -> Self {
        self.entries.push(Entry {
            method: method.to_owned(),
            path: path.to_owned(),
            permission,
        });
        self.plain = self
            .plain
            .route(path, methods.layer(from_fn(move |request, next| pass(permission, request, next))));
        self
    }

    /// The OpenAPI document of the described routes, as JSON.
    #[must_use]
    pub fn document(&self, frame: OpenApi) -> String {
        let mut document = frame.merge_from(self.router.get_openapi().clone());
        env!("CARGO_PKG_VERSION").clone_into(&mut document.info.version);
        document.to_json().unwrap_or_default()
    }

    /// The router itself.
    pub fn into_router(self, console: &Console) -> Router {
        Router::from(self.router).merge(self.plain).with_state(console.clone())
    }
}

/// Lets through who may pass.
async fn pass(permission: Option<Permission>, request: Request, next: Next) -> Response {
    match judge(permission, request.extensions().get::<Caller>()) {
        Ok(()) => next.run(request).await,
        Err(error) => error.into_response(),
    }
}

/// Whether a caller has a permission; a request without a caller has none.
///
/// # Errors
/// `SignInRequired`, `NotAllowed`.
pub fn judge(permission: Option<Permission>, caller: Option<&Caller>) -> Result<(), ApiError> {
    let Some(permission) = permission else { return Ok(()) };
    match caller {
        Some(caller) => Ok(caller.require(permission)?),
        None => Ok(Caller::anonymous("").require(permission)?),
    }
}
