//! Templates: everything that is here or offered, searchable, with size before the download and progress during it.

use leptos::prelude::*;
use leptos_router::NavigateOptions;
use leptos_router::hooks::{query_signal_with_options, use_query_map};
use model::Permission;
use model::template::Template;

use crate::api::templates as functions;
use crate::components::button::Tone;
use crate::components::dialog::Dialog;
use crate::components::field::{Field, Tick};
use crate::components::page_frame::{Empty, Loaded, PageFrame};
use crate::components::toast::{Toasts, use_toasts};
use crate::format::{Locale, use_locale};
use crate::i18n::Text;
use crate::i18n::supply as text;
use crate::live::{Live, use_live};
use crate::page_context::use_may;

mod import;
mod row;

/// Rows drawn at first, and more with each press.
const STEP: usize = 60;

/// What the rows share.
#[derive(Clone, Copy, Debug)]
pub struct Shelf {
    list: Resource<Result<Vec<Template>, crate::api::ApiError>>,
    /// The template that may be removed.
    asked: RwSignal<String>,
    is_asking: RwSignal<bool>,
    toasts: Toasts,
    locale: Locale,
    live: Live,
}

/// Whether every word stands somewhere in what is shown of a template.
#[must_use]
pub fn matches(template: &Template, words: &str) -> bool {
    let shown = format!(
        "{} {} {} {} {} {}",
        template.name, template.os, template.release, template.variant, template.arch, template.reference
    )
    .to_lowercase();
    words.to_lowercase().split_whitespace().all(|word| shown.contains(word))
}

/// The page.
#[component]
pub fn TemplatesPage() -> impl IntoView {
    let (locale, live, toasts) = (use_locale(), use_live(), use_toasts());
    let outcomes = live.outcomes(|kind| kind.starts_with("template.") || kind.contains("refresh"));
    let is_unusable_shown = RwSignal::new(false);
    let list = Resource::new(move || (outcomes.get(), is_unusable_shown.get()), |(_, unusable)| functions::list(unusable));
    let shelf = Shelf {
        list,
        asked: RwSignal::default(),
        is_asking: RwSignal::new(false),
        toasts,
        locale,
        live,
    };
    let title = Signal::derive(move || locale.fill(text::REMOVE_NAMED, &[("name", &shelf.asked.get())]));
    let may = use_may(Permission::Templates);
    view! {
        <PageFrame title=locale.t(text::TEMPLATES).to_owned()>
            <Loaded resource=list full=move |all| view! { <Listed shelf=shelf all=all is_unusable_shown=is_unusable_shown/> }.into_any()/>
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
fn Listed(shelf: Shelf, all: Vec<Template>, is_unusable_shown: RwSignal<bool>) -> impl IntoView {
    let locale = use_locale();
    let quiet = || NavigateOptions {
        replace: true,
        scroll: false,
        ..NavigateOptions::default()
    };
    let (in_url, set_url) = query_signal_with_options::<String>("q", quiet());
    let search = RwSignal::new(in_url.get_untracked().unwrap_or_default());
    let (here, set_here) = query_signal_with_options::<bool>("here", quiet());
    let only_here = RwSignal::new(here.get_untracked() == Some(true));
    let source = use_query_map().with_untracked(|query| query.get_str("source").map(|source| format!("{source}:")));
    let shown = RwSignal::new(STEP);
    Effect::new(move |before: Option<(String, bool)>| {
        let now = (search.get(), only_here.get());
        if before.is_some_and(|before| before != now) {
            set_url.set(Some(now.0.clone()).filter(|words| !words.is_empty()));
            set_here.set(now.1.then_some(true));
        }
        now
    });
    let found = Memo::new(move |_| {
        let (words, only_here) = (search.get(), only_here.get());
        let from = |template: &Template| source.as_ref().is_none_or(|source| template.reference.to_string().starts_with(source));
        all.iter()
            .filter(|template| (!only_here || template.downloaded) && from(template) && matches(template, &words))
            .cloned()
            .collect::<Vec<_>>()
    });
    let rows = move || {
        found.with(|found| {
            found
                .iter()
                .take(shown.get())
                .cloned()
                .map(|template| view! { <row::TemplateRow shelf=shelf template=template/> })
                .collect_view()
        })
    };
    let head = move |label: Text, class: &'static str| view! { <th scope="col" class=class>{locale.t(label)}</th> };
    view! {
        <div class="template-filter">
            <Field label=locale.t(text::SEARCH) name="q" kind="search" value=search hint=locale.t(text::SEARCH_HINT) autocomplete="off"/>
            <Tick label=locale.t(text::ONLY_HERE) name="here" value=only_here/>
            <Tick label=locale.t(text::ALSO_UNUSABLE) name="unusable" value=is_unusable_shown/>
        </div>
        <p class="muted" role="status">{move || locale.count(text::TEMPLATES_N, found.with(Vec::len) as u64)}</p>
        <Show when=move || !found.with(Vec::is_empty) fallback=move || view! { <Empty title=locale.t(text::NO_TEMPLATE) hint=locale.t(text::NO_TEMPLATE_HINT)/> }>
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
        </Show>
        <Show when=move || { found.with(Vec::len) > shown.get() }>
            <button type="button" class="button" on:click=move |_| shown.update(|shown| *shown += STEP)>{locale.t(text::SHOW_MORE)}</button>
        </Show>
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_must_fit_somewhere() {
        let template: Template = serde_json::from_value(serde_json::json!({
            "ref": "images:debian/13", "name": "Debian 13", "os": "Debian", "release": "trixie", "arch": "amd64", "variant": "default",
            "size_bytes": 1, "digest": null, "downloaded": false, "newer_available": false, "created_at": null
        }))
        .unwrap();
        assert!(matches(&template, "deb TRIXIE") && matches(&template, ""));
        assert!(!matches(&template, "debian arm64"));
    }
}
