//! Deleted containers.

use leptos::prelude::*;
use model::id::ContainerId;
use model::storage::TrashEntry;
use model::task::Task;

use super::ApiResult;
#[cfg(feature = "ssr")]
use super::request;
use super::wire::Form;

/// What is in the trash, the newest first.
///
/// # Errors
/// Not allowed.
#[server(name = TrashFn, prefix = "/fn", endpoint = "trash/list", protocol = Form)]
pub async fn list() -> ApiResult<Vec<TrashEntry>> {
    let (control, caller) = request::request()?;
    Ok(control.containers.trash(&caller).await?)
}

/// Brings one back; an empty `as_name` keeps its own.
///
/// # Errors
/// `Conflict` when the name is taken meanwhile, `Invalid` when it is none.
#[server(name = RestoreFn, prefix = "/fn", endpoint = "trash/restore", protocol = Form)]
pub async fn restore(id: ContainerId, as_name: Option<String>) -> ApiResult<Task> {
    let (control, caller) = request::request()?;
    let as_name = as_name.as_deref().map(str::trim).filter(|name| !name.is_empty());
    Ok(control.containers.restore(&caller, id, as_name, None).await?)
}

/// Deletes one for ever.
///
/// # Errors
/// Not in the trash, or another task works on it.
#[server(name = PurgeFn, prefix = "/fn", endpoint = "trash/purge", protocol = Form)]
pub async fn purge(id: ContainerId) -> ApiResult<Task> {
    let (control, caller) = request::request()?;
    Ok(control.containers.purge(&caller, id).await?)
}

/// Deletes everything in it for ever.
///
/// # Errors
/// Not allowed, or it is being emptied already.
#[server(name = EmptyTrashFn, prefix = "/fn", endpoint = "trash/empty", protocol = Form)]
pub async fn empty() -> ApiResult<Task> {
    let (control, caller) = request::request()?;
    Ok(control.containers.empty_trash(&caller).await?)
}
