//! One container: its state and legal actions at the top, tabs below. Absent and forbidden look the same.

use leptos::prelude::*;
use leptos_router::hooks::use_params_map;
use model::ErrorCode;
use model::task::Task;

use crate::api::containers::{self as functions, Opened};
use crate::api::detail::Detail;
use crate::api::fetched::Fetched;
use crate::api::{self, ApiResult};
use crate::bundle::{Bundle, page_of};
use crate::components::button::LinkButton;
use crate::components::error_note::ErrorNote;
use crate::components::page_frame::{Empty, NotPermitted, PageFrame, Skeleton, drawn_once};
use crate::format::use_locale;
use crate::i18n::Text;
use crate::i18n::containers as text;
use crate::live::{Row, use_live};
use crate::page_context::use_may;

mod console;
mod creation;
mod head;
pub mod limits;
mod log;
mod network;
mod rename;
mod summary;
mod tasks;
mod terminal;

pub use creation::create_with;

/// What the tabs of one container share.
#[derive(Clone, Debug)]
pub struct Subject {
    pub name: String,
    /// Follows the event stream.
    pub row: Row,
    /// As it was fetched last.
    pub detail: RwSignal<Detail>,
}

impl Subject {
    /// Fetches the detail anew, after a change.
    pub fn refresh(&self) {
        let (name, detail) = (self.name.clone(), self.detail);
        leptos::task::spawn_local(async move {
            if let Ok(fresh) = functions::show(name).await {
                detail.try_set(fresh.detail);
            }
        });
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Tab {
    #[default]
    Summary,
    Terminal,
    Console,
    Limits,
    Network,
    Log,
    Tasks,
}

impl Tab {
    const ALL: [Self; 7] = [
        Self::Summary,
        Self::Terminal,
        Self::Console,
        Self::Limits,
        Self::Network,
        Self::Log,
        Self::Tasks,
    ];

    fn key(self) -> &'static str {
        match self {
            Self::Summary => "",
            Self::Terminal => "terminal",
            Self::Console => "console",
            Self::Limits => "limits",
            Self::Network => "network",
            Self::Log => "log",
            Self::Tasks => "tasks",
        }
    }

    fn label(self) -> Text {
        match self {
            Self::Summary => text::SUMMARY,
            Self::Terminal => text::TERMINAL,
            Self::Console => text::CONSOLE,
            Self::Limits => text::RESOURCES,
            Self::Network => text::NETWORK,
            Self::Log => text::LOG,
            Self::Tasks => text::TASKS,
        }
    }

    fn is_for(self) -> model::Permission {
        match self {
            Self::Terminal | Self::Console => model::Permission::Terminal,
            _ => model::Permission::View,
        }
    }
}

/// The page.
#[component]
pub fn ContainerPage() -> impl IntoView {
    let params = use_params_map();
    let name = Memo::new(move |_| params.with(|params| params.get_str("name").unwrap_or_default().to_owned()));
    let tab = Memo::new(move |_| {
        let key = params.with(|params| params.get_str("tab").unwrap_or_default().to_owned());
        Tab::ALL.into_iter().find(|tab| tab.key() == key)
    });
    // Another name is another container: nothing of the one before may stay.
    move || view! { <Named name=name.get() tab=tab/> }
}

#[component]
fn Named(name: String, tab: Memo<Option<Tab>>) -> impl IntoView {
    let asked = name.clone();
    let found = Fetched::new(move || asked.clone(), find);
    view! {
        <Transition fallback=|| view! { <Skeleton/> }>
            {move || {
                let name = name.clone();
                drawn_once(found, move |answer| match answer {
                    Ok(Found::Here(opened)) => view! { <Shown opened=*opened tab=tab/> }.into_any(),
                    Ok(Found::Absent(task)) => view! { <Absent name=name task=task.map(|task| *task)/> }.into_any(),
                    Err(error) => {
                        api::set_status(error.code());
                        view! { <PageFrame title=name><ErrorNote error=error on_retry=move |()| found.refetch()/></PageFrame> }.into_any()
                    }
                })
            }}
        </Transition>
    }
}

/// What is at the address.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
enum Found {
    Here(Box<Opened>),
    /// With the task that tried in vain to create it.
    Absent(Option<Box<Task>>),
}

async fn find(name: String) -> ApiResult<Found> {
    match functions::show(name.clone()).await {
        Ok(opened) => Ok(Found::Here(Box::new(opened))),
        Err(error) if matches!(error.code(), ErrorCode::NotFound | ErrorCode::BadRequest) => {
            Ok(Found::Absent(functions::not_created(name).await.ok().flatten().map(Box::new)))
        }
        Err(error) => Err(error),
    }
}

#[component]
fn Absent(name: String, task: Option<Task>) -> impl IntoView {
    let locale = use_locale();
    api::set_status(ErrorCode::NotFound);
    view! {
        <PageFrame title=name>
            {task.map(|task| view! { <creation::NotCreated task=task template=None/> })}
            <Empty title=locale.t(text::NOT_HERE) hint=locale.t(text::NOT_HERE_HINT)>
                <LinkButton href="/containers" label=locale.t(text::TO_LIST)/>
            </Empty>
        </PageFrame>
    }
}

#[component]
fn Shown(opened: Opened, tab: Memo<Option<Tab>>) -> impl IntoView {
    let live = use_live();
    let Opened { detail, values, tasks } = opened;
    for task in tasks {
        live.seed_task(task);
    }
    let id = detail.summary.id;
    let name = detail.summary.name.to_string();
    live.seed_container(detail.summary.clone());
    let row = live.rows.with_untracked(|rows| rows.get(&id).cloned());
    let Some(row) = row else { return ().into_any() };
    row.seed_values(&values);
    let subject = Subject {
        name: name.clone(),
        row: row.clone(),
        detail: RwSignal::new(detail),
    };
    follow(&subject);
    let is_here = Memo::new(move |_| live.rows.with(|rows| rows.contains_key(&id)));
    let (head, actions) = (row.clone(), row.clone());
    let state = move || {
        let row = head.clone();
        move || is_here.get().then(|| view! { <head::StateLine row=row.clone()/> })
    };
    let actions = move || {
        let row = actions.clone();
        move || is_here.get().then(|| view! { <head::HeadActions row=row.clone()/> })
    };
    view! {
        <PageFrame title=name.clone() state=ViewFn::from(state) actions=ViewFn::from(actions)>
            <Tabs name=name tab=tab/>
            <creation::Ended subject=subject.clone() is_here=is_here/>
            <head::Notices row=row/>
            {move || panel(tab.get(), subject.clone())}
        </PageFrame>
    }
    .into_any()
}

/// What only the detail knows (addresses, exits, etag) is fetched again when state or limits change.
fn follow(subject: &Subject) {
    let (subject, summary) = (subject.clone(), subject.row.summary.clone());
    let version = Memo::new(move |_| summary.with(|summary| (summary.state, summary.started_at, summary.limits.clone())));
    Effect::new(move |before: Option<()>| {
        version.track();
        if before.is_some() {
            subject.refresh();
        }
    });
}

#[component]
fn Tabs(name: String, tab: Memo<Option<Tab>>) -> impl IntoView {
    let locale = use_locale();
    let link = |choice: Tab| {
        let current = move || (tab.get() == Some(choice)).then_some("page");
        let href = format!("/containers/{name}/{}", choice.key());
        view! { <a href=href.trim_end_matches('/').to_owned() aria-current=current>{locale.t(choice.label())}</a> }
    };
    let tabs: Vec<_> = Tab::ALL.into_iter().filter(|tab| use_may(tab.is_for())).map(link).collect();
    let bar = NodeRef::<leptos::html::Nav>::new();
    Effect::new(move || {
        tab.track();
        // Which link is the current one is written beside this, so it is looked for in the next picture.
        drop(request_animation_frame(move || {
            if let Some(bar) = bar.try_get_untracked().flatten() {
                show_current(&bar);
            }
        }));
    });
    view! { <nav class="tabs" aria-label=name.clone() node_ref=bar>{tabs}</nav> }
}

/// Scrolls the current tab into the middle of a bar that is too narrow for all; the page itself stays where it is.
#[expect(clippy::cast_possible_truncation, reason = "a distance on the screen")]
fn show_current(bar: &web_sys::HtmlElement) {
    let Some(current) = bar.query_selector("[aria-current]").ok().flatten() else {
        return;
    };
    let (outer, inner) = (bar.get_bounding_client_rect(), current.get_bounding_client_rect());
    let off_middle = inner.x() + inner.width() / 2.0 - outer.x() - outer.width() / 2.0;
    bar.set_scroll_left(bar.scroll_left() + off_middle as i32);
}

fn panel(tab: Option<Tab>, subject: Subject) -> AnyView {
    match tab {
        Some(tab) if !use_may(tab.is_for()) => view! { <NotPermitted/> }.into_any(),
        Some(tab @ (Tab::Terminal | Tab::Console)) => page_of(Bundle::Terminal, || match tab {
            Tab::Console => view! { <console::ConsoleTab subject=subject/> }.into_any(),
            _ => view! { <terminal::TerminalTab subject=subject/> }.into_any(),
        }),
        Some(tab) => page_of(Bundle::Containers, || match tab {
            Tab::Limits => view! { <limits::LimitsTab subject=subject/> }.into_any(),
            Tab::Network => view! { <network::NetworkTab subject=subject/> }.into_any(),
            Tab::Log => view! { <log::LogTab subject=subject/> }.into_any(),
            Tab::Tasks => view! { <tasks::TasksTab subject=subject/> }.into_any(),
            _ => view! { <summary::SummaryTab subject=subject/> }.into_any(),
        }),
        None => {
            api::set_status(ErrorCode::NotFound);
            view! { <crate::pages::not_found::NotFoundPage/> }.into_any()
        }
    }
}
