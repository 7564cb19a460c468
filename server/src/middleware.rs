//! What happens to every request before and after its handler, outermost first: log, headers, compression, language, error
//! shape, host, rate, session, origin, body. Each route then has its own gate (`routes/table.rs`).

use axum::Router;
use axum::middleware::{from_fn, from_fn_with_state};

use crate::console::Console;

pub mod body;
pub mod compression;
pub mod error_shape;
pub mod forwarded;
pub mod headers;
pub mod host;
pub mod language;
pub mod origin;
pub mod rate_limit;
pub mod request_log;
pub mod session;

/// Wraps the finished router: a layer covers only routes that exist when it is added.
pub fn wrap(router: Router, console: &Console) -> Router {
    router
        .layer(from_fn(body::bound))
        .layer(from_fn_with_state(console.clone(), origin::check))
        .layer(from_fn_with_state(console.clone(), session::identify))
        .layer(from_fn_with_state(console.clone(), rate_limit::check))
        .layer(from_fn_with_state(console.clone(), host::check))
        .layer(from_fn_with_state(console.clone(), forwarded::read))
        .layer(from_fn(error_shape::unify))
        .layer(from_fn(language::speak))
        .layer(compression::layer())
        .layer(from_fn(headers::add))
        .layer(from_fn(request_log::write))
}
