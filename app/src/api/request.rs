//! What the server puts into the context of each request, and what server functions take out of it.

use std::io::SeekFrom;
use std::sync::Arc;
use std::time::Duration;

use control::metrics::TickRow;
use control::{Caller, Control};
use http::header::{ACCEPT_LANGUAGE, COOKIE, HeaderMap, HeaderName, HeaderValue, SET_COOKIE};
use http::request::Parts;
use leptos::prelude::{provide_context, use_context};
use leptos_axum::ResponseOptions;
use model::access::WhoAmI;
use model::engine::ExecRequest;
use model::error::{ErrorBody, ErrorCode};
use model::metrics::LIST_COLUMNS;
use model::task::{Task, TaskState};
use model::{ContainerSummary, Permission, Timestamp};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _};

use super::containers::{Values, tries_to_start};
use super::events::rounded;
use super::{ApiError, ApiResult};
use crate::bundle::Bundle;
use crate::i18n::Lang;
use crate::map::Map;
use crate::page_context::{Assets, LANGUAGE_COOKIE, PageContext, THEME_COOKIE, ZONE_COOKIE};

/// Who asks, with what the answer needs. The server makes one per request, in the middleware that reads the session.
#[derive(Clone, Debug)]
pub struct RequestContext {
    pub control: Arc<Control>,
    pub caller: Caller,
    /// Present when the caller has an account.
    pub who: Option<WhoAmI>,
    pub cookie: SessionCookie,
    pub assets: Arc<Assets>,
    /// Changes with every build.
    pub build: Arc<str>,
    /// The server's zone, for visitors whose browser has not said its own yet.
    pub zone_minutes: i32,
}

impl RequestContext {
    /// Puts it where pages and server functions find it.
    pub fn provide(self) {
        provide_context(self);
    }
}

/// Name and flags of the session cookie: `__Host-berth` where TLS, `berth` on plain loopback.
#[derive(Clone, Copy, Debug)]
pub struct SessionCookie {
    pub secure: bool,
}

impl SessionCookie {
    /// The cookie's name.
    #[must_use]
    pub fn name(self) -> &'static str {
        if self.secure { "__Host-berth" } else { "berth" }
    }

    /// A `Set-Cookie` value that signs in.
    #[must_use]
    pub fn set(self, secret: &str) -> String {
        let secure = if self.secure { "; Secure" } else { "" };
        format!("{}={secret}; Path=/; HttpOnly; SameSite=Strict; Max-Age=2592000{secure}", self.name())
    }

    /// A `Set-Cookie` value that signs out.
    #[must_use]
    pub fn clear(self) -> String {
        let secure = if self.secure { "; Secure" } else { "" };
        format!("{}=; Path=/; HttpOnly; SameSite=Strict; Max-Age=0{secure}", self.name())
    }
}

/// The context of this request.
///
/// # Errors
/// The server gave none: a fault of its own.
pub fn context() -> ApiResult<RequestContext> {
    use_context::<RequestContext>().ok_or_else(|| ApiError::Refused(Box::new(ErrorBody::new(ErrorCode::Failed, "the request has no context"))))
}

/// The console and who asks it.
///
/// # Errors
/// As [`context`].
pub fn request() -> ApiResult<(Arc<Control>, Caller)> {
    context().map(|context| (context.control, context.caller))
}

/// Where the request comes from and with which browser, for the list of sessions.
#[must_use]
pub fn origin(caller: &Caller) -> (String, String) {
    let agent = header(HeaderName::from_static("user-agent")).unwrap_or_default();
    (caller.from.clone(), agent.chars().take(200).collect())
}

/// The time a graceful stop waits: what was asked for, within 5 and 300 seconds, else 30.
#[must_use]
pub fn seconds(asked: Option<u32>) -> Duration {
    Duration::from_secs(u64::from(asked.unwrap_or(30).clamp(5, 300)))
}

/// A login shell with a terminal of this size.
#[must_use]
pub fn shell(user: Option<String>, cols: u16, rows: u16) -> ExecRequest {
    ExecRequest {
        command: Vec::new(),
        tty: true,
        user,
        cwd: None,
        env: vec![("TERM".into(), "xterm-256color".into())],
        cols: Some(cols),
        rows: Some(rows),
    }
}

/// Everything that a source offers and this host can use.
#[must_use]
pub fn usable_templates() -> control::templates::TemplateFilter {
    control::templates::TemplateFilter {
        remote: true,
        source: None,
        search: None,
        unusable: false,
    }
}

/// The newest second of a container, or of the host by the name [`model::metrics::HOST`].
///
/// # Errors
/// Not allowed to look.
pub fn newest(control: &Control, caller: &Caller, name: &str) -> ApiResult<Option<TickRow>> {
    caller.require(Permission::View)?;
    let tick = control.metrics.latest();
    Ok(tick.and_then(|tick| tick.rows.iter().find(|row| row.name == name).cloned()))
}

/// The newest second of every container, with the columns that lists show.
///
/// # Errors
/// Not allowed to look.
pub fn newest_values(control: &Control, caller: &Caller) -> ApiResult<Map<String, Values>> {
    caller.require(Permission::View)?;
    let Some(tick) = control.metrics.latest() else { return Ok(Map::new()) };
    let rows = tick.rows.iter().filter(|row| row.id.is_some());
    Ok(rows.map(|row| (row.name.clone(), columns(&row.values[..LIST_COLUMNS]))).collect())
}

/// Values as pages need them: a pixel is coarser.
#[must_use]
pub fn columns(values: &[Option<f64>]) -> Values {
    values.iter().copied().map(rounded).collect()
}

/// What the page of a container begins with: the task that works on it, and the last that tried to create or start it.
#[must_use]
pub fn telling(tasks: Vec<Task>, summary: &ContainerSummary) -> Vec<Task> {
    let is_try = |task: &Task| task.target == summary.name.as_str() && tries_to_start(&task.kind);
    let newest = tasks.iter().filter(|task| is_try(task)).max_by_key(|task| task.created_at).map(|task| task.id);
    tasks
        .into_iter()
        .filter(|task| Some(task.id) == summary.task || Some(task.id) == newest)
        .collect()
}

/// The newest try to create a container of this name, when it failed.
#[must_use]
pub fn not_created(tasks: Vec<Task>, name: &str) -> Option<Task> {
    let tries = tasks.into_iter().filter(|task| task.target == name && task.kind == "container.create");
    let newest = tries.max_by_key(|task| task.created_at);
    newest.filter(|task| matches!(task.state, TaskState::Failed | TaskState::Cancelled))
}

/// The refusal of a form by its first wrong field.
#[must_use]
pub fn invalid(problems: &crate::forms::problems::Problems) -> ApiError {
    let field = problems.fields().next().unwrap_or_default();
    let message = problems.of(field).unwrap_or_default();
    ApiError::Refused(Box::new(ErrorBody::new(ErrorCode::Invalid, message).field(field)))
}

/// The end of a file, as text.
///
/// # Errors
/// It cannot be read.
pub async fn tail(mut file: tokio::fs::File, bytes: u32) -> ApiResult<String> {
    let read = async {
        let length = file.metadata().await?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(u64::from(bytes)))).await?;
        let mut content = Vec::new();
        file.take(u64::from(bytes)).read_to_end(&mut content).await?;
        Ok::<_, std::io::Error>(String::from_utf8_lossy(&content).into_owned())
    };
    read.await
        .map_err(|error| ApiError::Refused(Box::new(ErrorBody::new(ErrorCode::Failed, format!("read the console log: {error}")))))
}

/// Adds a `Set-Cookie` header to the answer.
pub fn set_cookie(value: &str) {
    if let (Some(response), Ok(value)) = (use_context::<ResponseOptions>(), HeaderValue::from_str(value)) {
        response.append_header(SET_COOKIE, value);
    }
}

/// Sets the status of a page's answer.
pub fn set_status(code: ErrorCode) {
    if let (Some(response), Ok(status)) = (use_context::<ResponseOptions>(), http::StatusCode::from_u16(code.status())) {
        response.set_status(status);
    }
}

/// The language of a page: a stored setting beats the cookie, which beats what the browser asks for.
#[must_use]
pub fn language(stored: Option<&str>, headers: &HeaderMap) -> Lang {
    let text = |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    let chosen = || text(COOKIE).and_then(|cookies| cookie(cookies, LANGUAGE_COOKIE));
    let tag = stored.map(str::to_owned).or_else(chosen);
    let accepted = || text(ACCEPT_LANGUAGE).and_then(Lang::accepted);
    tag.as_deref().and_then(Lang::of_tag).or_else(accepted).unwrap_or_default()
}

/// The language of the page that asks.
#[must_use]
pub fn page_language() -> Lang {
    let who = use_context::<RequestContext>().and_then(|request| request.who);
    let headers = use_context::<Parts>().map(|parts| parts.headers).unwrap_or_default();
    language(who.and_then(|who| who.settings.language).as_deref(), &headers)
}

/// An answer as the page draws it: what the console says in it is in the page's language.
///
/// # Errors
/// The refusal that the answer is.
pub fn in_words_of_the_page<T: Serialize + DeserializeOwned>(lang: Lang, answer: ApiResult<T>) -> ApiResult<T> {
    if lang == Lang::En {
        return answer;
    }
    let french = serde_json::to_value(&answer).and_then(|mut value| {
        french::answer(&mut value);
        serde_json::from_value(value)
    });
    french.unwrap_or(answer)
}

fn header(name: HeaderName) -> Option<String> {
    let parts = use_context::<Parts>()?;
    Some(parts.headers.get(name)?.to_str().ok()?.to_owned())
}

fn cookie(cookies: &str, name: &str) -> Option<String> {
    let pairs = cookies.split(';').filter_map(|pair| pair.trim().split_once('='));
    pairs.filter(|(key, _)| *key == name).map(|(_, value)| value.to_owned()).next()
}

/// What the page is told.
#[must_use]
pub fn page_context() -> PageContext {
    let Ok(request) = context() else {
        return PageContext::default();
    };
    let cookies = header(COOKIE).unwrap_or_default();
    let settings = request.who.as_ref().map(|who| who.settings.clone()).unwrap_or_default();
    let theme = settings
        .theme
        .or_else(|| cookie(&cookies, THEME_COOKIE))
        .filter(|theme| matches!(theme.as_str(), "light" | "dark"));
    let zone = cookie(&cookies, ZONE_COOKIE)
        .and_then(|minutes| minutes.parse().ok())
        .filter(|minutes: &i32| minutes.abs() <= 900);
    let path = use_context::<Parts>().map(|parts| parts.uri.path().to_owned()).unwrap_or_default();
    PageContext {
        lang: page_language(),
        theme,
        zone_minutes: zone.unwrap_or(request.zone_minutes),
        now_ms: now(&request.control).ms,
        who: request.who,
        build: request.build.to_string(),
        code: request.assets.code(Bundle::of_path(&path)),
        assets: (*request.assets).clone(),
    }
}

fn now(control: &Control) -> Timestamp {
    control.clock.now()
}
