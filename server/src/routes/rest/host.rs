//! The host: what it is and can do, what it uses, its networks.

use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::{Extension, Json};
use control::Caller;
use model::engine::HostReport;
use model::leftover::Finding;
use model::metrics::{HOST, History};
use model::network::{NetworkInfo, NewNetwork};

use super::containers::Span;
use crate::console::Console;
use crate::routes::answer::{Answer, Body};

/// What this host is and can do.
#[utoipa::path(get, path = "/api/v1/host", tag = "host", responses((status = 200, body = HostReport)))]
pub async fn report(State(console): State<Console>, Extension(caller): Extension<Caller>) -> Answer<Json<HostReport>> {
    Ok(Json(console.control.host.report(&caller).await?))
}

/// What is left that no container has, and what is damaged.
#[utoipa::path(get, path = "/api/v1/host/leftovers", tag = "host", responses((status = 200, body = Vec<Finding>)))]
pub async fn leftovers(State(console): State<Console>, Extension(caller): Extension<Caller>) -> Answer<Json<Vec<Finding>>> {
    Ok(Json(console.control.containers.examine(&caller, false).await?))
}

/// Removes what is left that no container has, repairs what can be, and says what became of each.
#[utoipa::path(post, path = "/api/v1/host/repair", tag = "host", responses((status = 200, body = Vec<Finding>)))]
pub async fn repair(State(console): State<Console>, Extension(caller): Extension<Caller>) -> Answer<Json<Vec<Finding>>> {
    Ok(Json(console.control.containers.examine(&caller, true).await?))
}

/// What the host used.
#[utoipa::path(get, path = "/api/v1/host/metrics", tag = "host", params(Span), responses((status = 200, body = History)))]
pub async fn history(State(console): State<Console>, Extension(caller): Extension<Caller>, Query(span): Query<Span>) -> Answer<Json<History>> {
    let (from, to) = span.bounds(&console);
    Ok(Json(console.control.metrics.history(&caller, HOST, from, to, span.step).await?))
}

/// Managed bridges with who has which address.
#[utoipa::path(get, path = "/api/v1/networks", tag = "host", responses((status = 200, body = Vec<NetworkInfo>)))]
pub async fn networks(State(console): State<Console>, Extension(caller): Extension<Caller>) -> Answer<Json<Vec<NetworkInfo>>> {
    Ok(Json(console.control.networks.list(&caller).await?))
}

/// Adds a managed bridge; it is made when the first container joins it.
#[utoipa::path(post, path = "/api/v1/networks", tag = "host", request_body = NewNetwork, responses((status = 201, body = NetworkInfo)))]
pub async fn add_network(
    State(console): State<Console>,
    Extension(caller): Extension<Caller>,
    Body(new): Body<NewNetwork>,
) -> Answer<(StatusCode, Json<NetworkInfo>)> {
    Ok((StatusCode::CREATED, Json(console.control.containers.add_network(&caller, new).await?)))
}

/// Removes a managed bridge that no container joins.
#[utoipa::path(delete, path = "/api/v1/networks/{name}", tag = "host", params(("name" = String, Path)), responses((status = 204)))]
pub async fn remove_network(State(console): State<Console>, Extension(caller): Extension<Caller>, Path(name): Path<String>) -> Answer<StatusCode> {
    console.control.containers.remove_network(&caller, &name).await?;
    Ok(StatusCode::NO_CONTENT)
}
