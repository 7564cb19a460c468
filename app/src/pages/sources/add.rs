//! The form for a new source. The server saves it and reads the address at once; a failure stands in the row of the
//! source. Without script the form is posted as it is.

use leptos::prelude::*;
use leptos::task::spawn_local;
use model::ErrorCode;
use model::template::SourceKind;

use super::{Shelf, row};
use crate::api::{ApiError, sources as functions};
use crate::components::button::Tone;
use crate::components::error_note::ErrorNote;
use crate::components::field::{Choice, Field};
use crate::format::use_locale;
use crate::forms::problems::{Problems, broken, words};
use crate::forms::refused::refused;
use crate::forms::source::parse;
use crate::i18n::{rules, upkeep as text};

const POST: &str = "/fn/sources/add";
/// The kinds that can be added, with the words that the form sends.
const KINDS: [(&str, SourceKind); 2] = [("simplestreams", SourceKind::Simplestreams), ("mirror", SourceKind::Mirror)];
/// Kinds that this version cannot read yet.
const LATER: [SourceKind; 3] = [SourceKind::Aplinfo, SourceKind::Oci, SourceKind::Lxc];

#[derive(Clone, Copy)]
struct Form {
    name: RwSignal<String>,
    kind: RwSignal<String>,
    url: RwSignal<String>,
    problems: RwSignal<Problems>,
    /// What the server said: of one field, or of the whole.
    refused: RwSignal<Option<ApiError>>,
    is_sending: RwSignal<bool>,
}

impl Form {
    fn send(self, shelf: Shelf) {
        let (name, kind, url) = (self.name.get_untracked(), self.kind.get_untracked(), self.url.get_untracked());
        self.refused.set(None);
        if let Err(problems) = parse(&name, &kind, &url) {
            self.problems.set(problems);
            return;
        }
        self.problems.set(Problems::default());
        self.is_sending.set(true);
        spawn_local(async move {
            match functions::add(name, kind, url).await {
                Ok(source) => {
                    shelf.toasts.done(shelf.locale.fill(text::ADDED, &[("name", source.name.as_str())]));
                    self.name.try_set(String::new());
                    self.url.try_set(String::new());
                    shelf.list.refetch();
                }
                Err(error) => {
                    self.refused.try_set(Some(error));
                }
            }
            self.is_sending.try_set(false);
        });
    }

    /// What is wrong with a field, by the rules or by the server.
    fn error_of(self, field: &'static str) -> Signal<Option<String>> {
        let locale = use_locale();
        Signal::derive(move || {
            let ruled = self.problems.with(|problems| problems.of(field).map(str::to_owned));
            let said = move || {
                self.refused
                    .get()
                    .map(|error| error.body())
                    .filter(|body| body.field.as_deref() == Some(field))
                    .map(|body| body.message)
            };
            let ruled = ruled.map(|message| match field {
                "url" => broken(locale, rules::SOURCE_URL, &message),
                field => words(locale, field, &message),
            });
            ruled.or_else(said)
        })
    }
}

/// The form.
#[component]
pub fn AddSource(shelf: Shelf) -> impl IntoView {
    let locale = use_locale();
    let form = Form {
        name: RwSignal::default(),
        kind: RwSignal::new("simplestreams".to_owned()),
        url: RwSignal::default(),
        problems: RwSignal::default(),
        refused: RwSignal::new(refused(POST)),
        is_sending: RwSignal::new(false),
    };
    let kinds = KINDS.map(|(key, kind)| (key.to_owned(), locale.t(row::kind(kind)).to_owned())).to_vec();
    let later = LATER.map(|kind| locale.fill(text::LATER, &[("kind", locale.t(row::kind(kind)))])).to_vec();
    let submit = move |event: web_sys::SubmitEvent| {
        event.prevent_default();
        if !form.is_sending.get_untracked() {
            form.send(shelf);
        }
    };
    let whole = move || {
        form.refused
            .get()
            .filter(|error| error.code() != ErrorCode::Invalid || error.body().field.is_none())
    };
    view! {
        <section class="card">
            <h2>{locale.t(text::ADD_SOURCE)}</h2>
            <form class="form" method="post" action=POST on:submit=submit novalidate>
                {move || whole().map(|error| view! { <ErrorNote error=error title=text::NOT_ADDED/> })}
                <div class="fields">
                    <Field label=locale.t(text::NAME) name="name" value=form.name hint=locale.t(text::SOURCE_NAME_HINT) error=form.error_of("name") required=true autocomplete="off"/>
                    <Choice label=locale.t(text::KIND) name="kind" value=form.kind options=kinds later=later/>
                    <Field label=locale.t(text::ADDRESS) name="url" kind="url" value=form.url hint=locale.t(text::SOURCE_URL_HINT) error=form.error_of("url")
                        required=true autocomplete="off" placeholder="https://"/>
                </div>
                <div class="row">
                    <button class=Tone::Primary.class() aria-disabled=move || form.is_sending.get().then_some("true")>{locale.t(text::ADD)}</button>
                    <span class="muted" role="status">{move || form.is_sending.get().then(|| locale.t(text::ADDING))}</span>
                </div>
            </form>
        </section>
    }
}
