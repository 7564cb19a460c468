//! Sources and templates. A reference stands percent-encoded in an address: `images%3Adebian%2F13`.

use axum::body::Body as RawBody;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::{Extension, Json};
use control::Caller;
use control::templates::TemplateFilter;
use futures::{StreamExt as _, TryStreamExt as _};
use model::TemplateRef;
use model::error::ErrorCode;
use model::task::Task;
use model::template::{NewSource, Source, Template};
use serde::Deserialize;

use crate::console::Console;
use crate::routes::answer::{Accepted, Answer, ApiError, Body, idempotency_key};

/// Places that offer templates.
#[utoipa::path(get, path = "/api/v1/sources", tag = "templates", responses((status = 200, body = Vec<Source>)))]
pub async fn sources(State(console): State<Console>, Extension(caller): Extension<Caller>) -> Answer<Json<Vec<Source>>> {
    Ok(Json(console.control.templates.sources(&caller).await?))
}

/// Adds a source.
#[utoipa::path(post, path = "/api/v1/sources", tag = "templates", request_body = NewSource, responses((status = 201, body = Source)))]
pub async fn add_source(
    State(console): State<Console>,
    Extension(caller): Extension<Caller>,
    Body(new): Body<NewSource>,
) -> Answer<(StatusCode, Json<Source>)> {
    Ok((StatusCode::CREATED, Json(console.control.templates.add_source(&caller, new).await?)))
}

/// Removes a source; templates that are here stay.
#[utoipa::path(delete, path = "/api/v1/sources/{name}", tag = "templates", params(("name" = String, Path)), responses((status = 204)))]
pub async fn remove_source(State(console): State<Console>, Extension(caller): Extension<Caller>, Path(name): Path<String>) -> Answer<StatusCode> {
    console.control.templates.remove_source(&caller, &name).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Reads every index anew.
#[utoipa::path(post, path = "/api/v1/sources/refresh", tag = "templates", responses((status = 202, body = Task)))]
pub async fn refresh_all(State(console): State<Console>, Extension(caller): Extension<Caller>, headers: HeaderMap) -> Answer<Accepted> {
    Ok(Accepted(console.control.templates.refresh(&caller, None, idempotency_key(&headers)).await?))
}

/// Reads one index anew.
#[utoipa::path(post, path = "/api/v1/sources/{name}/refresh", tag = "templates", params(("name" = String, Path)), responses((status = 202, body = Task)))]
pub async fn refresh(State(console): State<Console>, Extension(caller): Extension<Caller>, Path(name): Path<String>, headers: HeaderMap) -> Answer<Accepted> {
    Ok(Accepted(
        console.control.templates.refresh(&caller, Some(&name), idempotency_key(&headers)).await?,
    ))
}

#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[serde(default)]
pub struct Filter {
    /// Also what sources offer.
    remote: bool,
    source: Option<String>,
    search: Option<String>,
    /// Also what this host cannot use.
    unusable: bool,
}

/// Templates that are here, with `remote=true` also those that are offered.
#[utoipa::path(get, path = "/api/v1/templates", tag = "templates", params(Filter), responses((status = 200, body = Vec<Template>)))]
pub async fn templates(State(console): State<Console>, Extension(caller): Extension<Caller>, Query(filter): Query<Filter>) -> Answer<Json<Vec<Template>>> {
    let filter = TemplateFilter {
        remote: filter.remote,
        source: filter.source,
        search: filter.search,
        unusable: filter.unusable,
    };
    Ok(Json(console.control.templates.list(&caller, &filter).await?))
}

fn reference(text: &str) -> Answer<TemplateRef> {
    text.parse().map_err(|error: model::id::IdError| {
        let mut refusal = ApiError::new(ErrorCode::Invalid, error.to_string());
        refusal.0.field = Some("ref".into());
        refusal
    })
}

/// One template.
#[utoipa::path(get, path = "/api/v1/templates/{ref}", tag = "templates", params(("ref" = String, Path)), responses((status = 200, body = Template)))]
pub async fn template(State(console): State<Console>, Extension(caller): Extension<Caller>, Path(text): Path<String>) -> Answer<Json<Template>> {
    Ok(Json(console.control.templates.show(&caller, &reference(&text)?).await?))
}

#[derive(Debug, Deserialize, utoipa::ToSchema)]
pub struct Download {
    #[serde(rename = "ref")]
    reference: String,
}

/// Downloads a template.
#[utoipa::path(post, path = "/api/v1/templates", tag = "templates", request_body = Download, responses((status = 202, body = Task)))]
pub async fn download(
    State(console): State<Console>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
    Body(wanted): Body<Download>,
) -> Answer<Accepted> {
    let reference = reference(&wanted.reference)?;
    Ok(Accepted(
        console.control.templates.download(&caller, &reference, idempotency_key(&headers)).await?,
    ))
}

#[derive(Debug, Deserialize, utoipa::ToSchema)]
pub struct Import {
    url: String,
    name: Option<String>,
    sha256: Option<String>,
}

/// Downloads an archive from an address and makes it a template.
#[utoipa::path(post, path = "/api/v1/templates/import", tag = "templates", request_body = Import, responses((status = 202, body = Task)))]
pub async fn import(State(console): State<Console>, Extension(caller): Extension<Caller>, headers: HeaderMap, Body(wanted): Body<Import>) -> Answer<Accepted> {
    let Import { url, name, sha256 } = wanted;
    Ok(Accepted(
        console
            .control
            .templates
            .import_url(&caller, &url, name.as_deref(), sha256.as_deref(), idempotency_key(&headers))
            .await?,
    ))
}

#[derive(Debug, Deserialize, utoipa::IntoParams)]
pub struct Upload {
    /// The name that the template gets: `local:NAME`.
    name: String,
    sha256: Option<String>,
}

/// Takes an archive as the body and makes it a template.
#[utoipa::path(post, path = "/api/v1/templates/upload", tag = "templates", params(Upload), request_body(content = String, content_type = "application/octet-stream"), responses((status = 202, body = Task)))]
pub async fn upload(
    State(console): State<Console>,
    Extension(caller): Extension<Caller>,
    Query(upload): Query<Upload>,
    headers: HeaderMap,
    body: RawBody,
) -> Answer<Accepted> {
    let mut body = body.into_data_stream().map_err(std::io::Error::other);
    let templates = &console.control.templates;
    let begun = templates
        .upload(&caller, &upload.name, upload.sha256.as_deref(), idempotency_key(&headers), &mut body)
        .await;
    if begun.is_ok() {
        // Of a repetition nothing was read yet, and who still sends hears no answer.
        while let Some(Ok(_)) = body.next().await {}
    }
    Ok(Accepted(begun?))
}

/// Removes a template that nothing stands on.
#[utoipa::path(delete, path = "/api/v1/templates/{ref}", tag = "templates", params(("ref" = String, Path)), responses((status = 204)))]
pub async fn remove_template(State(console): State<Console>, Extension(caller): Extension<Caller>, Path(text): Path<String>) -> Answer<StatusCode> {
    console.control.templates.remove(&caller, &reference(&text)?).await?;
    Ok(StatusCode::NO_CONTENT)
}
