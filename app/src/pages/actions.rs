//! Doing something to a container from any page: the press shows at once, the server decides, a refusal restores the row
//! and says why.

use std::sync::{Arc, Mutex, PoisonError};

use leptos::prelude::*;
use leptos::task::spawn_local;
use model::container::Action;
use model::task::{Task, TaskState};
use model::{ContainerState, ContainerSummary};

use crate::api::{ApiError, containers as api};
use crate::components::button::Tone;
use crate::components::icon::{Glyph, Icon};
use crate::components::toast::{Toasts, use_toasts};
use crate::format::{Locale, use_locale};
use crate::i18n::Text;
use crate::i18n::containers as text;
use crate::i18n::frame::CANCELLED;
use crate::i18n::reasons::{self, answer};
use crate::live::stream::now_ms as browser_ms;
use crate::live::{Live, Row, use_live};

mod batch;
mod offers;

use batch::{Batch, Outcome};
use offers::Offer;

/// How long a deletion can be undone from its message (ui.md rule 7: at least 10 s).
const UNDO_MS: i64 = 12_000;

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
        Action::Rename => text::RENAME,
        Action::Update => text::APPLY,
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
async fn ask(action: Action, name: String) -> Result<Task, ApiError> {
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

/// Shows the press at once; what was shown before is given back.
fn show_expected(row: &Row, action: Action) -> ContainerSummary {
    let before = row.summary.get_untracked();
    if let Some(state) = expected(action) {
        row.summary.update(|summary| summary.state = state);
    }
    before
}

impl Actions {
    /// Does it to one container.
    pub fn run(self, row: &Row, action: Action) {
        let (row, before) = (row.clone(), show_expected(row, action));
        spawn_local(async move {
            match press(&row, action, before).await {
                Ok(task) => self.follow(task, &row, action),
                Err(error) => self.toasts.failed(self.refusal(&row, &error)),
            }
        });
    }

    /// Does it to many at the same time. The outcome is told when the last of them is over, also to who has left the page
    /// meanwhile.
    pub fn run_all(self, rows: Vec<Row>, action: Action) {
        let batch = Arc::new(Mutex::new(Batch::new(rows.len())));
        for row in rows {
            let (batch, before) = (Arc::clone(&batch), show_expected(&row, action));
            spawn_local(async move {
                match press(&row, action, before).await {
                    Ok(task) => self.await_end(task, batch, row, action),
                    Err(error) => self.report(&batch, &row, action, Some(answer(self.locale, &error))),
                }
            });
        }
    }

    fn await_end(self, task: Task, batch: Arc<Mutex<Batch<Row>>>, row: Row, action: Action) {
        let id = task.id;
        self.live.seed_task(task);
        let over = move |task: Task| {
            let failure = match task.error {
                Some(error) => Some(error.message),
                None => (task.state != TaskState::Done).then(|| self.locale.t(CANCELLED).to_owned()),
            };
            self.report(&batch, &row, action, failure);
        };
        self.live.when_over(id, Callback::new(over));
    }

    fn report(self, batch: &Mutex<Batch<Row>>, row: &Row, action: Action, failure: Option<String>) {
        let name = row.summary.with_untracked(|summary| summary.name.to_string());
        let outcome = batch.lock().unwrap_or_else(PoisonError::into_inner).report(row.clone(), &name, failure);
        if let Some(outcome) = outcome {
            self.tell(outcome, action);
        }
    }

    /// One message for what went well, or one for each cause with a second try.
    fn tell(self, outcome: Outcome<Row>, action: Action) {
        let is_start = action == Action::Start;
        if outcome.failed.is_empty() {
            let words = if is_start { text::STARTED_N } else { text::STOPPED_N };
            return self.toasts.done(self.locale.count(words, outcome.done));
        }
        for (place, failed) in outcome.failed.into_iter().enumerate() {
            let words = match (place, is_start) {
                (0, true) => text::STARTED_SOME,
                (0, false) => text::STOPPED_SOME,
                _ => text::FAILED_SOME,
            };
            let (done, count) = (self.locale.integer(outcome.done), self.locale.integer(failed.items.len() as u64));
            let values = [("done", done.as_str()), ("failed", &count), ("names", &failed.names()), ("why", &failed.cause)];
            let text = self.locale.fill(words, &values);
            let retry = Callback::new(move |is_wanted| {
                if is_wanted {
                    self.run_all(able(&failed.items, action), action);
                }
            });
            self.toasts.retryable(text, retry);
        }
    }

    /// Tells the outcome once the task is over: a failure with its hint, a deletion with "Undo".
    fn follow(self, task: Task, row: &Row, action: Action) {
        let (id, name) = (task.id, row.summary.with_untracked(|summary| summary.name.to_string()));
        self.live.seed_task(task);
        if matches!(action, Action::Delete | Action::ForceDelete) {
            let offer = Offer {
                id: row.id,
                name,
                task: id,
                until_ms: None,
            };
            offers::keep(&offer);
            return self.follow_deletion(offer, i64::MIN);
        }
        self.live.when_over(id, Callback::new(move |task: Task| self.tell_failure(&name, &task)));
    }

    /// Offers to undo a deletion once it is done. One that was over before `since_ms`, by the server's clock, is no news.
    fn follow_deletion(self, offer: Offer, since_ms: i64) {
        let task_id = offer.task;
        let outcome = move |task: Task| {
            let is_news = task.ended_at.is_none_or(|at| at.ms >= since_ms);
            if is_news && task.state == TaskState::Done {
                return self.offer_undo(offer.clone(), browser_ms() + UNDO_MS);
            }
            offers::forget(offer.id);
            if is_news {
                self.tell_failure(&offer.name, &task);
            }
        };
        self.live.when_over(task_id, Callback::new(outcome));
    }

    fn offer_undo(self, offer: Offer, until_ms: i64) {
        let (id, left_ms) = (offer.id, (until_ms - browser_ms()).min(UNDO_MS));
        let text = self.locale.fill(text::DELETED, &[("name", &offer.name)]);
        offers::keep(&Offer {
            until_ms: Some(until_ms),
            ..offer
        });
        let over = Callback::new(move |is_wanted| {
            offers::forget(id);
            if is_wanted {
                self.undo_delete(id);
            }
        });
        self.toasts.undoable(text, over, i32::try_from(left_ms).unwrap_or_default());
    }

    /// Goes on with the offers of the page before, on one that was made at this moment.
    pub fn take_up(self, made_ms: i64) {
        for offer in offers::all() {
            match offer.until_ms {
                None => self.follow_deletion(offer, made_ms - UNDO_MS),
                Some(until_ms) if until_ms > browser_ms() => self.offer_undo(offer, until_ms),
                Some(_) => offers::forget(offer.id),
            }
        }
    }

    fn tell_failure(self, name: &str, task: &Task) {
        let Some(error) = &task.error else { return };
        let why = error
            .hint
            .as_ref()
            .map_or_else(|| error.message.clone(), |hint| format!("{}; {hint}", error.message));
        self.toasts.failed(self.locale.fill(text::FAILED_ACTION, &[("name", name), ("why", &why)]));
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
        self.locale.fill(text::FAILED_ACTION, &[("name", &name), ("why", &answer(self.locale, error))])
    }
}

/// Asks the server; a refusal restores the row.
async fn press(row: &Row, action: Action, before: ContainerSummary) -> Result<Task, ApiError> {
    let answer = ask(action, before.name.to_string()).await;
    if answer.is_err() {
        row.summary.try_set(before);
    }
    answer
}

/// Those of the rows that this can be done to now.
#[must_use]
pub fn able(rows: &[Row], action: Action) -> Vec<Row> {
    let may = |row: &&Row| row.summary.with_untracked(|summary| summary.state.allows(action).is_ok());
    rows.iter().filter(may).cloned().collect()
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
pub fn refusal(locale: Locale, summary: &ContainerSummary, action: Action) -> Option<String> {
    summary.state.allows(action).err().map(|reason| locale.t(reasons::refusal(reason)).to_owned())
}

/// A button that does one thing to one container: a form, so that it works before and without script.
#[component]
pub fn ActionButton(row: Row, action: Action, #[prop(optional)] compact: bool, #[prop(optional)] tone: Tone) -> impl IntoView {
    let (actions, locale) = (use_actions(), use_locale());
    let summary = row.summary.clone();
    let name = summary.with_untracked(|summary| summary.name.to_string());
    let off = Memo::new(move |_| summary.with(|summary| refusal(locale, summary, action)));
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
