//! Containers: what exists, every verb, counters, history and commands.

use std::time::Duration;

use axum::extract::{Path, Query, State};
use axum::http::header::{ETAG, IF_MATCH};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use control::Caller;
use model::container::{ContainerDetail, ContainerState, ContainerSummary, CreateRequest, UpdateRequest};
use model::engine::ExecRequest;
use model::id::ExecId;
use model::metrics::{History, Stats};
use model::task::Task;
use model::{ContainerSpec, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::console::Console;
use crate::routes::answer::{Accepted, Answer, Body, idempotency_key, read};

/// How long a stop waits unless it is told (interface.md).
const STOP_SECONDS: u64 = 30;

#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
pub struct Filter {
    state: Option<ContainerState>,
    tag: Option<String>,
}

/// Every container outside the trash, by name.
#[utoipa::path(get, path = "/api/v1/containers", tag = "containers", params(Filter), responses((status = 200, body = Vec<ContainerSummary>)))]
pub async fn list(State(console): State<Console>, Extension(caller): Extension<Caller>, Query(filter): Query<Filter>) -> Answer<Json<Vec<ContainerSummary>>> {
    let mut all = console.control.containers.list(&caller).await?;
    all.retain(|one| filter.state.is_none_or(|state| one.state == state) && filter.tag.as_ref().is_none_or(|tag| one.tags.contains(tag)));
    Ok(Json(all))
}

/// Creates a container, and starts it if asked to.
#[utoipa::path(post, path = "/api/v1/containers", tag = "containers", request_body = CreateRequest, responses((status = 202, body = Task)))]
pub async fn create(State(console): State<Console>, Extension(caller): Extension<Caller>, headers: HeaderMap, Body(request): Body<Value>) -> Answer<Accepted> {
    // By its parts: a flattened part hides which of its fields is wrong.
    read::<ContainerSpec>(&request)?;
    let request: CreateRequest = read(&request)?;
    Ok(Accepted(console.control.containers.create(&caller, request, idempotency_key(&headers)).await?))
}

fn with_etag(detail: ContainerDetail) -> Response {
    ([(ETAG, format!("\"{}\"", detail.etag))], Json(detail)).into_response()
}

/// One container with everything about it.
#[utoipa::path(get, path = "/api/v1/containers/{name}", tag = "containers", params(("name" = String, Path)), responses((status = 200, body = ContainerDetail)))]
pub async fn show(State(console): State<Console>, Extension(caller): Extension<Caller>, Path(name): Path<String>) -> Answer<Response> {
    Ok(with_etag(console.control.containers.show(&caller, &name).await?))
}

/// Changes settings; `If-Match` guards against changes of others.
#[utoipa::path(patch, path = "/api/v1/containers/{name}", tag = "containers", params(("name" = String, Path)), request_body = UpdateRequest, responses((status = 200, body = ContainerDetail)))]
pub async fn update(
    State(console): State<Console>,
    Extension(caller): Extension<Caller>,
    Path(name): Path<String>,
    headers: HeaderMap,
    Body(request): Body<UpdateRequest>,
) -> Answer<Response> {
    Ok(with_etag(console.control.containers.update(&caller, &name, request, if_match(&headers)).await?))
}

/// The etag that a change stands on; `*` is whatever there is.
fn if_match(headers: &HeaderMap) -> Option<&str> {
    headers.get(IF_MATCH).and_then(|etag| etag.to_str().ok()).filter(|etag| *etag != "*")
}

#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[serde(default)]
pub struct DeleteQuery {
    /// Also when it runs.
    force: bool,
    /// At once and for good.
    purge: bool,
}

/// Moves a container to the trash, or removes it for good.
#[utoipa::path(delete, path = "/api/v1/containers/{name}", tag = "containers", params(("name" = String, Path), DeleteQuery), responses((status = 202, body = Task)))]
pub async fn delete(
    State(console): State<Console>,
    Extension(caller): Extension<Caller>,
    Path(name): Path<String>,
    Query(query): Query<DeleteQuery>,
    headers: HeaderMap,
) -> Answer<Accepted> {
    Ok(Accepted(
        console
            .control
            .containers
            .delete(&caller, &name, query.force, query.purge, idempotency_key(&headers))
            .await?,
    ))
}

/// Starts it.
#[utoipa::path(post, path = "/api/v1/containers/{name}/start", tag = "containers", params(("name" = String, Path)), responses((status = 202, body = Task)))]
pub async fn start(State(console): State<Console>, Extension(caller): Extension<Caller>, Path(name): Path<String>, headers: HeaderMap) -> Answer<Accepted> {
    Ok(Accepted(console.control.containers.start(&caller, &name, idempotency_key(&headers)).await?))
}

/// How a container shall stop; in the query or in the body.
#[derive(Debug, Default, Deserialize, utoipa::IntoParams, utoipa::ToSchema)]
#[serde(default)]
pub struct StopOptions {
    /// Seconds, 30 unless given.
    timeout: Option<u64>,
    /// Kill at the time-out.
    kill: Option<bool>,
}

impl StopOptions {
    fn or(self, other: &Self) -> (Duration, bool) {
        let seconds = self.timeout.or(other.timeout).unwrap_or(STOP_SECONDS);
        (Duration::from_secs(seconds), self.kill.or(other.kill).unwrap_or(false))
    }
}

/// Asks its init to power off.
#[utoipa::path(post, path = "/api/v1/containers/{name}/stop", tag = "containers", params(("name" = String, Path), StopOptions), request_body = Option<StopOptions>, responses((status = 202, body = Task)))]
pub async fn stop(
    State(console): State<Console>,
    Extension(caller): Extension<Caller>,
    Path(name): Path<String>,
    Query(query): Query<StopOptions>,
    headers: HeaderMap,
    Body(body): Body<StopOptions>,
) -> Answer<Accepted> {
    let (timeout, kill) = body.or(&query);
    Ok(Accepted(
        console
            .control
            .containers
            .stop(&caller, &name, timeout, kill, idempotency_key(&headers))
            .await?,
    ))
}

/// Kills everything in it.
#[utoipa::path(post, path = "/api/v1/containers/{name}/kill", tag = "containers", params(("name" = String, Path)), responses((status = 202, body = Task)))]
pub async fn kill(State(console): State<Console>, Extension(caller): Extension<Caller>, Path(name): Path<String>, headers: HeaderMap) -> Answer<Accepted> {
    Ok(Accepted(console.control.containers.kill(&caller, &name, idempotency_key(&headers)).await?))
}

/// Stops and starts it.
#[utoipa::path(post, path = "/api/v1/containers/{name}/restart", tag = "containers", params(("name" = String, Path), StopOptions), request_body = Option<StopOptions>, responses((status = 202, body = Task)))]
pub async fn restart(
    State(console): State<Console>,
    Extension(caller): Extension<Caller>,
    Path(name): Path<String>,
    Query(query): Query<StopOptions>,
    headers: HeaderMap,
    Body(body): Body<StopOptions>,
) -> Answer<Accepted> {
    let (timeout, kill) = body.or(&query);
    Ok(Accepted(
        console
            .control
            .containers
            .restart(&caller, &name, timeout, kill, idempotency_key(&headers))
            .await?,
    ))
}

/// Freezes every process in it.
#[utoipa::path(post, path = "/api/v1/containers/{name}/freeze", tag = "containers", params(("name" = String, Path)), responses((status = 202, body = Task)))]
pub async fn freeze(State(console): State<Console>, Extension(caller): Extension<Caller>, Path(name): Path<String>, headers: HeaderMap) -> Answer<Accepted> {
    Ok(Accepted(console.control.containers.freeze(&caller, &name, idempotency_key(&headers)).await?))
}

/// Lets it go on.
#[utoipa::path(post, path = "/api/v1/containers/{name}/unfreeze", tag = "containers", params(("name" = String, Path)), responses((status = 202, body = Task)))]
pub async fn unfreeze(State(console): State<Console>, Extension(caller): Extension<Caller>, Path(name): Path<String>, headers: HeaderMap) -> Answer<Accepted> {
    Ok(Accepted(console.control.containers.unfreeze(&caller, &name, idempotency_key(&headers)).await?))
}

#[derive(Debug, Deserialize, utoipa::ToSchema)]
pub struct Rename {
    name: String,
}

/// Gives a stopped container another name; `If-Match` guards against changes of others.
#[utoipa::path(post, path = "/api/v1/containers/{name}/rename", tag = "containers", params(("name" = String, Path)), request_body = Rename, responses((status = 200, body = ContainerDetail)))]
pub async fn rename(
    State(console): State<Console>,
    Extension(caller): Extension<Caller>,
    Path(name): Path<String>,
    headers: HeaderMap,
    Body(new): Body<Rename>,
) -> Answer<Response> {
    Ok(with_etag(
        console.control.containers.rename(&caller, &name, &new.name, if_match(&headers)).await?,
    ))
}

/// Counters of one container; empty when it does not run.
#[utoipa::path(get, path = "/api/v1/containers/{name}/stats", tag = "containers", params(("name" = String, Path)), responses((status = 200, body = Vec<Stats>)))]
pub async fn stats(State(console): State<Console>, Extension(caller): Extension<Caller>, Path(name): Path<String>) -> Answer<Json<Vec<Stats>>> {
    Ok(Json(console.control.metrics.stats(&caller, &[name]).await?))
}

/// Counters of every running container.
#[utoipa::path(get, path = "/api/v1/stats", tag = "containers", responses((status = 200, body = Vec<Stats>)))]
pub async fn stats_of_all(State(console): State<Console>, Extension(caller): Extension<Caller>) -> Answer<Json<Vec<Stats>>> {
    Ok(Json(console.control.metrics.stats(&caller, &[]).await?))
}

#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
pub struct Span {
    /// RFC 3339; an hour ago unless given.
    from: Option<Timestamp>,
    /// RFC 3339; now unless given.
    to: Option<Timestamp>,
    /// Milliseconds between points.
    pub step: Option<u64>,
}

impl Span {
    pub fn bounds(&self, console: &Console) -> (Timestamp, Timestamp) {
        const HOUR_MS: i64 = 3_600_000;
        let to = self.to.unwrap_or_else(|| console.control.clock.now());
        (self.from.unwrap_or_else(|| to.plus_ms(-HOUR_MS)), to)
    }
}

/// What it used.
#[utoipa::path(get, path = "/api/v1/containers/{name}/metrics", tag = "containers", params(("name" = String, Path), Span), responses((status = 200, body = History)))]
pub async fn history(
    State(console): State<Console>,
    Extension(caller): Extension<Caller>,
    Path(name): Path<String>,
    Query(span): Query<Span>,
) -> Answer<Json<History>> {
    let (from, to) = span.bounds(&console);
    Ok(Json(console.control.metrics.history(&caller, &name, from, to, span.step).await?))
}

/// A session that was opened.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct Session {
    #[schema(value_type = String)]
    session: ExecId,
}

/// Runs a command; the WebSocket `/ws/containers/{name}/exec/{session}` attaches to it.
#[utoipa::path(post, path = "/api/v1/containers/{name}/exec", tag = "containers", params(("name" = String, Path)), request_body = ExecRequest, responses((status = 201, body = Session)))]
pub async fn exec(
    State(console): State<Console>,
    Extension(caller): Extension<Caller>,
    Path(name): Path<String>,
    Body(request): Body<ExecRequest>,
) -> Answer<(StatusCode, Json<Session>)> {
    let session = console.control.exec.open(&caller, &name, request).await?;
    Ok((StatusCode::CREATED, Json(Session { session })))
}
