//! The trash: deleted containers wait here for seven days.

use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::{Extension, Json};
use control::Caller;
use model::ContainerId;
use model::storage::TrashEntry;
use model::task::Task;
use serde::Deserialize;

use crate::console::Console;
use crate::routes::answer::{Accepted, Answer, Body, idempotency_key};

/// What is in it.
#[utoipa::path(get, path = "/api/v1/trash", tag = "trash", responses((status = 200, body = Vec<TrashEntry>)))]
pub async fn list(State(console): State<Console>, Extension(caller): Extension<Caller>) -> Answer<Json<Vec<TrashEntry>>> {
    Ok(Json(console.control.containers.trash(&caller).await?))
}

#[derive(Debug, Default, Deserialize, utoipa::ToSchema)]
#[serde(default)]
pub struct Restore {
    /// Another name.
    name: Option<String>,
}

/// Brings a container back.
#[utoipa::path(post, path = "/api/v1/trash/{id}/restore", tag = "trash", params(("id" = String, Path)), request_body = Option<Restore>, responses((status = 202, body = Task)))]
pub async fn restore(
    State(console): State<Console>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<ContainerId>,
    headers: HeaderMap,
    Body(wanted): Body<Restore>,
) -> Answer<Accepted> {
    let containers = &console.control.containers;
    Ok(Accepted(
        containers.restore(&caller, id, wanted.name.as_deref(), idempotency_key(&headers)).await?,
    ))
}

/// Removes one for good.
#[utoipa::path(delete, path = "/api/v1/trash/{id}", tag = "trash", params(("id" = String, Path)), responses((status = 202, body = Task)))]
pub async fn purge(State(console): State<Console>, Extension(caller): Extension<Caller>, Path(id): Path<ContainerId>) -> Answer<Accepted> {
    Ok(Accepted(console.control.containers.purge(&caller, id).await?))
}

/// Removes everything for good.
#[utoipa::path(delete, path = "/api/v1/trash", tag = "trash", responses((status = 202, body = Task)))]
pub async fn empty(State(console): State<Console>, Extension(caller): Extension<Caller>) -> Answer<Accepted> {
    Ok(Accepted(console.control.containers.empty_trash(&caller).await?))
}
