//! Doing something to a container from any page: the press shows at once, the server decides, a refusal restores the row
//! and says why.

use leptos::prelude::*;
use leptos::task::spawn_local;
use model::container::Action;
use model::{ContainerState, ContainerSummary};

use crate::api::{ApiError, containers as api};
use crate::components::button::Tone;
use crate::components::icon::{Glyph, Icon};
use crate::components::toast::{Toasts, use_toasts};
use crate::format::{Locale, use_locale};
use crate::i18n::Text;
use crate::i18n::containers as text;
use crate::live::{Live, Row, use_live};

/// What the actions of a page share.
#[derive(Clone, Copy, Debug)]
pub struct Actions {
    toasts: Toasts,
    locale: Locale,
    live: Live,
}

/// The actions of this page.
#[must_use]
pub fn use_actions() -> Actions {
    Actions {
        toasts: use_toasts(),
        locale: use_locale(),
        live: use_live(),
    }
}

/// The verb of an action.
#[must_use]
pub fn verb(action: Action) -> Text {
    match action {
        Action::Start => text::START,
        Action::Stop => text::STOP,
        Action::Restart => text::RESTART,
        Action::Kill => text::KILL,
        Action::Freeze => text::FREEZE,
        Action::Unfreeze => text::UNFREEZE,
        Action::Exec => text::TERMINAL,
        Action::Console => text::CONSOLE,
        Action::Delete | Action::ForceDelete => text::DELETE,
        Action::Update | Action::Rename => text::APPLY,
    }
}

fn icon(action: Action) -> Icon {
    match action {
        Action::Start | Action::Unfreeze => Icon::Play,
        Action::Stop => Icon::Stop,
        Action::Restart => Icon::Restart,
        Action::Kill => Icon::Kill,
        Action::Freeze => Icon::Freeze,
        Action::Delete | Action::ForceDelete => Icon::Delete,
        _ => Icon::Terminal,
    }
}

/// The state that the press shows until the server says more.
fn expected(action: Action) -> Option<ContainerState> {
    match action {
        Action::Start => Some(ContainerState::Starting),
        Action::Stop | Action::Kill | Action::Restart => Some(ContainerState::Stopping),
        Action::Freeze => Some(ContainerState::Freezing),
        Action::Delete | Action::ForceDelete => Some(ContainerState::Deleting),
        _ => None,
    }
}

/// Asks the server; success means that a task exists.
async fn ask(action: Action, name: String) -> Result<model::task::Task, ApiError> {
    match action {
        Action::Start => api::start(name).await,
        Action::Stop => api::stop(name, None).await,
        Action::Restart => api::restart(name).await,
        Action::Kill => api::kill(name).await,
        Action::Freeze => api::freeze(name).await,
        Action::Unfreeze => api::unfreeze(name).await,
        Action::Delete => api::delete(name, false, false).await,
        Action::ForceDelete => api::delete(name, true, false).await,
        Action::Exec | Action::Console | Action::Update | Action::Rename => Err(ApiError::Unreachable(format!("{} is not one press", name))),
    }
}

impl Actions {
    /// Does it to one container.
    pub fn run(self, row: &Row, action: Action) {
        let row = row.clone();
        spawn_local(async move {
            if let Err(error) = self.press(&row, action).await {
                self.toasts.failed(self.refusal(&row, &error));
            }
        });
    }

    /// Does it to many; the outcome is told per container.
    pub fn run_all(self, rows: Vec<Row>, action: Action) {
        spawn_local(async move {
            let (mut done, mut failures) = (0_u64, Vec::new());
            let pressed: Vec<_> = rows.iter().map(|row| self.press(row, action)).collect();
            for (row, press) in rows.iter().zip(pressed) {
                match press.await {
                    Ok(()) => done += 1,
                    Err(error) => failures.push(self.refusal(row, &error)),
                }
            }
            if failures.is_empty() {
                self.toasts.done(self.locale.count(text::ASKED_N, done));
            } else {
                let (done, failed) = (self.locale.integer(done), self.locale.integer(failures.len() as u64));
                self.toasts.failed(
                    self.locale
                        .fill(text::STARTED_ALL, &[("done", &done), ("failed", &failed), ("why", &failures.join("; "))]),
                );
            }
        });
    }

    async fn press(self, row: &Row, action: Action) -> Result<(), ApiError> {
        let before = row.summary.get_untracked();
        if let Some(state) = expected(action) {
            row.summary.update(|summary| summary.state = state);
        }
        match ask(action, before.name.to_string()).await {
            Ok(task) => {
                self.follow(task, row, action);
                Ok(())
            }
            Err(error) => {
                row.summary.try_set(before);
                Err(error)
            }
        }
    }

    /// Tells the outcome once the task is over: a failure with its hint, a deletion with "Undo".
    fn follow(self, task: model::task::Task, row: &Row, action: Action) {
        let (id, name) = (row.id, row.summary.with_untracked(|summary| summary.name.to_string()));
        let task_id = task.id;
        self.live.seed_task(task);
        let outcome = move |task: model::task::Task| match (&task.error, action) {
            (Some(error), _) => {
                let why = error
                    .hint
                    .as_ref()
                    .map_or_else(|| error.message.clone(), |hint| format!("{}; {hint}", error.message));
                self.toasts.failed(self.locale.fill(text::FAILED_ACTION, &[("name", &name), ("why", &why)]));
            }
            (None, Action::Delete | Action::ForceDelete) => {
                let undo = Callback::new(move |()| self.undo_delete(id));
                self.toasts.undoable(self.locale.fill(text::DELETED, &[("name", &name)]), undo);
            }
            _ => {}
        };
        self.live.when_over(task_id, Callback::new(outcome));
    }

    /// Brings a deleted container back out of the trash.
    fn undo_delete(self, id: model::ContainerId) {
        spawn_local(async move {
            match api::undo_delete(id).await {
                Ok(task) => self.live.seed_task(task),
                Err(error) => self.toasts.refused(&error),
            }
        });
    }

    fn refusal(self, row: &Row, error: &ApiError) -> String {
        let name = row.summary.with_untracked(|summary| summary.name.to_string());
        self.locale.fill(text::FAILED_ACTION, &[("name", &name), ("why", &error.to_string())])
    }
}

/// Where the plain form of an action posts to.
fn path(action: Action) -> &'static str {
    match action {
        Action::Start => "/fn/containers/start",
        Action::Stop => "/fn/containers/stop",
        Action::Restart => "/fn/containers/restart",
        Action::Kill => "/fn/containers/kill",
        Action::Freeze => "/fn/containers/freeze",
        _ => "/fn/containers/unfreeze",
    }
}

/// Why the action is off in this state, in the interface's words.
#[must_use]
pub fn refusal(summary: &ContainerSummary, action: Action) -> Option<String> {
    summary.state.allows(action).err().map(str::to_owned)
}

/// A button that does one thing to one container: a form, so that it works before and without script.
#[component]
pub fn ActionButton(row: Row, action: Action, #[prop(optional)] compact: bool, #[prop(optional)] tone: Tone) -> impl IntoView {
    let (actions, locale) = (use_actions(), use_locale());
    let summary = row.summary.clone();
    let name = summary.with_untracked(|summary| summary.name.to_string());
    let off = Memo::new(move |_| summary.with(|summary| refusal(summary, action)));
    let label = locale.t(verb(action));
    let submit = move |event: web_sys::SubmitEvent| {
        event.prevent_default();
        if off.with_untracked(Option::is_none) {
            actions.run(&row, action);
        }
    };
    view! {
        <form method="post" action=path(action) on:submit=submit>
            <input type="hidden" name="name" value=name/>
            <button class=tone.class() class:button--compact=compact aria-label=compact.then_some(label)
                title=move || off.get().unwrap_or_else(|| label.to_owned())
                aria-disabled=move || off.with(Option::is_some).then_some("true") aria-description=move || off.get()>
                <Glyph icon=icon(action)/>
                {(!compact).then(|| view! { <span>{label}</span> })}
            </button>
        </form>
    }
}
