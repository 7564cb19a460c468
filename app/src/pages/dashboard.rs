//! The overview: what needs attention, the host's graphs, containers by use, running tasks; on a new console the way to
//! the first container instead.

use leptos::prelude::*;
use model::Permission;

use crate::api::containers::{self as functions, Listing};
use crate::api::fetched::Fetched;
use crate::api::{ApiResult, host};
use crate::components::button::{LinkButton, Tone};
use crate::components::chart::data::LimitLine;
use crate::components::icon::Icon;
use crate::components::page_frame::{Loaded, PageFrame};
use crate::format::use_locale;
use crate::i18n::containers as text;
use crate::i18n::frame::OVERVIEW;
use crate::live::metrics::ListWant;
use crate::live::use_live;
use crate::map::Map;
use crate::page_context::use_may;
use crate::pages::graphs::{COMMON, Graphs};

mod attention;
mod first_run;
mod running;
mod top;

/// What the page begins with.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
struct Start {
    list: Listing,
    host: Map<String, f64>,
}

async fn start() -> ApiResult<Start> {
    Ok(Start {
        list: functions::list().await?,
        host: host::values().await?,
    })
}

/// The page.
#[component]
pub fn DashboardPage() -> impl IntoView {
    let locale = use_locale();
    let first = Fetched::new(|| (), |()| start());
    let create =
        move || use_may(Permission::Containers).then(|| view! { <LinkButton href="/create" label=locale.t(text::CREATE) tone=Tone::Primary icon=Icon::Plus/> });
    view! {
        <PageFrame title=locale.t(OVERVIEW).to_owned() actions=ViewFn::from(create)>
            <Loaded resource=first full=|start| view! { <Overview start=start/> }.into_any()/>
        </PageFrame>
    }
}

#[component]
fn Overview(start: Start) -> impl IntoView {
    let live = use_live();
    live.seed(start.list);
    live.feed(model::metrics::HOST).update(|feed| feed.begin_with(start.host));
    live.want_list(Some(ListWant::All));
    on_cleanup(move || live.want_list(None));
    let is_new = Memo::new(move |_| live.rows.with(crate::map::Map::is_empty));
    view! {
        <Show when=move || is_new.get()><first_run::FirstRun/></Show>
        <div class="overview">
            <attention::Attention/>
            <running::RunningTasks/>
            <top::Top/>
        </div>
        <HostGraphs/>
    }
}

/// The host's graphs with its cores and its memory as limits.
#[component]
fn HostGraphs() -> impl IntoView {
    let locale = use_locale();
    let feed = use_live().feed(model::metrics::HOST);
    let limits = Callback::new(move |(series,): (String,)| {
        let name = match series.as_str() {
            "cpu.usage" => "cpu.cores",
            "memory.used" => "memory.total",
            _ => return Vec::new(),
        };
        let value = feed.with(|feed| feed.newest(name));
        value.map(LimitLine::hard).into_iter().collect()
    });
    view! {
        <section aria-label=locale.t(text::HOST)>
            <h2>{locale.t(text::HOST)}</h2>
            <top::DiskLevel/>
            <Graphs subject=model::metrics::HOST specs=COMMON limits=limits/>
        </section>
    }
}
