//! Templates: what is here, what is offered, and bringing them in.

use leptos::prelude::*;
use model::task::Task;
use model::template::Template;

use super::ApiResult;
use super::wire::Form;
#[cfg(feature = "ssr")]
use super::{ApiError, request};

/// Everything that is here or offered; with `unusable` also what this host cannot use.
///
/// # Errors
/// Not allowed.
#[server(name = TemplatesFn, prefix = "/fn", endpoint = "templates/list", protocol = Form)]
pub async fn list(unusable: bool) -> ApiResult<Vec<Template>> {
    let (control, caller) = request::request()?;
    let filter = control::templates::TemplateFilter {
        unusable,
        ..request::usable_templates()
    };
    Ok(control.templates.list(&caller, &filter).await?)
}

/// Downloads one.
///
/// # Errors
/// Not allowed, or no source offers it.
#[server(name = DownloadFn, prefix = "/fn", endpoint = "templates/download", protocol = Form)]
pub async fn download(reference: String) -> ApiResult<Task> {
    let (control, caller) = request::request()?;
    let reference = reference
        .parse()
        .map_err(|error: model::id::IdError| ApiError::refused(model::ErrorCode::Invalid, error.to_string()))?;
    Ok(control.templates.download(&caller, &reference, None).await?)
}

/// Removes one that nothing stands on.
///
/// # Errors
/// Not allowed, not here, or `Conflict` names the containers that stand on it.
#[server(name = RemoveTemplateFn, prefix = "/fn", endpoint = "templates/remove", protocol = Form)]
pub async fn remove(reference: String) -> ApiResult<()> {
    let (control, caller) = request::request()?;
    let reference = reference
        .parse()
        .map_err(|error: model::id::IdError| ApiError::refused(model::ErrorCode::Invalid, error.to_string()))?;
    Ok(control.templates.remove(&caller, &reference).await?)
}

/// Downloads an archive from an address and makes it a template.
///
/// # Errors
/// Not allowed; `Invalid` names the field.
#[server(name = ImportFn, prefix = "/fn", endpoint = "templates/import", protocol = Form)]
pub async fn import(url: String, name: String, sha256: String) -> ApiResult<Task> {
    let (control, caller) = request::request()?;
    let given = |text: &String| Some(text.trim().to_owned()).filter(|text| !text.is_empty());
    Ok(control
        .templates
        .import_url(&caller, url.trim(), given(&name).as_deref(), given(&sha256).as_deref(), None)
        .await?)
}
