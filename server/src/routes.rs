//! Every address that the console answers, with the permission that it needs. A route that declares none cannot be added:
//! the only way in is [`table::Table::add`].

use axum::Router;
use axum::body::Body;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{HeaderMap, Response, StatusCode, Uri};
use axum::response::IntoResponse as _;
use axum::routing::get;
use utoipa::OpenApi as _;

use crate::console::Console;
use crate::{assets, middleware};

pub mod answer;
pub mod events;
pub mod health;
pub mod metrics;
pub mod pages;
pub mod rest;
pub mod server_functions;
pub mod table;
pub mod terminal;

use table::Table;

/// JSON bodies are small; uploads have a route of their own.
const MAX_BODY: usize = 1 << 20;

#[derive(utoipa::OpenApi)]
#[openapi(info(title = "Berth", description = "Linux containers on one host."), components(schemas(answer::ErrorAnswer)))]
struct Document;

/// The whole router with all its layers. Fills the console's OpenAPI document.
pub fn router(console: &Console) -> Router {
    let table = table(console);
    let document = table.document(Document::openapi());
    // Only the first router of a console fills it, and all are alike.
    drop(console.openapi.set(document.into()));
    let router = table.into_router(console);
    let router = router.merge(pages::router(console)).layer(DefaultBodyLimit::max(MAX_BODY));
    middleware::wrap(router, console)
}

/// Every route but the pages.
pub fn table(console: &Console) -> Table {
    let table = rest::add_to(Table::new());
    let table = table.add_plain("GET", "/api/v1/openapi.json", None, get(openapi));
    let table = events::add_to(table);
    let table = terminal::add_to(table);
    let table = metrics::add_to(table);
    let table = health::add_to(table);
    let table = server_functions::add_to(table, console);
    table
        .add_plain("GET", "/pkg/{*path}", None, get(file))
        .add_plain("GET", "/static/{*path}", None, get(file))
}

async fn openapi(State(console): State<Console>) -> Response<Body> {
    let document = console.openapi.get().cloned().unwrap_or_default();
    ([("content-type", "application/json")], document).into_response()
}

async fn file(uri: Uri, headers: HeaderMap) -> Response<Body> {
    match assets::find(uri.path().trim_start_matches('/')) {
        Some(file) => file.answer(&headers),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}
