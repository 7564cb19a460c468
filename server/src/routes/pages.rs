//! The pages: rendered by the server with their data, then taken over by the browser.

use app::api::request::{RequestContext, SessionCookie};
use app::app::{App, Shell};
use axum::Router;
use axum::extract::{Request, State};
use axum::http::header::CONTENT_SECURITY_POLICY;
use axum::http::{Extensions, HeaderValue};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use control::Caller;
use leptos::prelude::*;
use leptos_axum::{AxumRouteListing, ResponseOptions, generate_route_list};

use super::answer::Answer;
use crate::console::Console;
use crate::middleware::headers::page_policy;

/// Every page of the app, and a page that says so for every other address.
pub fn router(console: &Console) -> Router {
    let routes: Vec<AxumRouteListing> = generate_route_list(App);
    let mut router = Router::new();
    for listing in &routes {
        // `/containers/{name}/{tab}` is listed once with and once without its optional part.
        router = router.route(listing.path(), get(render));
    }
    router.fallback(get(render)).with_state(console.clone())
}

async fn render(State(console): State<Console>, request: Request) -> Response {
    let context = match context(&console, request.extensions()).await {
        Ok(context) => context,
        Err(error) => return error.into_response(),
    };
    let provide = move || context.clone().provide();
    leptos_axum::render_app_async_with_context(provide, shell)(request).await
}

/// The document, with the policy that lets its own scripts run and no other.
fn shell() -> impl IntoView {
    if let (Some(nonce), Some(response)) = (app::api::nonce(), use_context::<ResponseOptions>())
        && let Ok(policy) = HeaderValue::from_str(&page_policy(&nonce))
    {
        response.insert_header(CONTENT_SECURITY_POLICY, policy);
    }
    view! { <Shell/> }
}

/// What pages and server functions of this request may use.
pub(super) async fn context(console: &Console, extensions: &Extensions) -> Answer<RequestContext> {
    let caller = extensions.get::<Caller>().cloned().unwrap_or_else(|| Caller::anonymous(""));
    let cookie = extensions.get::<SessionCookie>().copied().unwrap_or(SessionCookie { secure: false });
    let access = &console.control.access;
    let who = if caller.role.is_some() && caller.user.is_some() {
        access.who_am_i(&caller).await.ok()
    } else {
        None
    };
    Ok(RequestContext {
        control: console.control.clone(),
        caller,
        who,
        cookie,
        assets: console.assets.clone(),
        build: console.build.clone(),
        zone_minutes: console.zone_minutes,
    })
}
