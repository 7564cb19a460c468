//! Long operations.

use leptos::prelude::*;
use model::id::TaskId;
use model::task::Task;

use super::ApiResult;
#[cfg(feature = "ssr")]
use super::request;
use super::wire::Form;
#[cfg(feature = "ssr")]
use crate::i18n::Lang;

/// All living tasks and the newest ended ones, newest first.
///
/// # Errors
/// Not allowed.
#[server(name = TasksFn, prefix = "/fn", endpoint = "tasks/list", protocol = Form)]
pub async fn list() -> ApiResult<Vec<Task>> {
    let (control, caller) = request::request()?;
    Ok(control.tasks.list(&caller).await?)
}

/// One task.
///
/// # Errors
/// There is none of this id.
#[server(name = TaskFn, prefix = "/fn", endpoint = "tasks/show", protocol = Form)]
pub async fn show(id: TaskId) -> ApiResult<Task> {
    let (control, caller) = request::request()?;
    Ok(control.tasks.show(&caller, id).await?)
}

/// What it has written so far.
///
/// # Errors
/// As [`show`].
#[server(name = TaskLogFn, prefix = "/fn", endpoint = "tasks/log", protocol = Form)]
pub async fn log(id: TaskId) -> ApiResult<String> {
    let (control, caller) = request::request()?;
    let log = control.tasks.log(&caller, id).await?;
    Ok(match request::page_language() {
        Lang::En => log,
        Lang::Fr => french::log(&log),
    })
}

/// Asks it to stop; what it has done is undone.
///
/// # Errors
/// `Conflict` when it is over or cannot be cancelled.
#[server(name = CancelTaskFn, prefix = "/fn", endpoint = "tasks/cancel", protocol = Form)]
pub async fn cancel(id: TaskId) -> ApiResult<Task> {
    let (control, caller) = request::request()?;
    Ok(control.tasks.cancel(&caller, id).await?)
}
