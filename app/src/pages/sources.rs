//! Places that offer templates: each with its last refresh and error; one that fails never hides the others.

use leptos::prelude::*;
use leptos::task::spawn_local;
use model::Permission;
use model::template::Source;

use crate::api::fetched::Fetched;
use crate::api::sources as functions;
use crate::components::button::{Button, Tone};
use crate::components::dialog::Dialog;
use crate::components::icon::Icon;
use crate::components::page_frame::{Empty, Loaded, PageFrame};
use crate::components::toast::{Toasts, use_toasts};
use crate::format::{Locale, use_locale};
use crate::i18n::Text;
use crate::i18n::frame::SOURCES;
use crate::i18n::reasons::answer;
use crate::i18n::upkeep as text;
use crate::live::{Live, use_live};
use crate::page_context::use_may;

mod add;
mod row;

/// The name that stands for all sources while they are refreshed together.
const EVERY: &str = "";

/// What the rows and the form of the page share.
#[derive(Clone, Copy, Debug)]
pub struct Shelf {
    list: Fetched<Vec<Source>>,
    /// Sources that a refresh of this tab runs for.
    busy: RwSignal<Vec<String>>,
    /// The source that may be removed.
    asked: RwSignal<String>,
    is_asking: RwSignal<bool>,
    toasts: Toasts,
    locale: Locale,
    live: Live,
}

impl Shelf {
    /// Refreshes one source, or all; the outcome is told when the task is over.
    fn refresh(self, name: &str) {
        let name = name.to_owned();
        self.busy.update(|busy| busy.push(name.clone()));
        spawn_local(async move {
            let one = Some(name.clone()).filter(|name| name != EVERY);
            match functions::refresh(one).await {
                Ok(task) => {
                    let id = task.id;
                    self.live.seed_task(task);
                    self.live.when_over(
                        id,
                        Callback::new(move |task: model::task::Task| self.refreshed(&name, task.error.map(|error| error.message))),
                    );
                }
                Err(error) => self.refreshed(&name, Some(answer(self.locale, &error))),
            }
        });
    }

    fn refreshed(self, name: &str, failure: Option<String>) {
        self.busy.try_update(|busy| busy.retain(|held| held != name));
        match failure {
            Some(why) if name == EVERY => self.toasts.failed(why),
            Some(why) => self.toasts.failed(self.locale.fill(text::FAILED_ON, &[("name", name), ("why", &why)])),
            None if name == EVERY => self.toasts.done(self.locale.t(text::REFRESHED)),
            None => self.toasts.done(self.locale.fill(text::REFRESHED_NAMED, &[("name", name)])),
        }
        self.list.refetch();
    }

    fn is_busy(self, name: &str) -> bool {
        self.busy.with(|busy| busy.iter().any(|held| held == name || held == EVERY))
    }

    fn remove(self, name: String) {
        spawn_local(async move {
            match functions::remove(name.clone()).await {
                Ok(()) => {
                    self.toasts.done(self.locale.fill(text::REMOVED, &[("name", &name)]));
                    self.list.refetch();
                }
                Err(error) => self.toasts.refused(&error),
            }
        });
    }
}

/// The page.
#[component]
pub fn SourcesPage() -> impl IntoView {
    let (locale, live, toasts) = (use_locale(), use_live(), use_toasts());
    let outcomes = live.outcomes(|kind| kind.contains("refresh"));
    let list = Fetched::new(move || outcomes.get(), |_| functions::list());
    let shelf = Shelf {
        list,
        busy: RwSignal::default(),
        asked: RwSignal::default(),
        is_asking: RwSignal::new(false),
        toasts,
        locale,
        live,
    };
    let may = use_may(Permission::Administer);
    let actions = move || use_may(Permission::Templates).then(|| view! { <RefreshAll shelf=shelf/> });
    view! {
        <PageFrame title=locale.t(SOURCES).to_owned() actions=ViewFn::from(actions)>
            <p class="muted">{locale.t(text::SOURCES_HINT)}</p>
            <Loaded resource=list full=move |sources| view! { <Listed shelf=shelf sources=sources/> }.into_any()/>
            {may.then(|| view! { <add::AddSource shelf=shelf/><RemoveQuestion shelf=shelf/> })}
        </PageFrame>
    }
}

#[component]
fn RefreshAll(shelf: Shelf) -> impl IntoView {
    let locale = use_locale();
    let off = Signal::derive(move || shelf.is_busy(EVERY).then(|| locale.t(crate::i18n::frame::PHASE_WORK).to_owned()));
    view! { <Button label=locale.t(text::REFRESH_ALL).to_owned() icon=Icon::Restart off=off on_press=move |()| shelf.refresh(EVERY)/> }
}

#[component]
fn Listed(shelf: Shelf, sources: Vec<Source>) -> impl IntoView {
    let locale = use_locale();
    if sources.is_empty() {
        let hint = if use_may(Permission::Administer) {
            text::NO_SOURCE_HINT
        } else {
            text::NO_SOURCE_ASK
        };
        return view! { <Empty title=locale.t(text::NO_SOURCE) hint=locale.t(hint)/> }.into_any();
    }
    let head = move |label: Text, class: &'static str| view! { <th scope="col" class=class>{locale.t(label)}</th> };
    view! {
        <div class="scroll">
            <table class="table source-table">
                <caption class="visually-hidden">{locale.count(text::SOURCES_N, sources.len() as u64)}</caption>
                <thead>
                    <tr>
                        {head(text::NAME, "cell-name")}
                        {head(text::KIND, "cell-kind")}
                        {head(text::ADDRESS, "cell-url")}
                        {head(text::OFFERED, "cell-offered number")}
                        {head(text::LAST_REFRESH, "cell-refresh")}
                        <th scope="col" class="cell-actions"><span class="visually-hidden">{locale.t(text::ACTIONS)}</span></th>
                    </tr>
                </thead>
                <tbody>{sources.into_iter().map(|source| view! { <row::SourceRow shelf=shelf source=source/> }).collect_view()}</tbody>
            </table>
        </div>
    }
    .into_any()
}

#[component]
fn RemoveQuestion(shelf: Shelf) -> impl IntoView {
    let locale = use_locale();
    let title = Signal::derive(move || locale.fill(text::REMOVE_NAMED, &[("name", &shelf.asked.get())]));
    view! {
        <Dialog open=shelf.is_asking title=title confirm=title tone=Tone::Danger on_confirm=move |()| shelf.remove(shelf.asked.get_untracked())>
            <p>{locale.t(text::REMOVE_TEXT)}</p>
        </Dialog>
    }
}
