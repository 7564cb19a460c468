//! The frame of every page's content: title, state line, primary actions, and the four states of what is fetched:
//! loading (a skeleton after 200 ms), empty, error (with a second try) and full.

use std::sync::Arc;

use leptos::prelude::*;
use leptos_meta::Title;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::announcer::use_announcer;
use super::error_note::ErrorNote;
use crate::api::fetched::{Fetched, Held, Whatever};
use crate::api::{self, ApiError, ApiResult};
use crate::format::use_locale;
use crate::i18n::frame::{LOADING, NOT_ALLOWED, NOT_ALLOWED_HINT};

/// A page: its one `h1`, a line about its state beneath, actions on the end side, content below.
#[component]
pub fn PageFrame(
    #[prop(into)] title: Signal<String>,
    /// One line under the title: counts, state.
    #[prop(optional)]
    state: Option<ViewFn>,
    #[prop(optional)] actions: Option<ViewFn>,
    children: Children,
) -> impl IntoView {
    let announcer = use_announcer();
    let drawn = title.get_untracked();
    let heading = NodeRef::<leptos::html::H1>::new();
    Effect::new(move |shown: Option<()>| {
        if shown.is_none() {
            announcer.page_shown(&title.get_untracked(), heading.get_untracked().map(|heading| heading.into()));
        }
    });
    view! {
        <Title text=move || words(title, &drawn)/>
        <header class="page-head">
            <div class="page-head__words">
                <h1 tabindex="-1" node_ref=heading>{move || title.get()}</h1>
                {state.map(|state| view! { <div class="page-head__state">{state.run()}</div> })}
            </div>
            {actions.map(|actions| view! { <div class="page-head__actions">{actions.run()}</div> })}
        </header>
        {children()}
    }
}

/// The title of the window. The server writes it last, when the part of the page that it belongs to may have been disposed
/// of already: then it is what was drawn.
fn words(title: Signal<String>, drawn: &str) -> String {
    format!("{} - Berth", title.try_get().as_deref().unwrap_or(drawn))
}

/// What was fetched, in its four states: `full` decides between empty and full. While it is fetched anew the old
/// picture stays.
#[component]
pub fn Loaded<T>(
    resource: Fetched<T>,
    /// Draws the value.
    full: impl Fn(T) -> AnyView + Send + Sync + 'static,
) -> impl IntoView
where
    T: Clone + Send + Sync + Serialize + DeserializeOwned + 'static,
{
    let draw: Draw = Arc::new(move |held| held.value().map(&full));
    region(resource.whatever(), draw)
}

/// Draws what was fetched, of whatever type, or tells why not.
type Draw = Arc<dyn Fn(Held) -> ApiResult<AnyView> + Send + Sync>;

fn region(resource: Whatever, draw: Draw) -> AnyView {
    view! {
        <Transition fallback=|| view! { <Skeleton/> }>
            {move || {
                let draw = Arc::clone(&draw);
                once(resource, Box::new(move |held| held.and_then(|held| draw(held)).unwrap_or_else(|error| failed(error, resource))))
            }}
        </Transition>
    }
    .into_any()
}

/// What was fetched, inside a `Transition`. The server asks each view what it waits for before it writes it; a view that were
/// made for the question would fetch what it holds twice, and the browser would take over what the second answer drew with
/// the first in its hands.
pub fn drawn_once<T>(fetched: Fetched<T>, draw: impl FnOnce(ApiResult<T>) -> AnyView + Send + 'static) -> Suspend<Unsuspend<AnyView>>
where
    T: Clone + Send + Sync + Serialize + DeserializeOwned + 'static,
{
    once(fetched.whatever(), Box::new(move |held| draw(held.and_then(|held| held.value()))))
}

fn once(resource: Whatever, draw: Box<dyn FnOnce(ApiResult<Held>) -> AnyView + Send>) -> Suspend<Unsuspend<AnyView>> {
    Suspend::new(async move {
        let found = resource.await;
        Unsuspend::new(move || draw(found))
    })
}

fn failed(error: ApiError, resource: Whatever) -> AnyView {
    api::set_status(error.code());
    view! { <ErrorNote error=error on_retry=move |()| resource.refetch()/> }.into_any()
}

/// Stands where content will be; it shows itself only after 200 ms (by style).
#[component]
pub fn Skeleton() -> impl IntoView {
    let locale = use_locale();
    view! {
        <div class="skeleton" role="status" aria-label=locale.t(LOADING)>
            <div></div>
            <div></div>
            <div></div>
        </div>
    }
}

/// Something that the visitor's role does not include, and who can change that.
#[component]
pub fn NotPermitted() -> impl IntoView {
    let locale = use_locale();
    view! { <Empty title=locale.t(NOT_ALLOWED) hint=locale.t(NOT_ALLOWED_HINT)/> }
}

/// Nothing to show: why, and the one next step.
#[component]
pub fn Empty(#[prop(into)] title: String, #[prop(optional, into)] hint: Option<String>, #[prop(optional)] children: Option<Children>) -> impl IntoView {
    view! {
        <div class="empty">
            <p class="empty__title">{title}</p>
            {hint.map(|hint| view! { <p class="muted">{hint}</p> })}
            {children.map(|children| view! { <div class="row">{children()}</div> })}
        </div>
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_keeps_the_title_of_a_page_that_was_disposed_of() {
        let owner = Owner::new();
        let title = owner.with(|| Signal::stored("Tasks".to_owned()));
        assert_eq!(words(title, "drawn"), "Tasks - Berth");
        owner.cleanup();
        assert_eq!(words(title, "Tasks"), "Tasks - Berth");
    }
}
