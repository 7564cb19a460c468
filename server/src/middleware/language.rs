//! In which language the console speaks to whoever asks. Pages are read by people: what they fetch is in their language.
//! Everything else is read by programs, and gets the English of the contract.

use app::api::request::language;
use app::i18n::Lang;
use axum::body::{Body, to_bytes};
use axum::extract::Request;
use axum::http::header::{ACCEPT_LANGUAGE, AUTHORIZATION, CONTENT_LANGUAGE, CONTENT_LENGTH, CONTENT_TYPE, COOKIE, VARY};
use axum::http::{HeaderMap, HeaderValue};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use control::Caller;
use model::error::ErrorCode;

use super::session::Credential;
use crate::console::Console;
use crate::routes::answer::ApiError;

/// Who reads the answer. It stands beside each request, and beside each answer to one whose caller is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reader {
    Program,
    Page(Lang),
}

impl Reader {
    /// The reader of the answer to this request.
    pub async fn of(console: &Console, path: &str, headers: &HeaderMap, caller: &Caller, credential: Credential) -> Self {
        let guess = Self::guess(path, headers);
        if credential == Credential::Bearer {
            return Self::Program;
        }
        if guess == Self::Program || caller.user.is_none() {
            return guess;
        }
        // Whoever is removed at this moment is refused by the handler.
        let who = console.control.access.who_am_i(caller).await.ok();
        let stored = who.and_then(|who| who.settings.language);
        Self::Page(language(stored.as_deref(), headers))
    }

    /// As far as the request alone tells. Only browsers bring cookies, and only pages call their own functions.
    fn guess(path: &str, headers: &HeaderMap) -> Self {
        let is_page = is_spoken(path) && !headers.contains_key(AUTHORIZATION);
        if is_page && (headers.contains_key(COOKIE) || path.starts_with("/fn/")) {
            return Self::Page(language(None, headers));
        }
        Self::Program
    }

    /// A sentence of the console, as this reader gets it.
    #[must_use]
    pub fn said(self, text: &str) -> String {
        match self {
            Self::Page(Lang::Fr) => french::said(text),
            Self::Program | Self::Page(Lang::En) => text.to_owned(),
        }
    }

    /// A value as JSON, with the sentences in it as this reader gets them.
    ///
    /// # Errors
    /// The value cannot be written as JSON.
    pub fn json<T: serde::Serialize>(self, value: &T) -> serde_json::Result<String> {
        if self != Self::Page(Lang::Fr) {
            return serde_json::to_string(value);
        }
        let mut value = serde_json::to_value(value)?;
        french::answer(&mut value);
        Ok(value.to_string())
    }
}

/// Whether answers at this address hold sentences.
fn is_spoken(path: &str) -> bool {
    ["/api/", "/fn/", "/ws/"].iter().any(|prefix| path.starts_with(prefix))
}

/// Puts answers into the language of their reader.
pub async fn speak(request: Request, next: Next) -> Response {
    let path = request.uri().path();
    if !is_spoken(path) {
        return next.run(request).await;
    }
    // Who is refused before anybody asks for the sign-in reads too.
    let guess = Reader::guess(path, request.headers());
    let mut response = next.run(request).await;
    let reader = response.extensions().get::<Reader>().copied().unwrap_or(guess);
    for header in [COOKIE, ACCEPT_LANGUAGE] {
        response.headers_mut().append(VARY, HeaderValue::from(header));
    }
    let Reader::Page(lang) = reader else { return response };
    response.headers_mut().insert(CONTENT_LANGUAGE, HeaderValue::from_static(lang.tag()));
    let kind = response.headers().get(CONTENT_TYPE);
    if lang == Lang::Fr && kind.is_some_and(|kind| kind.as_bytes().starts_with(b"application/json")) {
        return in_french(response).await;
    }
    response
}

async fn in_french(response: Response) -> Response {
    let (mut parts, body) = response.into_parts();
    // Answers in JSON are made whole, so that there is nothing to wait for and no bound to set.
    let Ok(bytes) = to_bytes(body, usize::MAX).await else {
        return ApiError::new(ErrorCode::Failed, "the console failed").into_response();
    };
    let Ok(mut value) = serde_json::from_slice(&bytes) else {
        return Response::from_parts(parts, Body::from(bytes));
    };
    french::answer(&mut value);
    parts.headers.remove(CONTENT_LENGTH);
    Response::from_parts(parts, Body::from(value.to_string()))
}
