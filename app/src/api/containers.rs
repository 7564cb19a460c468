//! What pages do with containers.

use leptos::prelude::*;
use model::container::{ContainerSummary, CreateRequest, UpdateRequest};
use model::id::{ContainerId, ExecId};
use model::task::Task;
use serde::{Deserialize, Serialize};

use super::ApiResult;
use super::detail::Detail;
#[cfg(feature = "ssr")]
use super::request;
use super::wire::{Form, Json};
use crate::map::Map;

/// A terminal session of a container, as its tabs show it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TerminalInfo {
    pub id: ExecId,
    pub command: Vec<String>,
    pub user: String,
    pub started_at: model::Timestamp,
    /// Exit code once it ended.
    pub exit: Option<i32>,
}

/// Newest values by the columns of [`model::metrics::SERIES`]; empty = nothing was sampled.
pub type Values = Vec<Option<f64>>;

/// The list as a page begins with it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Listing {
    pub containers: Vec<ContainerSummary>,
    /// By name, of what was sampled in the last second.
    pub values: Map<String, Values>,
}

/// One container as its page begins with it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Opened {
    pub detail: Detail,
    pub values: Values,
    /// The task that works on it, and the last that tried to create or start it.
    pub tasks: Vec<Task>,
}

/// Whether a task of this kind brings a container to life, so that its failure belongs at the top of the page.
#[must_use]
pub fn tries_to_start(kind: &str) -> bool {
    matches!(kind, "container.create" | "container.start" | "container.restart")
}

/// All containers that the caller may see.
///
/// # Errors
/// Not allowed.
#[server(name = ListFn, prefix = "/fn", endpoint = "containers/list", protocol = Form)]
pub async fn list() -> ApiResult<Listing> {
    let (control, caller) = request::request()?;
    Ok(Listing {
        containers: control.containers.list(&caller).await?,
        values: request::newest_values(&control, &caller)?,
    })
}

/// Everything about one container.
///
/// # Errors
/// There is none of this name, or it is not the caller's to know.
#[server(name = ShowFn, prefix = "/fn", endpoint = "containers/show", protocol = Form)]
pub async fn show(name: String) -> ApiResult<Opened> {
    let (control, caller) = request::request()?;
    let detail = control.containers.show(&caller, &name).await?;
    let tasks = control.tasks.list(&caller).await?;
    Ok(Opened {
        values: request::newest(&control, &caller, &name)?
            .map(|row| request::columns(&row.values))
            .unwrap_or_default(),
        tasks: request::telling(tasks, &detail.summary),
        detail: detail.into(),
    })
}

/// The last failed try to create a container of this name, for who comes too late to see it.
///
/// # Errors
/// Not allowed.
#[server(name = NotCreatedFn, prefix = "/fn", endpoint = "containers/not_created", protocol = Form)]
pub async fn not_created(name: String) -> ApiResult<Option<Task>> {
    let (control, caller) = request::request()?;
    Ok(request::not_created(control.tasks.list(&caller).await?, &name))
}

/// Starts it.
///
/// # Errors
/// Not allowed, or not in a state for this.
#[server(name = StartFn, prefix = "/fn", endpoint = "containers/start", protocol = Form)]
pub async fn start(name: String) -> ApiResult<Task> {
    let (control, caller) = request::request()?;
    Ok(control.containers.start(&caller, &name, None).await?)
}

/// Asks its init to power off and waits so long.
///
/// # Errors
/// As [`start`].
#[server(name = StopFn, prefix = "/fn", endpoint = "containers/stop", protocol = Form)]
pub async fn stop(name: String, timeout_s: Option<u32>) -> ApiResult<Task> {
    let (control, caller) = request::request()?;
    Ok(control.containers.stop(&caller, &name, request::seconds(timeout_s), false, None).await?)
}

/// Ends it at once.
///
/// # Errors
/// As [`start`].
#[server(name = KillFn, prefix = "/fn", endpoint = "containers/kill", protocol = Form)]
pub async fn kill(name: String) -> ApiResult<Task> {
    let (control, caller) = request::request()?;
    Ok(control.containers.kill(&caller, &name, None).await?)
}

/// Stops and starts it.
///
/// # Errors
/// As [`start`].
#[server(name = RestartFn, prefix = "/fn", endpoint = "containers/restart", protocol = Form)]
pub async fn restart(name: String) -> ApiResult<Task> {
    let (control, caller) = request::request()?;
    Ok(control.containers.restart(&caller, &name, request::seconds(None), false, None).await?)
}

/// Freezes its processes.
///
/// # Errors
/// As [`start`].
#[server(name = FreezeFn, prefix = "/fn", endpoint = "containers/freeze", protocol = Form)]
pub async fn freeze(name: String) -> ApiResult<Task> {
    let (control, caller) = request::request()?;
    Ok(control.containers.freeze(&caller, &name, None).await?)
}

/// Lets its processes run again.
///
/// # Errors
/// As [`start`].
#[server(name = UnfreezeFn, prefix = "/fn", endpoint = "containers/unfreeze", protocol = Form)]
pub async fn unfreeze(name: String) -> ApiResult<Task> {
    let (control, caller) = request::request()?;
    Ok(control.containers.unfreeze(&caller, &name, None).await?)
}

/// Moves it to the trash, or deletes it for ever.
///
/// # Errors
/// As [`start`].
#[server(name = DeleteFn, prefix = "/fn", endpoint = "containers/delete", protocol = Form)]
pub async fn delete(name: String, force: bool, purge: bool) -> ApiResult<Task> {
    let (control, caller) = request::request()?;
    Ok(control.containers.delete(&caller, &name, force, purge, None).await?)
}

/// Brings one back out of the trash under its own name, right after it was deleted.
///
/// # Errors
/// Not in the trash, or its name was taken meanwhile.
#[server(name = UndoDeleteFn, prefix = "/fn", endpoint = "containers/undo_delete", protocol = Json)]
pub async fn undo_delete(id: ContainerId) -> ApiResult<Task> {
    let (control, caller) = request::request()?;
    Ok(control.containers.restore(&caller, id, None, None).await?)
}

/// What was and is done with it, newest first.
///
/// # Errors
/// Not allowed.
#[server(name = TasksOfFn, prefix = "/fn", endpoint = "containers/tasks", protocol = Form)]
pub async fn tasks_of(name: String) -> ApiResult<Vec<Task>> {
    let (control, caller) = request::request()?;
    Ok(control.tasks.list(&caller).await?.into_iter().filter(|task| task.target == name).collect())
}

/// All tasks that are not over.
///
/// # Errors
/// Not allowed.
#[server(name = RunningTasksFn, prefix = "/fn", endpoint = "containers/running_tasks", protocol = Form)]
pub async fn running_tasks() -> ApiResult<Vec<Task>> {
    let (control, caller) = request::request()?;
    Ok(control.tasks.list(&caller).await?.into_iter().filter(|task| !task.state.is_over()).collect())
}

/// Changes settings field by field, unless somebody else did meanwhile.
///
/// # Errors
/// `Stale` when the container changed since it was read; `Invalid` names the field.
#[server(name = UpdateFn, prefix = "/fn", endpoint = "containers/update", protocol = Json)]
pub async fn update(name: String, change: UpdateRequest, etag: String) -> ApiResult<Detail> {
    let (control, caller) = request::request()?;
    Ok(control.containers.update(&caller, &name, change, Some(&etag)).await?.into())
}

/// Gives it another name.
///
/// # Errors
/// As [`start`], or the name is taken.
#[server(name = RenameFn, prefix = "/fn", endpoint = "containers/rename", protocol = Form)]
pub async fn rename(name: String, new_name: String) -> ApiResult<ContainerSummary> {
    let (control, caller) = request::request()?;
    Ok(control.containers.rename(&caller, &name, &new_name, None).await?.summary)
}

/// Creates one; `key` makes a repeated press one and the same request.
///
/// # Errors
/// `Invalid` names the field; `Conflict` when the name is taken.
#[server(name = CreateFn, prefix = "/fn", endpoint = "containers/create", protocol = Json)]
pub async fn create(request: CreateRequest, key: Option<String>) -> ApiResult<Task> {
    let (control, caller) = request::request()?;
    Ok(control.containers.create(&caller, request, key.as_deref()).await?)
}

/// A free name to prefill.
///
/// # Errors
/// Not allowed.
#[server(name = SuggestNameFn, prefix = "/fn", endpoint = "containers/suggest_name", protocol = Form)]
pub async fn suggest_name() -> ApiResult<String> {
    let (control, caller) = request::request()?;
    Ok(control.containers.suggest_name(&caller).await?)
}

/// The end of its console log, at most `bytes`.
///
/// # Errors
/// There is none of this name.
#[server(name = LogFn, prefix = "/fn", endpoint = "containers/log", protocol = Form)]
pub async fn log(name: String, bytes: u32) -> ApiResult<String> {
    let (control, caller) = request::request()?;
    request::tail(control.containers.log(&caller, &name).await?, bytes).await
}

/// Opens a shell with a terminal; the page then attaches to it by WebSocket.
///
/// # Errors
/// Not allowed, not running, or too many are open.
#[server(name = OpenTerminalFn, prefix = "/fn", endpoint = "containers/open_terminal", protocol = Form)]
pub async fn open_terminal(name: String, user: Option<String>, cols: u16, rows: u16) -> ApiResult<ExecId> {
    let (control, caller) = request::request()?;
    Ok(control.exec.open(&caller, &name, request::shell(user, cols, rows)).await?)
}

/// Terminal sessions that still exist.
///
/// # Errors
/// Not allowed.
#[server(name = TerminalsFn, prefix = "/fn", endpoint = "containers/terminals", protocol = Form)]
pub async fn terminals(name: String) -> ApiResult<Vec<TerminalInfo>> {
    let (control, caller) = request::request()?;
    let sessions = control.exec.list(&caller, &name).await?.into_iter();
    Ok(sessions
        .map(|session| TerminalInfo {
            id: session.id,
            command: session.command,
            user: session.user.unwrap_or_else(|| "root".to_owned()),
            started_at: session.started_at,
            exit: session.exit,
        })
        .collect())
}
