//! All containers: filter and order in the URL, live values per row, many at once. A thousand rows are windowed.

use leptos::prelude::*;
use leptos_router::NavigateOptions;
use leptos_router::hooks::{query_signal_with_options, use_query_map};
use model::{ContainerId, Permission};

use crate::api::containers::{self as api, Listing};
use crate::api::fetched::Fetched;
use crate::components::button::{LinkButton, Tone};
use crate::components::icon::{Glyph, Icon};
use crate::components::page_frame::{Empty, Loaded, PageFrame};
use crate::format::use_locale;
use crate::i18n::containers as text;
use crate::i18n::frame::{CLEAR_FILTERS, CONTAINERS, NOTHING_MATCHES};
use crate::live::metrics::ListWant;
use crate::live::use_live;
use crate::map::Unique;
use crate::page_context::use_may;

mod bulk;
mod filter;
mod order;
mod row;
mod table;
mod window;

use filter::{Filter, Order};

/// Lists longer than this subscribe to their visible rows alone.
const SUBSCRIBE_ALL: usize = 200;

/// The selected rows; they stay selected through ticks, order and filter.
#[derive(Clone, Copy, Debug)]
pub struct Selection {
    pub ids: RwSignal<Unique<ContainerId>>,
}

impl Selection {
    fn toggle(self, id: ContainerId) {
        self.ids.update(|ids| {
            if !ids.remove(&id) {
                ids.insert(id);
            }
        });
    }
}

/// The page.
#[component]
pub fn ContainersPage() -> impl IntoView {
    let locale = use_locale();
    let live = use_live();
    let list = Fetched::new(|| (), |()| api::list());
    // Nothing is said before the list is there; an empty one speaks for itself.
    let state = move || {
        live.rows.with(|rows| {
            let running = rows
                .values()
                .filter(|row| row.summary.with(|summary| summary.state == model::ContainerState::Running))
                .count();
            (!rows.is_empty()).then(|| {
                format!(
                    "{} · {}",
                    locale.count(text::CONTAINERS_N, rows.len() as u64),
                    locale.count(text::RUNNING_N, running as u64)
                )
            })
        })
    };
    let create =
        move || use_may(Permission::Containers).then(|| view! { <LinkButton href="/create" label=locale.t(text::CREATE) tone=Tone::Primary icon=Icon::Plus/> });
    view! {
        <PageFrame title=locale.t(CONTAINERS).to_owned() state=ViewFn::from(move || state) actions=ViewFn::from(create)>
            <Loaded resource=list full=|list| view! { <Listed list=list/> }.into_any()/>
        </PageFrame>
    }
}

/// The list once it was fetched: from then on the store of this tab is the truth.
#[component]
fn Listed(list: Listing) -> impl IntoView {
    let locale = use_locale();
    let live = use_live();
    live.seed(list);
    let is_empty = Memo::new(move |_| live.rows.with(crate::map::Map::is_empty));
    view! {
        {move || if is_empty.get() {
            view! {
                <Empty title=locale.t(text::NONE_YET) hint=locale.t(text::NONE_YET_HINT)>
                    {use_may(Permission::Containers).then(|| view! { <LinkButton href="/create" label=locale.t(text::CREATE) icon=Icon::Plus/> })}
                </Empty>
            }.into_any()
        } else {
            view! { <Found/> }.into_any()
        }}
    }
}

fn quiet() -> NavigateOptions {
    NavigateOptions {
        replace: true,
        scroll: false,
        ..NavigateOptions::default()
    }
}

#[component]
fn Found() -> impl IntoView {
    let live = use_live();
    let query = use_query_map();
    let typed = RwSignal::new(query.with_untracked(|query| query.get_str("q").unwrap_or_default().to_owned()));
    let order = Memo::new(move |_| query.with(|query| Order::parse(query.get_str("sort").unwrap_or_default())));
    let filter = Memo::new(move |_| typed.with(|typed| Filter::parse(typed)));
    let is_held = RwSignal::new(false);
    let ids = order::use_ordered(live, filter, order, is_held);
    let selection = Selection { ids: RwSignal::default() };
    let is_empty = Memo::new(move |_| ids.with(Vec::is_empty));
    on_cleanup(move || live.want_list(None));
    view! {
        <FilterBar typed=typed shown=Signal::derive(move || ids.with(Vec::len))/>
        {use_may(Permission::Containers).then(|| view! { <bulk::BulkBar selection=selection/> })}
        {move || if is_empty.get() {
            view! { <NoMatch typed=typed/> }.into_any()
        } else {
            view! { <table::ContainerTable ids=ids order=order selection=selection is_held=is_held/> }.into_any()
        }}
    }
}

/// The filter: a plain form too, so that it works without script. What is typed goes into the URL.
#[component]
fn FilterBar(typed: RwSignal<String>, shown: Signal<usize>) -> impl IntoView {
    let locale = use_locale();
    let live = use_live();
    let (in_url, set_url) = query_signal_with_options::<String>("q", quiet());
    Effect::new(move |before: Option<String>| {
        let typed = typed.get();
        if before.is_some_and(|before| before != typed) {
            set_url.set((!typed.is_empty()).then(|| typed.clone()));
        }
        typed
    });
    Effect::new(move |before: Option<Option<String>>| {
        let url = in_url.get();
        let is_other = url.clone().unwrap_or_default() != typed.get_untracked();
        if before.is_some_and(|before| before != url) && is_other && !is_typing() {
            typed.set(url.clone().unwrap_or_default());
        }
        url
    });
    let all = move || live.rows.with(crate::map::Map::len);
    let words = move || {
        locale.fill(
            text::SHOWN,
            &[("shown", &locale.integer(shown.get() as u64)), ("all", &locale.integer(all() as u64))],
        )
    };
    view! {
        <form class="filter-bar" role="search" method="get" on:submit=move |event| event.prevent_default()>
            <label>
                <Glyph icon=Icon::Search/>
                <span class="visually-hidden">{locale.t(text::FILTER_LABEL)}</span>
                <input type="search" name="q" id="filter" autocomplete="off" spellcheck="false" placeholder=locale.t(text::FILTER)
                    prop:value=move || typed.get() value=typed.get_untracked() on:input=move |event| typed.set(event_target_value(&event))/>
            </label>
            <span class="muted number">{words}</span>
        </form>
    }
}

/// Whether the filter has the focus: then the URL follows the field, not the other way round.
fn is_typing() -> bool {
    document().active_element().is_some_and(|element| element.id() == "filter")
}

#[component]
fn NoMatch(typed: RwSignal<String>) -> impl IntoView {
    let locale = use_locale();
    let hint = move || locale.fill(text::NO_MATCH, &[("filter", &typed.get())]);
    view! {
        <Empty title=locale.t(NOTHING_MATCHES)>
            <p class="muted">{hint}</p>
            <crate::components::button::Button label=locale.t(CLEAR_FILTERS).to_owned() on_press=move |()| typed.set(String::new())/>
        </Empty>
    }
}

/// What the stream shall carry for the rows in sight.
fn want(live: crate::live::Live, ids: &[ContainerId], all: usize) {
    if all <= SUBSCRIBE_ALL {
        live.want_list(Some(ListWant::All));
        return;
    }
    let names = live.rows.with_untracked(|rows| {
        let name = |id| rows.get(id).map(|row| row.summary.with_untracked(|summary| summary.name.to_string()));
        ids.iter().filter_map(name).collect()
    });
    live.want_list(Some(ListWant::Only(names)));
}
