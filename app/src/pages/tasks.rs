//! Long operations: all of them, or those that run or failed, and one with its log. The lists follow the event stream.

use leptos::prelude::*;
use leptos_router::hooks::{use_params_map, use_query_map};
use model::TaskId;
use model::task::{Task, TaskState};

use crate::api::fetched::Fetched;
use crate::api::tasks as functions;
use crate::components::button::LinkButton;
use crate::components::page_frame::{Empty, Loaded, PageFrame};
use crate::components::task_progress::TaskRow;
use crate::format::use_locale;
use crate::i18n::Text;
use crate::i18n::frame::TASKS;
use crate::i18n::upkeep as text;
use crate::live::{Live, use_live};

mod detail;
mod log;

pub use detail::CancelButton;

/// Which tasks the address asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Shown {
    #[default]
    All,
    Running,
    Failed,
}

impl Shown {
    const ALL: [Self; 3] = [Self::All, Self::Running, Self::Failed];

    fn of_query(value: &str) -> Self {
        match value {
            "running" => Self::Running,
            "failed" => Self::Failed,
            _ => Self::All,
        }
    }

    fn href(self) -> &'static str {
        match self {
            Self::All => "/tasks",
            Self::Running => "/tasks?show=running",
            Self::Failed => "/tasks?show=failed",
        }
    }

    fn label(self) -> Text {
        match self {
            Self::All => text::ALL,
            Self::Running => text::ONLY_RUNNING,
            Self::Failed => text::ONLY_FAILED,
        }
    }

    fn includes(self, state: TaskState) -> bool {
        match self {
            Self::All => true,
            Self::Running => !state.is_over(),
            Self::Failed => state == TaskState::Failed,
        }
    }
}

/// The page: the list, or one task where the address names it.
#[component]
pub fn TasksPage() -> impl IntoView {
    let params = use_params_map();
    let id = Memo::new(move |_| params.with(|params| params.get("id")));
    move || match id.get().map(|id| id.parse::<TaskId>()) {
        None => view! { <TaskList/> }.into_any(),
        Some(Ok(id)) => view! { <detail::TaskPage id=id/> }.into_any(),
        Some(Err(_)) => view! { <detail::NoSuchTask/> }.into_any(),
    }
}

#[component]
fn TaskList() -> impl IntoView {
    let (locale, live) = (use_locale(), use_live());
    let list = Fetched::new(move || live.resyncs.get(), |_| functions::list());
    let running = Memo::new(move |_| ids(live, Shown::Running).len() as u64);
    // Nothing is said before the list is there.
    let state = move || {
        Some(running.get())
            .filter(|running| *running > 0)
            .map(|running| locale.count(text::TASKS_RUNNING_N, running))
    };
    view! {
        <PageFrame title=locale.t(TASKS).to_owned() state=ViewFn::from(move || state)>
            <Filters/>
            <Loaded resource=list full=|tasks| view! { <Tasks tasks=tasks/> }.into_any()/>
        </PageFrame>
    }
}

/// Links, so that the choice is in the address and works without script.
#[component]
fn Filters() -> impl IntoView {
    let locale = use_locale();
    let shown = use_shown();
    let link = move |choice: Shown| {
        let current = move || (shown.get() == choice).then_some("page");
        view! { <a href=choice.href() aria-current=current>{locale.t(choice.label())}</a> }
    };
    view! { <nav class="tabs" aria-label=locale.t(text::FILTER_TASKS)>{Shown::ALL.map(link).collect_view()}</nav> }
}

fn use_shown() -> Memo<Shown> {
    let query = use_query_map();
    Memo::new(move |_| query.with(|query| Shown::of_query(query.get_str("show").unwrap_or_default())))
}

#[component]
fn Tasks(tasks: Vec<Task>) -> impl IntoView {
    let live = use_live();
    for task in tasks {
        live.seed_task(task);
    }
    let choice = use_shown();
    let shown = Memo::new(move |_| ids(live, choice.get()));
    view! {
        <Show when=move || shown.with(|shown| !shown.is_empty()) fallback=move || view! { <NoTask choice=choice/> }>
            <ul class="task-list">
                <For each=move || shown.get() key=|id| *id let:id><TaskRow id=id/></For>
            </ul>
        </Show>
    }
}

/// What is not over first, then the newest.
fn ids(live: Live, choice: Shown) -> Vec<TaskId> {
    let mut found: Vec<(bool, i64, TaskId)> = live.tasks.with(|tasks| {
        let entry = |task: &Task| choice.includes(task.state).then_some((task.state.is_over(), -task.created_at.ms, task.id));
        tasks.values().filter_map(|task| task.with(entry)).collect()
    });
    found.sort_unstable();
    found.into_iter().map(|(_, _, id)| id).collect()
}

#[component]
fn NoTask(choice: Memo<Shown>) -> impl IntoView {
    let locale = use_locale();
    let all = move || view! { <LinkButton href=Shown::All.href() label=locale.t(text::SHOW_ALL)/> };
    move || match choice.get() {
        Shown::All => view! { <Empty title=locale.t(text::NO_TASK_YET) hint=locale.t(text::NO_TASK_YET_HINT)/> }.into_any(),
        Shown::Running => view! { <Empty title=locale.t(text::NO_TASK_RUNS)>{all()}</Empty> }.into_any(),
        Shown::Failed => view! { <Empty title=locale.t(text::NO_TASK_FAILED)>{all()}</Empty> }.into_any(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_chooses_and_says_it_back() {
        for choice in Shown::ALL {
            let value = choice.href().split_once('=').map_or("", |(_, value)| value);
            assert_eq!(Shown::of_query(value), choice);
        }
        assert!(Shown::Running.includes(TaskState::Queued));
        assert!(!Shown::Running.includes(TaskState::Failed));
        assert!(!Shown::Failed.includes(TaskState::Cancelled));
    }
}
