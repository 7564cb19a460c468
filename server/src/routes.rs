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

#[derive(utoipa::OpenApi)]
#[openapi(info(title = "Berth", description = "Linux containers on one host."), components(schemas(answer::ErrorAnswer)))]
struct Document;

/// The whole router with all its layers. Fills the console's OpenAPI document.
pub fn router(console: &Console) -> Router {
    let table = table();
    let document = table.document(Document::openapi());
    // Only the first router of a console fills it, and all are alike.
    drop(console.openapi.set(document.into()));
    let router = table.into_router(console);
    // `middleware::body` bounds every body, also those that no extractor reads.
    let router = router.merge(pages::router(console)).layer(DefaultBodyLimit::disable());
    middleware::wrap(router, console)
}

/// Every route but the pages.
pub fn table() -> Table {
    let table = rest::add_to(Table::new());
    let table = table.add_plain("GET", "/api/v1/openapi.json", None, get(openapi));
    let table = events::add_to(table);
    let table = terminal::add_to(table);
    let table = metrics::add_to(table);
    let table = health::add_to(table);
    let table = server_functions::add_to(table);
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use model::Role;

    use super::table;

    /// The rights that `tests/http/rights.rs` tries out are those of all routes that there are.
    #[test]
    fn every_route_is_in_the_table_of_rights() {
        let table = table();
        let least = |entry: &super::table::Entry| {
            let roles = [Role::Viewer, Role::Operator, Role::Administrator];
            entry.permission.map_or("anybody", |permission| {
                roles.into_iter().find(|role| role.permits(permission)).map_or("nobody", Role::as_str)
            })
        };
        let routes: BTreeSet<String> = table
            .entries
            .iter()
            .map(|entry| format!("{} {} {}", entry.method, entry.path, least(entry)))
            .collect();
        let rights: BTreeSet<String> = include_str!("../tests/http/rights.txt").lines().map(str::to_owned).collect();
        let (untested, gone): (Vec<_>, Vec<_>) = (routes.difference(&rights).collect(), rights.difference(&routes).collect());
        assert!(
            untested.is_empty() && gone.is_empty(),
            "not in rights.txt: {untested:#?}\nnot a route: {gone:#?}"
        );
    }
}
