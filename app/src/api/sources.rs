//! Places that offer templates.

use leptos::prelude::*;
use model::task::Task;
use model::template::Source;

use super::ApiResult;
#[cfg(feature = "ssr")]
use super::request;
use super::wire::Form;

/// All sources with how their last refresh went.
///
/// # Errors
/// Not allowed.
#[server(name = SourcesFn, prefix = "/fn", endpoint = "sources/list", protocol = Form)]
pub async fn list() -> ApiResult<Vec<Source>> {
    let (control, caller) = request::request()?;
    Ok(control.templates.sources(&caller).await?)
}

/// Saves the source and begins to read it; whether the address answers is told by that refresh.
///
/// # Errors
/// `Invalid` names the field; `Conflict` when the name is taken.
#[server(name = AddSourceFn, prefix = "/fn", endpoint = "sources/add", protocol = Form)]
pub async fn add(name: String, kind: String, url: String) -> ApiResult<Source> {
    let (control, caller) = request::request()?;
    let source = crate::forms::source::parse(&name, &kind, &url).map_err(|problems| request::invalid(&problems))?;
    Ok(control.templates.add_source(&caller, source).await?)
}

/// Removes one; templates that are here already stay.
///
/// # Errors
/// There is none of this name.
#[server(name = RemoveSourceFn, prefix = "/fn", endpoint = "sources/remove", protocol = Form)]
pub async fn remove(name: String) -> ApiResult<()> {
    let (control, caller) = request::request()?;
    Ok(control.templates.remove_source(&caller, &name).await?)
}

/// Asks one source, or all, what they offer now.
///
/// # Errors
/// Not allowed, or there is none of this name.
#[server(name = RefreshSourcesFn, prefix = "/fn", endpoint = "sources/refresh", protocol = Form)]
pub async fn refresh(name: Option<String>) -> ApiResult<Task> {
    let (control, caller) = request::request()?;
    Ok(control
        .templates
        .refresh(&caller, name.as_deref().filter(|name| !name.is_empty()), None)
        .await?)
}
