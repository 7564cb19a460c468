//! Tasks: what runs, what ran, why it failed.

use axum::extract::{Path, State};
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use axum::{Extension, Json};
use control::Caller;
use model::id::TaskId;
use model::task::Task;

use crate::console::Console;
use crate::routes::answer::Answer;

/// Living tasks and the newest ended ones, newest first.
#[utoipa::path(get, path = "/api/v1/tasks", tag = "tasks", responses((status = 200, body = Vec<Task>)))]
pub async fn list(State(console): State<Console>, Extension(caller): Extension<Caller>) -> Answer<Json<Vec<Task>>> {
    Ok(Json(console.control.tasks.list(&caller).await?))
}

/// One task.
#[utoipa::path(get, path = "/api/v1/tasks/{id}", tag = "tasks", params(("id" = String, Path)), responses((status = 200, body = Task)))]
pub async fn show(State(console): State<Console>, Extension(caller): Extension<Caller>, Path(id): Path<TaskId>) -> Answer<Json<Task>> {
    Ok(Json(console.control.tasks.show(&caller, id).await?))
}

/// What it wrote down.
#[utoipa::path(get, path = "/api/v1/tasks/{id}/log", tag = "tasks", params(("id" = String, Path)), responses((status = 200, content_type = "text/plain", body = String)))]
pub async fn log(State(console): State<Console>, Extension(caller): Extension<Caller>, Path(id): Path<TaskId>) -> Answer<impl IntoResponse> {
    Ok(([(CONTENT_TYPE, "text/plain; charset=utf-8")], console.control.tasks.log(&caller, id).await?))
}

/// Stops it; what it did is taken back.
#[utoipa::path(post, path = "/api/v1/tasks/{id}/cancel", tag = "tasks", params(("id" = String, Path)), responses((status = 200, body = Task)))]
pub async fn cancel(State(console): State<Console>, Extension(caller): Extension<Caller>, Path(id): Path<TaskId>) -> Answer<Json<Task>> {
    Ok(Json(console.control.tasks.cancel(&caller, id).await?))
}
