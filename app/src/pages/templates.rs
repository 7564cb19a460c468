//! Templates: everything that is here or offered, searchable, with size before the download and progress during it.

use leptos::prelude::*;
use model::template::Template;
use model::{Permission, TaskId};

use crate::api::fetched::Fetched;
use crate::api::templates as functions;
use crate::components::button::{Button, LinkButton, Tone};
use crate::components::dialog::Dialog;
use crate::components::page_frame::{Empty, Loaded, PageFrame};
use crate::components::toast::{Toasts, use_toasts};
use crate::format::{Locale, use_locale};
use crate::i18n::Text;
use crate::i18n::frame::{CLEAR_FILTERS, NOTHING_MATCHES, SOURCES};
use crate::i18n::supply as text;
use crate::live::{Live, Outcomes, use_live};
use crate::map::{Map, Unique};
use crate::page_context::use_may;

mod filter;
mod import;
mod row;
mod supply;

use filter::Filter;
pub use filter::matches;

/// Rows drawn at first, and more with each press.
const STEP: usize = 60;

/// What the parts of the page share. It outlives each reading of the list.
#[derive(Clone, Copy, Debug)]
pub struct Shelf {
    list: Fetched<Vec<Template>>,
    /// Changes when a task brought, removed or found something.
    outcomes: Memo<Outcomes>,
    /// Downloads begun here, by reference: a failed one stays beside its template.
    begun: RwSignal<Map<String, TaskId>>,
    /// The template that may be removed.
    asked: RwSignal<String>,
    is_asking: RwSignal<bool>,
    is_refreshing: RwSignal<bool>,
    /// Rows that are drawn.
    shown: RwSignal<usize>,
    toasts: Toasts,
    locale: Locale,
    live: Live,
}

/// The page.
#[component]
pub fn TemplatesPage() -> impl IntoView {
    let (locale, live, toasts) = (use_locale(), use_live(), use_toasts());
    let outcomes = live.outcomes(|kind| kind.starts_with("template.") || kind.contains("refresh"));
    let filter = Filter::new();
    let list = Fetched::new(move || (outcomes.get(), filter.unusable.get()), |(_, unusable)| functions::list(unusable));
    let shelf = Shelf {
        list,
        outcomes,
        begun: RwSignal::default(),
        asked: RwSignal::default(),
        is_asking: RwSignal::new(false),
        is_refreshing: RwSignal::new(false),
        shown: RwSignal::new(STEP),
        toasts,
        locale,
        live,
    };
    let title = Signal::derive(move || locale.fill(text::REMOVE_NAMED, &[("name", &shelf.asked.get())]));
    let may = use_may(Permission::Templates);
    view! {
        <PageFrame title=locale.t(text::TEMPLATES).to_owned() actions=ViewFn::from(move || view! { <supply::Actions shelf=shelf/> })>
            <supply::Troubles shelf=shelf/>
            <Loaded resource=list full=move |all| view! { <Listed shelf=shelf filter=filter all=all/> }.into_any()/>
            {may.then(|| view! {
                <import::Import shelf=shelf/>
                <Dialog open=shelf.is_asking title=title confirm=title tone=Tone::Danger on_confirm=move |()| row::remove(shelf)>
                    <p>{locale.t(text::REMOVE_TEXT)}</p>
                </Dialog>
            })}
        </PageFrame>
    }
}

#[component]
fn Listed(shelf: Shelf, filter: Filter, all: Vec<Template>) -> impl IntoView {
    let locale = use_locale();
    let sources: Unique<String> = all.iter().map(|template| template.reference.source().to_string()).collect();
    let is_bare = all.is_empty();
    let found = Memo::new(move |_| all.iter().filter(|template| filter.keeps(template)).cloned().collect::<Vec<_>>());
    let is_empty = Memo::new(move |_| found.with(Vec::is_empty));
    view! {
        <filter::FilterBar filter=filter sources=sources.iter().cloned().collect()/>
        <p class="muted" role="status">{move || locale.count(text::TEMPLATES_N, found.with(Vec::len) as u64)}</p>
        {move || match (is_empty.get(), is_bare) {
            (true, true) => view! { <Nothing/> }.into_any(),
            (true, false) => view! { <NoMatch filter=filter/> }.into_any(),
            (false, _) => view! { <Table shelf=shelf found=found/> }.into_any(),
        }}
        <Show when=move || { found.with(Vec::len) > shelf.shown.get() }>
            <button type="button" class="button" on:click=move |_| shelf.shown.update(|shown| *shown += STEP)>{locale.t(text::SHOW_MORE)}</button>
        </Show>
    }
}

/// No source offers anything, and nothing is here.
#[component]
fn Nothing() -> impl IntoView {
    let locale = use_locale();
    view! {
        <Empty title=locale.t(text::NO_OFFER) hint=locale.t(text::NO_OFFER_HINT)>
            <LinkButton href="/sources" label=locale.t(SOURCES)/>
        </Empty>
    }
}

#[component]
fn NoMatch(filter: Filter) -> impl IntoView {
    let locale = use_locale();
    let hint = move || {
        let shown = filter.shown();
        if shown.is_empty() {
            locale.t(text::NO_TEMPLATE_HINT).to_owned()
        } else {
            locale.fill(text::NO_MATCH, &[("filter", &shown)])
        }
    };
    view! {
        <Empty title=locale.t(NOTHING_MATCHES)>
            <p class="muted">{hint}</p>
            {move || filter.is_narrow().then(|| view! { <Button label=locale.t(CLEAR_FILTERS).to_owned() on_press=move |()| filter.clear()/> })}
        </Empty>
    }
}

#[component]
fn Table(shelf: Shelf, found: Memo<Vec<Template>>) -> impl IntoView {
    let locale = use_locale();
    let head = move |label: Text, class: &'static str| view! { <th scope="col" class=class>{locale.t(label)}</th> };
    let rows = move || {
        let shown: Vec<Template> = found.with(|found| found.iter().take(shelf.shown.get()).cloned().collect());
        shown
            .into_iter()
            .map(|template| view! { <row::TemplateRow shelf=shelf template=template/> })
            .collect_view()
    };
    view! {
        <div class="scroll">
            <table class="table record-table template-table">
                <caption class="visually-hidden">{locale.t(text::TEMPLATES)}</caption>
                <thead>
                    <tr>
                        {head(text::SYSTEM, "cell-name")}
                        {head(text::RELEASE, "")}
                        {head(text::VARIANT, "")}
                        {head(text::ARCHITECTURE, "")}
                        {head(text::SIZE, "number")}
                        {head(text::BUILT, "")}
                        <th scope="col" class="cell-actions"><span class="visually-hidden">{locale.t(text::ACTIONS)}</span></th>
                    </tr>
                </thead>
                <tbody>{rows}</tbody>
            </table>
        </div>
    }
}
