//! Creating a container on one page: a template, a name and a size are filled in; everything else is folded. What will be
//! made stands beside it in words, as a command and as an API call.

use leptos::prelude::*;
use leptos_router::hooks::use_query_map;
use model::engine::HostReport;
use model::template::Template;
use model::{Permission, Timestamp};

use crate::api::fetched::Fetched;
use crate::api::{ApiResult, containers, host, templates};
use crate::components::browser;
use crate::components::field::Field;
use crate::components::page_frame::{Loaded, NotPermitted, PageFrame};
use crate::format::use_locale;
use crate::i18n::supply as text;
use crate::page_context::use_may;

mod advanced;
mod form;
mod picker;
mod size;
mod summary;

pub use form::Draft;
use form::Form;

/// Everything that the form needs to begin with.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
struct Start {
    templates: Vec<Template>,
    host: HostReport,
    name: String,
}

async fn start() -> ApiResult<Start> {
    Ok(Start {
        templates: templates::list(false).await?,
        host: host::host_report().await?,
        name: containers::suggest_name().await?,
    })
}

/// The page.
#[component]
pub fn CreatePage() -> impl IntoView {
    let locale = use_locale();
    let content = if use_may(Permission::Containers) {
        let resource = Fetched::new(|| (), |()| start());
        view! { <Loaded resource=resource full=move |start| view! { <Whole start=start/> }.into_any()/> }.into_any()
    } else {
        view! { <NotPermitted/> }.into_any()
    };
    view! {
        <PageFrame title=locale.t(text::CREATE_CONTAINER).to_owned()>
            {content}
        </PageFrame>
    }
}

#[component]
fn Whole(start: Start) -> impl IntoView {
    let locale = use_locale();
    let (asked, is_again) = use_query_map().with_untracked(|query| (query.get_str("template").map(str::to_owned), query.get_str("again").is_some()));
    let chosen = asked.or_else(|| {
        host::pick(start.templates.clone(), Timestamp::from_ms(locale.now_ms))
            .first()
            .map(|template| template.reference.to_string())
    });
    let form = Form::new(&start, chosen, is_again);
    let (templates, host) = (StoredValue::new(start.templates), StoredValue::new(start.host));
    browser::ask_before_leaving(move || form.is_typed.get_value());
    let submit = move |event: web_sys::SubmitEvent| {
        event.prevent_default();
        form.send(true);
    };
    view! {
        <form class="create" method="post" on:submit=submit on:input=move |_| form.is_typed.set_value(true) novalidate>
            <div class="create__fields">
                <section class="card"><picker::Picker form=form templates=templates/></section>
                <section class="card">
                    <Field label=locale.t(text::CONTAINER_NAME) name="name" value=form.field("name") hint=locale.t(text::CONTAINER_NAME_HINT)
                        error=form.error_of("name") required=true autocomplete="off"/>
                </section>
                <section class="card"><size::Size form=form host=host/></section>
                <advanced::Advanced form=form host=host/>
            </div>
            <summary::Summary form=form templates=templates/>
        </form>
    }
}
