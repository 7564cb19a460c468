//! All accounts, for administrators: add, change the role, remove.

use leptos::prelude::*;
use leptos::task::spawn_local;
use model::Role;
use model::access::UserInfo;

use super::{RoleHelp, role};
use crate::api::fetched::Fetched;
use crate::api::{ApiError, account as functions};
use crate::components::button::{Button, Tone};
use crate::components::dialog::Dialog;
use crate::components::icon::Icon;
use crate::components::moment::Ago;
use crate::components::page_frame::Loaded;
use crate::components::toast::{Toasts, use_toasts};
use crate::format::{Locale, use_locale};
use crate::i18n::Text;
use crate::i18n::people as text;

mod add;

/// What rows, question and form share.
#[derive(Clone, Copy)]
pub struct Crew {
    list: Fetched<Vec<UserInfo>>,
    asked: RwSignal<String>,
    is_asking: RwSignal<bool>,
    toasts: Toasts,
    locale: Locale,
}

impl Crew {
    /// Tells how it went and fetches the accounts anew.
    fn over(self, result: Result<(), ApiError>, done: Text, name: &str) {
        match result {
            Ok(()) => self.toasts.done(self.locale.fill(done, &[("name", name)])),
            Err(error) => self.toasts.refused(&error),
        }
        self.list.refetch();
    }

    fn set_role(self, name: String, role: Role) {
        spawn_local(async move { self.over(functions::set_role(name.clone(), role).await, text::ROLE_CHANGED, &name) });
    }

    fn remove(self) {
        let name = self.asked.get_untracked();
        spawn_local(async move { self.over(functions::remove_user(name.clone()).await, text::USER_REMOVED, &name) });
    }
}

/// The section. `own` is the account that looks.
#[component]
pub fn Users(own: String) -> impl IntoView {
    let (locale, toasts) = (use_locale(), use_toasts());
    let crew = Crew {
        list: Fetched::new(|| (), |()| functions::users()),
        asked: RwSignal::default(),
        is_asking: RwSignal::new(false),
        toasts,
        locale,
    };
    let title = Signal::derive(move || locale.fill(text::REMOVE_NAMED, &[("name", &crew.asked.get())]));
    view! {
        <section class="card">
            <h2>{locale.t(text::USERS)}</h2>
            <p class="muted">{locale.t(text::USERS_HINT)}</p>
            <Loaded resource=crew.list full=move |users| view! { <Listed crew=crew own=own.clone() users=users/> }.into_any()/>
            <RoleHelp/>
            <add::AddUser crew=crew/>
            <Dialog open=crew.is_asking title=title confirm=title tone=Tone::Danger on_confirm=move |()| crew.remove()>
                <p>{locale.t(text::REMOVE_USER_TEXT)}</p>
            </Dialog>
        </section>
    }
}

#[component]
fn Listed(crew: Crew, own: String, users: Vec<UserInfo>) -> impl IntoView {
    let locale = use_locale();
    let head = move |label: Text, class: &'static str| view! { <th scope="col" class=class>{locale.t(label)}</th> };
    let row = move |user: UserInfo| {
        let is_own = user.name.as_str() == own;
        view! { <Row crew=crew user=user is_own=is_own/> }
    };
    view! {
        <div class="scroll">
            <table class="table user-table">
                <caption class="visually-hidden">{locale.t(text::USERS)}</caption>
                <thead>
                    <tr>
                        {head(text::NAME, "cell-name")}
                        {head(text::ROLE, "cell-role")}
                        {head(text::CREATED, "cell-created")}
                        {head(text::LAST_SEEN, "cell-seen")}
                        <th scope="col" class="cell-actions"><span class="visually-hidden">{locale.t(text::ACTIONS)}</span></th>
                    </tr>
                </thead>
                <tbody>{users.into_iter().map(row).collect_view()}</tbody>
            </table>
        </div>
    }
}

#[component]
fn Row(crew: Crew, user: UserInfo, is_own: bool) -> impl IntoView {
    let locale = use_locale();
    let name = user.name.to_string();
    let label = locale.fill(text::REMOVE_NAMED, &[("name", &name)]);
    let asked = name.clone();
    let ask = move |()| {
        crew.asked.set(asked.clone());
        crew.is_asking.set(true);
    };
    let seen = match user.last_seen_at {
        Some(at) => view! { <Ago at=at/> }.into_any(),
        None => view! { <span class="muted">{locale.t(text::NEVER)}</span> }.into_any(),
    };
    view! {
        <tr>
            <th scope="row" class="cell-name">
                <bdi>{name.clone()}</bdi>
                {is_own.then(|| view! { " "<span class="tag">{locale.t(text::YOU)}</span> })}
            </th>
            <td class="cell-role" data-label=locale.t(text::ROLE)><RoleForm crew=crew name=name stored=user.role/></td>
            <td class="cell-created" data-label=locale.t(text::CREATED)><Ago at=user.created_at/></td>
            <td class="cell-seen" data-label=locale.t(text::LAST_SEEN)>{seen}</td>
            <td class="cell-actions"><Button label=label tone=Tone::Danger icon=Icon::Delete compact=true on_press=ask/></td>
        </tr>
    }
}

/// The role of one account. Choosing alone changes nothing, so that the keyboard can walk through the choices.
#[component]
fn RoleForm(crew: Crew, name: String, stored: Role) -> impl IntoView {
    let locale = use_locale();
    let chosen = RwSignal::new(stored);
    let (label, verb) = (
        locale.fill(text::ROLE_OF, &[("name", &name)]),
        locale.fill(text::CHANGE_ROLE_NAMED, &[("name", &name)]),
    );
    let off = move || (chosen.get() == stored).then(|| locale.t(text::ROLE_SAME));
    let pick = move |event| {
        if let Ok(role) = event_target_value(&event).parse() {
            chosen.set(role);
        }
    };
    let (field, submit_name) = (name.clone(), name);
    let submit = move |event: web_sys::SubmitEvent| {
        event.prevent_default();
        if chosen.get_untracked() != stored {
            crew.set_role(submit_name.clone(), chosen.get_untracked());
        }
    };
    let option = move |one: Role| view! { <option value=one.as_str() selected=one == stored>{locale.t(role(one))}</option> };
    view! {
        <form class="row" method="post" action="/fn/account/set_role" on:submit=submit>
            <input type="hidden" name="name" value=field/>
            <select name="role" aria-label=label on:change=pick>{Role::ALL.map(option).collect_view()}</select>
            <button class=Tone::Quiet.class() aria-label=verb title=off aria-disabled=move || off().map(|_| "true") aria-description=off>
                {locale.t(text::CHANGE_ROLE)}
            </button>
        </form>
    }
}
