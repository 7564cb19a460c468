//! The whole page: document, frame and routes.

use leptos::prelude::*;
use leptos_meta::{MetaTags, provide_meta_context};
use leptos_router::components::{FlatRoutes, Redirect, Route, Router};
use leptos_router::hooks::use_location;
use leptos_router::{OptionalParamSegment, ParamSegment, SsrMode, StaticSegment, path};

use crate::api;
use crate::bundle::{self, Bundle, page_of};
use crate::components::announcer::Announcer;
use crate::components::browser;
use crate::components::frame::Frame;
use crate::components::toast::Toasts;
use crate::forms::sign_in::sign_in_for;
use crate::i18n::Lang;
use crate::i18n::frame::{RELOAD, SOMETHING_BROKE};
use crate::live::{Live, stream};
use crate::page_context::{Code, ELEMENT_ID, PageContext, ZONE_COOKIE, use_page};
use crate::pages;

/// The document that the server sends. The browser never renders it.
#[component]
pub fn Shell() -> impl IntoView {
    let page = api::page_context();
    let assets = page.assets.clone();
    let code = page.code.clone();
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
                <template id=CRASH_BANNER><CrashBanner lang=page.lang/></template>
                <link rel="modulepreload" href=code.js.clone()/>
                <link rel="preload" href=code.wasm.clone() r#as="fetch" r#type="application/wasm" crossorigin=""/>
                <script type="module" nonce=api::nonce() inner_html=start_script(&code)></script>
            </head>
            <body>
                <App/>
            </body>
        </html>
    }
}

const CRASH_BANNER: &str = "crash-banner";

/// A panic of the browser half ends all interaction of a page; this tells the person. It waits in a `<template>`, because
/// nothing else works then.
#[component]
fn CrashBanner(lang: Lang) -> impl IntoView {
    view! {
        <div class="banner banner--danger" role="alert">
            <span>{SOMETHING_BROKE.get(lang)}</span>
            <a href="" rel="external">{RELOAD.get(lang)}</a>
        </div>
    }
}

/// Starts the browser half. A panic in it arrives as an error of WebAssembly, from wherever the browser called it.
fn start_script(code: &Code) -> String {
    let Code { js, wasm } = code;
    format!(
        "import init, {{ hydrate }} from {js:?};
const broken = (error) => {{
  const banner = document.getElementById({CRASH_BANNER:?});
  if (!(error instanceof WebAssembly.RuntimeError) || !banner) return;
  document.body.prepend(banner.content);
  banner.remove();
}};
addEventListener(\"error\", (event) => broken(event.error));
addEventListener(\"unhandledrejection\", (event) => broken(event.reason));
await init({{ module_or_path: {wasm:?} }});
hydrate();"
    )
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
                    <Route ssr=SsrMode::Async path=path!("/setup") view=|| page_of(Bundle::Overview, || view! { <pages::setup::SetupPage/> }.into_any())/>
                    <Route ssr=SsrMode::Async path=path!("/sign-in") view=|| page_of(Bundle::Overview, || view! { <pages::sign_in::SignInPage/> }.into_any())/>
                    <Route ssr=SsrMode::Async path=path!("/") view=|| signed_in(|| page_of(Bundle::Overview, || view! { <pages::dashboard::DashboardPage/> }.into_any()))/>
                    <Route ssr=SsrMode::Async path=path!("/containers") view=|| signed_in(|| page_of(Bundle::Containers, || view! { <pages::containers::ContainersPage/> }.into_any()))/>
                    <Route
                        ssr=SsrMode::Async
                        path=(StaticSegment("containers"), ParamSegment("name"), OptionalParamSegment("tab"))
                        view=|| signed_in(container)
                    />
                    <Route ssr=SsrMode::Async path=path!("/create") view=|| signed_in(|| page_of(Bundle::Supply, || view! { <pages::create::CreatePage/> }.into_any()))/>
                    <Route
                        ssr=SsrMode::Async
                        path=(StaticSegment("tasks"), OptionalParamSegment("id"))
                        view=|| signed_in(|| page_of(Bundle::Overview, || view! { <pages::tasks::TasksPage/> }.into_any()))
                    />
                    <Route ssr=SsrMode::Async path=path!("/templates") view=|| signed_in(|| page_of(Bundle::Supply, || view! { <pages::templates::TemplatesPage/> }.into_any()))/>
                    <Route ssr=SsrMode::Async path=path!("/sources") view=|| signed_in(|| page_of(Bundle::Supply, || view! { <pages::sources::SourcesPage/> }.into_any()))/>
                    <Route ssr=SsrMode::Async path=path!("/trash") view=|| signed_in(|| page_of(Bundle::Overview, || view! { <pages::trash::TrashPage/> }.into_any()))/>
                    <Route ssr=SsrMode::Async path=path!("/account") view=|| signed_in(|| page_of(Bundle::Overview, || view! { <pages::account::AccountPage/> }.into_any()))/>
                </FlatRoutes>
            </Frame>
        </Router>
    }
}

/// The page of one container: two bundles have it, each with its own tabs.
#[inline(always)]
fn container() -> AnyView {
    let bundle = if Bundle::Containers.is_here() { Bundle::Containers } else { Bundle::Terminal };
    page_of(bundle, || view! { <pages::container::ContainerPage/> }.into_any())
}

/// A page for people who are signed in; others go to sign in, whether an account exists or not.
fn signed_in(page: impl FnOnce() -> AnyView) -> AnyView {
    if use_page().who.is_some() {
        return page();
    }
    let location = use_location();
    let target = sign_in_for(&location.pathname.get_untracked(), &location.search.get_untracked());
    view! { <Redirect path=target/> }.into_any()
}

/// Effects run in the browser alone: opens the event stream, goes on with what the page before left, and tells the server
/// the visitor's zone.
fn start_in_browser(page: &PageContext, live: Live) {
    let (is_signed_in, build, made_ms) = (page.who.is_some(), page.build.clone(), page.now_ms);
    let actions = pages::actions::use_actions();
    Effect::new(move || {
        bundle::leave_foreign_links_to_browser();
        remember_zone();
        if is_signed_in {
            stream::open(live, build.clone());
            actions.take_up(made_ms);
        } else {
            // Whoever signs in next may be somebody else.
            browser::forget_all();
        }
    });
}

/// The next page is rendered in the zone of the browser; this one keeps the zone it was rendered with.
fn remember_zone() {
    let minutes = -js_sys::Date::new_0().get_timezone_offset();
    browser::set_cookie(ZONE_COOKIE, &model::number::fixed(minutes, 0));
}
