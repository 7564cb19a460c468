//! The terminal: a shell inside that lives on the server. A reload finds the one of this tab again, also when it has ended
//! meanwhile: its end is told once, with what it printed last.

use leptos::prelude::*;
use leptos::task::spawn_local;
use model::container::Action;
use model::id::ExecId;

use super::Subject;
use crate::api::ApiError;
use crate::api::containers as functions;
use crate::components::browser;
use crate::components::button::Button;
use crate::components::error_note::ErrorNote;
use crate::components::icon::Icon;
use crate::components::page_frame::Empty;
use crate::components::terminal::{Session, TerminalPane};
use crate::format::use_locale;
use crate::i18n::containers as text;
use crate::i18n::reasons;
use crate::page_context::use_may;
use crate::pages::actions::ActionButton;

/// The size that is asked for until the pane has measured itself.
const FIRST_SIZE: (u16, u16) = (100, 30);

/// Which session the pane shows.
#[derive(Clone, Debug, Default, PartialEq)]
enum Wanted {
    #[default]
    Finding,
    Session(ExecId),
    Failed(ApiError),
}

/// The tab.
#[component]
pub fn TerminalTab(subject: Subject) -> impl IntoView {
    let summary = subject.row.summary.clone();
    let can_run = Memo::new(move |_| summary.with(|summary| summary.state.allows(Action::Exec).is_ok()));
    let session = RwSignal::new(Session::default());
    let (place, has_own) = (place_of(&subject), RwSignal::new(false));
    // Only the browser knows, so the page begins without.
    Effect::new(move || has_own.set(own_shell(&place).is_some()));
    // A shell that is shown stays on the page when the container stops, with its last lines and the reason.
    let is_shown = Memo::new(move |before: Option<&bool>| before == Some(&true) || has_own.get() || can_run.get());
    move || {
        let subject = subject.clone();
        if is_shown.get() {
            view! { <Shell subject=subject session=session can_run=can_run/> }.into_any()
        } else {
            view! { <NotRunning subject=subject/> }.into_any()
        }
    }
}

#[component]
fn NotRunning(subject: Subject) -> impl IntoView {
    let locale = use_locale();
    view! {
        <Empty title=locale.t(text::NOT_RUNNING) hint=locale.t(text::START_AND_OPEN)>
            {use_may(model::Permission::Containers).then(|| view! { <ActionButton row=subject.row action=Action::Start tone=crate::components::button::Tone::Primary/> })}
        </Empty>
    }
}

#[component]
fn Shell(subject: Subject, session: RwSignal<Session>, can_run: Memo<bool>) -> impl IntoView {
    let locale = use_locale();
    let wanted = RwSignal::new(Wanted::default());
    let (name, place) = (subject.name.clone(), place_of(&subject));
    let is_over = move || matches!(session.get(), Session::Ended(..) | Session::Refused(..));
    let told = place.clone();
    Effect::new(move || {
        if is_over() {
            browser::keep(&told, "");
        }
    });
    let open = Callback::new(move |is_new: bool| find_or_open(name.clone(), place.clone(), is_new, wanted));
    Effect::new(move || open.run(false));
    let off = Signal::derive(move || (!can_run.get()).then(|| locale.t(text::NOT_RUNNING).to_owned()));
    view! {
        <div class="pane-head">
            <p class="muted">{locale.t(text::TERMINAL_HINT)}</p>
            <SessionState session=session/>
            {move || is_over().then(|| view! { <Button label=locale.t(text::OPEN_AGAIN).to_owned() off=off on_press=move |()| open.run(false)/> })}
            <Button label=locale.t(text::NEW_TERMINAL).to_owned() icon=Icon::Plus off=off on_press=move |()| open.run(true)/>
        </div>
        {move || match wanted.get() {
            Wanted::Finding => view! { <div class="terminal"></div> }.into_any(),
            Wanted::Failed(error) => view! { <ErrorNote error=error on_retry=move |()| open.run(true)/> }.into_any(),
            Wanted::Session(id) => {
                session.set(Session::Opening);
                let socket = format!("/ws/containers/{}/exec/{id}", subject.name);
                let label = locale.fill(text::TERMINAL_LABEL, &[("name", &subject.name)]);
                view! { <TerminalPane socket=socket label=label session=session/> }.into_any()
            }
        }}
    }
}

/// Where the tab keeps which shell in this container is its own.
fn place_of(subject: &Subject) -> String {
    format!("shell/{}", subject.row.id)
}

/// The shell that the tab was attached to, as long as its end was not told.
fn own_shell(place: &str) -> Option<ExecId> {
    browser::kept(place)?.parse().ok()
}

/// The tab's own shell, or the newest that still runs, else a new one.
fn find_or_open(name: String, place: String, is_new: bool, wanted: RwSignal<Wanted>) {
    spawn_local(async move {
        let known = match own_shell(&place) {
            Some(own) if !is_new => Some(own),
            None if !is_new => newest_running(&name).await,
            _ => None,
        };
        let found = match known {
            Some(id) => Ok(id),
            None => functions::open_terminal(name, None, FIRST_SIZE.0, FIRST_SIZE.1).await,
        };
        if let Ok(id) = &found {
            browser::keep(&place, &id.to_string());
        }
        // Gone when the tab was left meanwhile; the session waits on the server.
        wanted.try_set(found.map_or_else(Wanted::Failed, Wanted::Session));
    });
}

async fn newest_running(name: &str) -> Option<ExecId> {
    let sessions = functions::terminals(name.to_owned()).await.ok()?;
    let running = sessions.into_iter().filter(|session| session.exit.is_none());
    running.max_by_key(|session| session.started_at).map(|session| session.id)
}

/// What became of the session, in words.
#[component]
pub fn SessionState(session: RwSignal<Session>) -> impl IntoView {
    let locale = use_locale();
    let words = move || match session.get() {
        Session::Opening => locale.t(text::TERMINAL_OPENING).to_owned(),
        Session::Open => String::new(),
        Session::Lost => locale.t(text::TERMINAL_LOST).to_owned(),
        Session::Ended(code, reason) => {
            let why = if reason.is_empty() {
                locale.fill(text::EXITED_WITH, &[("code", &code.to_string())])
            } else {
                reason
            };
            locale.fill(text::TERMINAL_ENDED, &[("why", &why)])
        }
        Session::Refused(code, reason) => {
            let why = if reason.is_empty() {
                locale.t(reasons::closed(code)).to_owned()
            } else {
                reason
            };
            locale.fill(text::TERMINAL_REFUSED, &[("why", &why)])
        }
    };
    view! { <p class="pane-head__state" role="status">{words}</p> }
}
