//! API tokens, for administrators: create (the secret is shown once) and revoke.

use leptos::prelude::*;
use leptos::task::spawn_local;
use model::access::{NewToken, TokenInfo};

use super::role;
use crate::api::account as functions;
use crate::api::fetched::Fetched;
use crate::components::button::{Button, Tone};
use crate::components::copy::Copyable;
use crate::components::dialog::Dialog;
use crate::components::icon::Icon;
use crate::components::moment::Ago;
use crate::components::page_frame::{Empty, Loaded};
use crate::components::toast::{Toasts, use_toasts};
use crate::format::{Locale, use_locale};
use crate::i18n::Text;
use crate::i18n::people as text;

mod create;

/// What rows, question and form share.
#[derive(Clone, Copy)]
pub struct Keys {
    list: Fetched<Vec<TokenInfo>>,
    /// The token that was just made; gone when the page is left.
    made: RwSignal<Option<NewToken>>,
    asked: RwSignal<String>,
    is_asking: RwSignal<bool>,
    toasts: Toasts,
    locale: Locale,
}

impl Keys {
    fn revoke(self) {
        let name = self.asked.get_untracked();
        spawn_local(async move {
            match functions::revoke_token(name.clone()).await {
                Ok(()) => {
                    self.made.try_update(|made| drop(made.take_if(|made| made.info.name.as_str() == name)));
                    self.toasts.done(self.locale.fill(text::TOKEN_REVOKED, &[("name", &name)]));
                }
                Err(error) => self.toasts.refused(&error),
            }
            self.list.refetch();
        });
    }
}

/// The section.
#[component]
pub fn Tokens() -> impl IntoView {
    let (locale, toasts) = (use_locale(), use_toasts());
    let keys = Keys {
        list: Fetched::new(|| (), |()| functions::tokens()),
        made: RwSignal::new(None),
        asked: RwSignal::default(),
        is_asking: RwSignal::new(false),
        toasts,
        locale,
    };
    let title = Signal::derive(move || locale.fill(text::REVOKE_NAMED, &[("name", &keys.asked.get())]));
    view! {
        <section class="card">
            <h2>{locale.t(text::TOKENS)}</h2>
            <p class="muted">{locale.t(text::TOKENS_HINT)}</p>
            <Made keys=keys/>
            <Loaded resource=keys.list full=move |tokens| view! { <Listed keys=keys tokens=tokens/> }.into_any()/>
            <create::CreateToken keys=keys/>
            <Dialog open=keys.is_asking title=title confirm=title tone=Tone::Danger on_confirm=move |()| keys.revoke()>
                <p>{locale.t(text::REVOKE_TEXT)}</p>
            </Dialog>
        </section>
    }
}

/// The secret, this once.
#[component]
fn Made(keys: Keys) -> impl IntoView {
    let locale = use_locale();
    let shown = move |made: NewToken| {
        view! {
            <p><strong>{locale.fill(text::NEW_TOKEN, &[("name", made.info.name.as_str())])}</strong></p>
            <p>{locale.t(text::SHOWN_ONCE)}</p>
            <Copyable value=made.token/>
        }
    };
    view! { <div role="status">{move || keys.made.get().map(|made| view! { <div class="notice notice--secret" data-tone="progress">{shown(made)}</div> })}</div> }
}

#[component]
fn Listed(keys: Keys, tokens: Vec<TokenInfo>) -> impl IntoView {
    let locale = use_locale();
    if tokens.is_empty() {
        return view! { <Empty title=locale.t(text::NO_TOKEN)/> }.into_any();
    }
    let head = move |label: Text, class: &'static str| view! { <th scope="col" class=class>{locale.t(label)}</th> };
    view! {
        <div class="scroll">
            <table class="table token-table">
                <caption class="visually-hidden">{locale.t(text::TOKENS)}</caption>
                <thead>
                    <tr>
                        {head(text::NAME, "cell-name")}
                        {head(text::ROLE, "cell-role")}
                        {head(text::CREATED, "cell-created")}
                        {head(text::CREATED_BY, "cell-user")}
                        {head(text::EXPIRES, "cell-expires")}
                        {head(text::LAST_USED, "cell-seen")}
                        <th scope="col" class="cell-actions"><span class="visually-hidden">{locale.t(text::ACTIONS)}</span></th>
                    </tr>
                </thead>
                <tbody>{tokens.into_iter().map(|token| view! { <Row keys=keys token=token/> }).collect_view()}</tbody>
            </table>
        </div>
    }
    .into_any()
}

#[component]
fn Row(keys: Keys, token: TokenInfo) -> impl IntoView {
    let locale = use_locale();
    let name = token.name.to_string();
    let label = locale.fill(text::REVOKE_NAMED, &[("name", &name)]);
    let asked = name.clone();
    let ask = move |()| {
        keys.asked.set(asked.clone());
        keys.is_asking.set(true);
    };
    let moment = move |at: Option<model::Timestamp>| match at {
        Some(at) => view! { <Ago at=at/> }.into_any(),
        None => view! { <span class="muted">{locale.t(text::NEVER)}</span> }.into_any(),
    };
    let is_expired = token.expires_at.is_some_and(|at| at.ms <= locale.now_ms);
    view! {
        <tr>
            <th scope="row" class="cell-name"><bdi>{name}</bdi></th>
            <td class="cell-role" data-label=locale.t(text::ROLE)>{locale.t(role(token.role))}</td>
            <td class="cell-created" data-label=locale.t(text::CREATED)><Ago at=token.created_at/></td>
            <td class="cell-user" data-label=locale.t(text::CREATED_BY)><bdi>{token.created_by}</bdi></td>
            <td class="cell-expires" data-label=locale.t(text::EXPIRES)>
                {moment(token.expires_at)}
                {is_expired.then(|| view! { " "<span class="tag" data-tone="failed">{locale.t(text::EXPIRED)}</span> })}
            </td>
            <td class="cell-seen" data-label=locale.t(text::LAST_USED)>{moment(token.last_used_at)}</td>
            <td class="cell-actions"><Button label=label tone=Tone::Danger icon=Icon::Delete compact=true on_press=ask/></td>
        </tr>
    }
}
