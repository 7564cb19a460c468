//! The first card of a new console: a template, and one click further a running container.

use leptos::prelude::*;
use model::Permission;
use model::template::Template;

use crate::api::fetched::Fetched;
use crate::api::host::{self, Recommended};
use crate::components::button::LinkButton;
use crate::components::page_frame::Loaded;
use crate::format::use_locale;
use crate::i18n::containers as text;
use crate::live::{Badge, use_live};
use crate::page_context::use_may;
use crate::pages::container::create_with;

/// Offers up to three templates; each leads to the create page with everything filled in.
#[component]
pub fn FirstRun() -> impl IntoView {
    let (locale, live) = (use_locale(), use_live());
    let outcomes = live.outcomes(|kind| host::reads_sources(kind) || kind.starts_with("template."));
    // A reading that ended before the stream was open is in no event.
    let is_connected = Memo::new(move |_| live.badge.get() == Badge::Live);
    let offers = Fetched::new(move || (outcomes.get(), is_connected.get()), |_| host::recommended());
    view! {
        <section class="card first-run">
            <h2>{locale.t(text::WELCOME)}</h2>
            {use_may(Permission::Containers).then(|| view! {
                <p>{locale.t(text::WELCOME_TEXT)}</p>
                <Loaded resource=offers full=move |offers| view! { <Offers offers=offers/> }.into_any()/>
                <p><a href="/templates">{locale.t(text::ALL_TEMPLATES)}</a></p>
            })}
        </section>
    }
}

#[component]
fn Offers(offers: Recommended) -> impl IntoView {
    let (locale, live) = (use_locale(), use_live());
    let is_doing = live.is_doing(host::reads_sources);
    let is_reading = Memo::new(move |_| offers.is_reading || is_doing.get());
    if offers.templates.is_empty() {
        return view! {
            <Show when=move || is_reading.get() fallback=move || view! {
                <p class="muted">{locale.t(text::NO_OFFERS)}</p>
                <LinkButton href="/sources" label=locale.t(crate::i18n::frame::SOURCES)/>
            }>
                <p class="muted" role="status">{locale.t(text::READING_SOURCES)}</p>
            </Show>
        }
        .into_any();
    }
    view! { <ul class="offers">{offers.templates.into_iter().map(|template| view! { <li><Offer template=template/></li> }).collect_view()}</ul> }.into_any()
}

#[component]
fn Offer(template: Template) -> impl IntoView {
    let locale = use_locale();
    let size = match (template.downloaded, template.size_bytes) {
        (true, _) => locale.t(text::HERE).to_owned(),
        (false, Some(bytes)) => locale.fill(text::TO_DOWNLOAD, &[("size", &locale.bytes(bytes))]),
        (false, None) => String::new(),
    };
    let reference = template.reference.to_string();
    let href = create_with(&reference);
    view! {
        <a class="offer" href=href>
            <strong><bdi>{template.name}</bdi></strong>
            <span class="muted"><bdi>{reference}</bdi></span>
            <span class="number">{size}</span>
        </a>
    }
}
