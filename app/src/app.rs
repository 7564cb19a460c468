//! The whole page: document, frame and routes.

use leptos::prelude::*;
use leptos_meta::{MetaTags, provide_meta_context};
use leptos_router::components::{FlatRoutes, Redirect, Route, Router};
use leptos_router::hooks::use_location;
use leptos_router::{OptionalParamSegment, ParamSegment, SsrMode, StaticSegment, path};

use crate::api;
use crate::components::announcer::Announcer;
use crate::components::frame::Frame;
use crate::components::toast::Toasts;
use crate::live::{Live, stream};
use crate::page_context::{ELEMENT_ID, PageContext, ZONE_COOKIE, use_page};
use crate::pages;

/// The document that the server sends. The browser never renders it.
#[component]
pub fn Shell() -> impl IntoView {
    let page = api::page_context();
    let assets = page.assets.clone();
    // A `<` inside could end the element; JSON allows it escaped.
    let json = serde_json::to_string(&page).unwrap_or_default().replace('<', "\\u003c");
    view! {
        <!DOCTYPE html>
        <html lang=page.lang.tag() data-theme=page.theme.clone()>
            <head>
                <meta charset="utf-8"/>
                <meta name="viewport" content="width=device-width, initial-scale=1"/>
                <meta name="color-scheme" content="light dark"/>
                <link rel="stylesheet" href=assets.css.clone()/>
                <link rel="icon" type="image/svg+xml" href=assets.file("icon.svg")/>
                <link rel="manifest" href=assets.file("manifest.json")/>
                <MetaTags/>
                <script type="application/json" id=ELEMENT_ID inner_html=json></script>
                <link rel="modulepreload" href=assets.js.clone()/>
                <link rel="preload" href=assets.wasm.clone() r#as="fetch" r#type="application/wasm" crossorigin=""/>
                <script type="module" nonce=api::nonce() inner_html=start_script(&assets.js, &assets.wasm)></script>
            </head>
            <body>
                <App/>
            </body>
        </html>
    }
}

fn start_script(js: &str, wasm: &str) -> String {
    format!("import init, {{ hydrate }} from {js:?};\nawait init({{ module_or_path: {wasm:?} }});\nhydrate();")
}

/// What the server renders into the body and the browser takes over.
#[component]
pub fn App() -> impl IntoView {
    provide_meta_context();
    let page = api::page_context();
    let live = Live::new(page.now_ms);
    provide_context(page.locale());
    provide_context(live);
    provide_context(Toasts::new());
    provide_context(Announcer::new());
    provide_context(pages::create::Draft::new());
    start_in_browser(&page, live);
    provide_context(page);
    view! {
        <Router>
            <Frame>
                <FlatRoutes fallback=|| view! { <pages::not_found::NotFoundPage/> }.into_any()>
                    <Route ssr=SsrMode::Async path=path!("/setup") view=|| view! { <pages::setup::SetupPage/> }.into_any()/>
                    <Route ssr=SsrMode::Async path=path!("/sign-in") view=|| view! { <pages::sign_in::SignInPage/> }.into_any()/>
                    <Route ssr=SsrMode::Async path=path!("/") view=|| signed_in(|| view! { <pages::dashboard::DashboardPage/> }.into_any())/>
                    <Route ssr=SsrMode::Async path=path!("/containers") view=|| signed_in(|| view! { <pages::containers::ContainersPage/> }.into_any())/>
                    <Route
                        ssr=SsrMode::Async
                        path=(StaticSegment("containers"), ParamSegment("name"), OptionalParamSegment("tab"))
                        view=|| signed_in(|| view! { <pages::container::ContainerPage/> }.into_any())
                    />
                    <Route ssr=SsrMode::Async path=path!("/create") view=|| signed_in(|| view! { <pages::create::CreatePage/> }.into_any())/>
                    <Route
                        ssr=SsrMode::Async
                        path=(StaticSegment("tasks"), OptionalParamSegment("id"))
                        view=|| signed_in(|| view! { <pages::tasks::TasksPage/> }.into_any())
                    />
                    <Route ssr=SsrMode::Async path=path!("/templates") view=|| signed_in(|| view! { <pages::templates::TemplatesPage/> }.into_any())/>
                    <Route ssr=SsrMode::Async path=path!("/sources") view=|| signed_in(|| view! { <pages::sources::SourcesPage/> }.into_any())/>
                    <Route ssr=SsrMode::Async path=path!("/trash") view=|| signed_in(|| view! { <pages::trash::TrashPage/> }.into_any())/>
                    <Route ssr=SsrMode::Async path=path!("/account") view=|| signed_in(|| view! { <pages::account::AccountPage/> }.into_any())/>
                </FlatRoutes>
            </Frame>
        </Router>
    }
}

/// A page for people who are signed in; others go to sign in, or to set up when no account exists.
fn signed_in(page: impl FnOnce() -> AnyView) -> AnyView {
    let context = use_page();
    if context.who.is_some() {
        return page();
    }
    let target = if context.needs_setup {
        "/setup".to_owned()
    } else {
        let location = use_location();
        let (path, query) = (location.pathname.get_untracked(), location.search.get_untracked());
        let asked = if query.is_empty() { path } else { format!("{path}?{query}") };
        if asked == "/" {
            "/sign-in".to_owned()
        } else {
            format!("/sign-in?next={}", escape(&asked))
        }
    };
    view! { <Redirect path=target/> }.into_any()
}

/// Percent-encodes what would end a query value.
fn escape(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'/' => char::from(byte).to_string(),
            _ => format!("%{byte:02X}"),
        })
        .collect()
}

/// Effects run in the browser alone: opens the event stream and tells the server the visitor's zone.
fn start_in_browser(page: &PageContext, live: Live) {
    let (is_signed_in, build) = (page.who.is_some(), page.build.clone());
    Effect::new(move || {
        remember_zone();
        if is_signed_in {
            stream::open(live, build.clone());
        }
    });
}

/// The next page is rendered in the zone of the browser; this one keeps the zone it was rendered with.
fn remember_zone() {
    let minutes = -js_sys::Date::new_0().get_timezone_offset();
    crate::components::browser::set_cookie(ZONE_COOKIE, &model::number::fixed(minutes, 0));
}

#[cfg(test)]
mod tests {
    use super::escape;

    #[test]
    fn the_asked_page_survives_as_a_query_value() {
        assert_eq!(escape("/containers?q=a&b"), "/containers%3Fq%3Da%26b");
    }
}
