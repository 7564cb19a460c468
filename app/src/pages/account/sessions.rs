//! Where one is signed in, with the way to end each.

use leptos::prelude::*;
use leptos::task::spawn_local;
use model::access::SessionInfo;

use super::agent;
use crate::api::account as functions;
use crate::api::fetched::Fetched;
use crate::components::browser;
use crate::components::button::Tone;
use crate::components::moment::Ago;
use crate::components::page_frame::{Empty, Loaded};
use crate::components::toast::use_toasts;
use crate::format::{Locale, use_locale};
use crate::i18n::Text;
use crate::i18n::people as text;

/// The section.
#[component]
pub fn Sessions() -> impl IntoView {
    let locale = use_locale();
    let list = Fetched::new(|| (), |()| functions::sessions());
    view! {
        <section class="card">
            <h2>{locale.t(text::SESSIONS)}</h2>
            <p class="muted">{locale.t(text::SESSIONS_HINT)}</p>
            <Loaded resource=list full=move |sessions| view! { <Listed list=list sessions=sessions/> }.into_any()/>
        </section>
    }
}

#[component]
fn Listed(list: Fetched<Vec<SessionInfo>>, sessions: Vec<SessionInfo>) -> impl IntoView {
    let locale = use_locale();
    if sessions.is_empty() {
        return view! { <Empty title=locale.t(text::NO_SESSION)/> }.into_any();
    }
    let head = move |label: Text, class: &'static str| view! { <th scope="col" class=class>{locale.t(label)}</th> };
    view! {
        <div class="scroll">
            <table class="table session-table">
                <caption class="visually-hidden">{locale.t(text::SESSIONS)}</caption>
                <thead>
                    <tr>
                        {head(text::DEVICE, "cell-name")}
                        {head(text::FROM, "cell-address")}
                        {head(text::SIGNED_IN_AT, "cell-created")}
                        {head(text::LAST_SEEN, "cell-seen")}
                        {head(text::ENDS, "cell-expires")}
                        <th scope="col" class="cell-actions"><span class="visually-hidden">{locale.t(text::ACTIONS)}</span></th>
                    </tr>
                </thead>
                <tbody>{sessions.into_iter().map(|session| view! { <Row list=list session=session/> }).collect_view()}</tbody>
            </table>
        </div>
    }
    .into_any()
}

/// `Firefox on Linux`, or what it calls itself.
fn device(locale: Locale, agent: &str) -> String {
    match agent::parts(agent) {
        (Some(browser), Some(system)) => locale.fill(text::AGENT_ON, &[("browser", browser), ("system", system)]),
        (Some(browser), None) => browser.to_owned(),
        _ => agent.chars().take(40).collect(),
    }
}

#[component]
fn Row(list: Fetched<Vec<SessionInfo>>, session: SessionInfo) -> impl IntoView {
    let (locale, toasts) = (use_locale(), use_toasts());
    let name = Some(device(locale, &session.agent))
        .filter(|name| !name.is_empty())
        .unwrap_or_else(|| session.address.clone());
    let label = locale.fill(text::END_NAMED, &[("device", &name)]);
    let (id, is_current) = (session.id.clone(), session.current);
    let submit = move |event: web_sys::SubmitEvent| {
        event.prevent_default();
        let id = id.clone();
        spawn_local(async move {
            match functions::end_session(id).await {
                Ok(()) if is_current => browser::go_to("/sign-in"),
                Ok(()) => {
                    toasts.done(locale.t(text::SESSION_ENDED));
                    list.refetch();
                }
                Err(error) => toasts.refused(&error),
            }
        });
    };
    view! {
        <tr>
            <th scope="row" class="cell-name">
                <span title=session.agent><bdi>{name}</bdi></span>
                {is_current.then(|| view! { " "<span class="tag">{locale.t(text::THIS_SESSION)}</span> })}
            </th>
            <td class="cell-address" data-label=locale.t(text::FROM)><bdi>{session.address}</bdi></td>
            <td class="cell-created" data-label=locale.t(text::SIGNED_IN_AT)><Ago at=session.created_at/></td>
            <td class="cell-seen" data-label=locale.t(text::LAST_SEEN)><Ago at=session.last_seen_at/></td>
            <td class="cell-expires" data-label=locale.t(text::ENDS)><Ago at=session.expires_at/></td>
            <td class="cell-actions">
                <form method="post" action="/fn/account/end_session" on:submit=submit>
                    <input type="hidden" name="id" value=session.id/>
                    <button class=Tone::Plain.class() aria-label=label>{locale.t(text::END)}</button>
                </form>
            </td>
        </tr>
    }
}
