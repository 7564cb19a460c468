//! Where templates come from: reading the sources anew, and which of them failed.

use leptos::prelude::*;
use leptos::task::spawn_local;
use model::task::TaskState;

use super::Shelf;
use crate::api::fetched::Fetched;
use crate::api::sources as functions;
use crate::components::button::{Button, LinkButton, Tone};
use crate::components::icon::{Glyph, Icon};
use crate::components::page_frame::drawn_once;
use crate::format::use_locale;
use crate::i18n::frame::{PHASE_WORK, SOURCES};
use crate::i18n::reasons::answer;
use crate::i18n::{supply as text, upkeep};
use crate::page_context::use_may;

/// Reads all sources; the list follows when the task is over.
fn refresh(shelf: Shelf) {
    shelf.is_refreshing.set(true);
    let ended = move |failure: Option<String>| {
        shelf.is_refreshing.try_set(false);
        match failure {
            Some(why) => shelf.toasts.failed(why),
            None => shelf.toasts.done(shelf.locale.t(upkeep::REFRESHED)),
        }
    };
    spawn_local(async move {
        match functions::refresh(None).await {
            Ok(task) => {
                let id = task.id;
                shelf.live.seed_task(task);
                let over = move |task: model::task::Task| {
                    ended(task.error.filter(|_| task.state == TaskState::Failed).map(|error| error.message));
                };
                shelf.live.when_over(id, Callback::new(over));
            }
            Err(error) => ended(Some(answer(shelf.locale, &error))),
        }
    });
}

/// The buttons beside the title.
#[component]
pub fn Actions(shelf: Shelf) -> impl IntoView {
    let locale = use_locale();
    let off = Signal::derive(move || shelf.is_refreshing.get().then(|| locale.t(PHASE_WORK).to_owned()));
    let may = use_may(model::Permission::Templates);
    view! {
        {may.then(|| view! { <Button label=locale.t(text::REFRESH).to_owned() icon=Icon::Restart off=off on_press=move |()| refresh(shelf)/> })}
        <LinkButton href="/sources" label=locale.t(SOURCES) tone=Tone::Quiet/>
    }
}

/// A line for each source whose last refresh failed; what the others offer stays usable.
#[component]
pub fn Troubles(shelf: Shelf) -> impl IntoView {
    let locale = use_locale();
    let sources = Fetched::new(move || shelf.outcomes.get(), |_| functions::list());
    let line = move |(name, why): (String, String)| {
        let words = locale.fill(upkeep::FAILED_ON, &[("name", &name), ("why", &why)]);
        view! { <p class="source-error"><Glyph icon=Icon::Warning/>{words}</p> }
    };
    view! {
        <Transition fallback=|| ()>
            {move || drawn_once(sources, move |sources| {
                // That the sources cannot be asked is said where the templates should be.
                let failed = sources.unwrap_or_default().into_iter().filter_map(|source| source.last_error.map(|why| (source.name.to_string(), why)));
                failed.map(line).collect_view().into_any()
            })}
        </Transition>
    }
}
