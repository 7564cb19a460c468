//! Choosing the template: what is chosen stands first; a search through everything that is here or offered is beneath.

use leptos::prelude::*;
use model::template::Template;

use super::form::Form;
use crate::components::field::Field;
use crate::components::page_frame::Empty;
use crate::format::{Locale, use_locale};
use crate::i18n::supply as text;
use crate::pages::templates::matches;

/// Results shown at once.
const SHOWN: usize = 12;

/// What the choice of a template means before anything is made.
pub fn words(locale: Locale, template: &Template) -> String {
    match (template.downloaded, template.size_bytes) {
        (true, _) => locale.t(text::TEMPLATE_HERE).to_owned(),
        (false, Some(bytes)) => locale.fill(text::TEMPLATE_TO_DOWNLOAD, &[("size", &locale.bytes(bytes))]),
        (false, None) => locale.t(text::TEMPLATE_BUILT_FIRST).to_owned(),
    }
}

#[component]
pub fn Picker(form: Form, templates: StoredValue<Vec<Template>>) -> impl IntoView {
    let locale = use_locale();
    let chosen = form.field("template");
    let search = RwSignal::new(String::new());
    let error = form.error_of("template");
    let found = Memo::new(move |_| {
        let words = search.get();
        templates.with_value(|all| all.iter().filter(|template| matches(template, &words)).take(SHOWN).cloned().collect::<Vec<_>>())
    });
    let picked = Memo::new(move |_| templates.with_value(|all| all.iter().find(|template| template.reference.to_string() == chosen.get()).cloned()));
    let is_empty = templates.with_value(Vec::is_empty);
    view! {
        <h2>{locale.t(text::TEMPLATE)}</h2>
        {move || picked.get().map(|template| view! { <Picked template=template/> })}
        <p class="field__error" role="alert">{move || error.get()}</p>
        {if is_empty {
            view! {
                <Empty title=locale.t(text::NO_OFFER)>
                    <a class="button" href="/sources">{locale.t(crate::i18n::frame::SOURCES)}</a>
                </Empty>
            }
            .into_any()
        } else {
            view! {
                <details class="fold" open=picked.get_untracked().is_none()>
                    <summary>{locale.t(text::CHOOSE_OTHER)}</summary>
                    <Field label=locale.t(text::SEARCH) name="template-search" kind="search" value=search hint=locale.t(text::SEARCH_HINT) autocomplete="off"/>
                    <ul class="picker" role="list">
                        {move || found.get().into_iter().map(|template| view! { <Offer chosen=chosen template=template/> }).collect_view()}
                    </ul>
                </details>
            }
            .into_any()
        }}
    }
}

#[component]
fn Picked(template: Template) -> impl IntoView {
    let locale = use_locale();
    let here = words(locale, &template);
    view! {
        <p class="picked">
            <strong><bdi>{template.name}</bdi></strong>
            <code><bdi>{template.reference.to_string()}</bdi></code>
            <span class="muted">{here}</span>
        </p>
    }
}

#[component]
fn Offer(chosen: RwSignal<String>, template: Template) -> impl IntoView {
    let locale = use_locale();
    let reference = template.reference.to_string();
    let (is_chosen, choose) = (reference.clone(), reference.clone());
    let size = if template.downloaded {
        Some(locale.t(text::HERE).to_owned())
    } else {
        template.size_bytes.map(|bytes| locale.bytes(bytes))
    };
    view! {
        <li>
            <button type="button" class="offer" aria-pressed=move || (chosen.get() == is_chosen).to_string() on:click=move |_| chosen.set(choose.clone())>
                <strong><bdi>{template.name}</bdi></strong>
                <span class="muted"><bdi>{reference}</bdi></span>
                <span class="number">{size}</span>
            </button>
        </li>
    }
}
