//! Who asks: a bearer token, a session cookie, the local socket, or nobody.

use app::api::request::SessionCookie;
use axum::extract::{Request, State};
use axum::http::HeaderMap;
use axum::http::header::{AUTHORIZATION, COOKIE};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use control::Caller;
use model::error::ErrorCode;

use super::forwarded::Client;
use super::language::Reader;
use crate::console::{Console, Peer};
use crate::routes::answer::ApiError;

/// How the caller is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Credential {
    Cookie,
    Bearer,
    Nothing,
}

/// Puts the [`Caller`], the [`Credential`], the kind of cookie and the [`Reader`] beside the request.
pub async fn identify(State(console): State<Console>, mut request: Request, next: Next) -> Response {
    if request.uri().query().is_some_and(|query| query.contains("bth_")) {
        // It would stand in logs, histories and Referer headers from now on.
        return ApiError::new(ErrorCode::BadRequest, "a token does not belong into an address")
            .hint("send it as `Authorization: Bearer`, and revoke this one")
            .into_response();
    }
    let client = request.extensions().get::<Client>().cloned();
    let cookie = SessionCookie {
        secure: client.as_ref().is_some_and(|client| client.is_secure),
    };
    let from = client.map_or_else(String::new, |client| client.from());
    let (caller, credential) = match request.extensions().get::<Peer>() {
        Some(Peer::Socket { user }) => (Caller::socket(user), Credential::Bearer),
        _ => match caller(&console, request.headers(), cookie, &from).await {
            Ok(known) => known,
            Err(error) => return ApiError::from(error).into_response(),
        },
    };
    let reader = Reader::of(&console, request.uri().path(), request.headers(), &caller, credential).await;
    let extensions = request.extensions_mut();
    extensions.insert(caller);
    extensions.insert(credential);
    extensions.insert(cookie);
    extensions.insert(reader);
    let mut response = next.run(request).await;
    response.extensions_mut().insert(reader);
    response
}

async fn caller(console: &Console, headers: &HeaderMap, cookie: SessionCookie, from: &str) -> control::Result<(Caller, Credential)> {
    if let Some(token) = bearer(headers) {
        let caller = console.control.access.caller_of_token(token, from).await?;
        return Ok((caller, Credential::Bearer));
    }
    let Some(secret) = secret(headers, cookie) else {
        return Ok((Caller::anonymous(from), Credential::Nothing));
    };
    match console.control.access.caller_of_session(&secret, from).await {
        Ok(caller) => Ok((caller, Credential::Cookie)),
        // A session that has ended is nobody: the sign-in page must still open. Its cookie counts as one all the same.
        Err(error) if error.code() == ErrorCode::SignInRequired => Ok((Caller::anonymous(from), Credential::Cookie)),
        Err(error) => Err(error),
    }
}

/// The token of a request. Another scheme is somebody else's: a proxy in front that asks for a password of its own, say.
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let text = headers.get(AUTHORIZATION)?.to_str().unwrap_or_default();
    let (scheme, token) = text.split_once(' ').unwrap_or((text, ""));
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// The session's secret out of the `Cookie` headers; two cookies of that name are none.
fn secret(headers: &HeaderMap, cookie: SessionCookie) -> Option<String> {
    let pairs = headers
        .get_all(COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'));
    let mut found = pairs.filter_map(|pair| pair.trim().split_once('=')).filter(|(name, _)| *name == cookie.name());
    let (_, secret) = found.next()?;
    found.next().is_none().then(|| secret.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_bearer_is_a_token() {
        let found = |text: &str| bearer(&HeaderMap::from_iter([(AUTHORIZATION, text.parse().unwrap())])).map(str::to_owned);
        assert_eq!(found("bearer  bth_x ").as_deref(), Some("bth_x"));
        assert_eq!(found("Bearer").as_deref(), Some(""), "a token that is none is refused, not overlooked");
        assert_eq!(found("Basic YTpi"), None);
        assert_eq!(found(""), None);
    }

    #[test]
    fn the_cookie_is_found_by_its_exact_name_and_never_twice() {
        let headers = |text: &str| HeaderMap::from_iter([(COOKIE, text.parse().unwrap())]);
        let (plain, tls) = (SessionCookie { secure: false }, SessionCookie { secure: true });
        assert_eq!(secret(&headers("a=1; berth=x"), plain).as_deref(), Some("x"));
        assert_eq!(secret(&headers("berth=x"), tls), None);
        assert_eq!(secret(&headers("__Host-berth=y; berth=x"), tls).as_deref(), Some("y"));
        assert_eq!(secret(&headers("berth=x; berth=y"), plain), None);
    }
}
