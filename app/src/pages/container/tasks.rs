//! What was and is done with this container.

use leptos::prelude::*;
use model::task::Task;

use super::Subject;
use crate::api::containers as functions;
use crate::api::fetched::Fetched;
use crate::components::page_frame::{Empty, Loaded};
use crate::components::task_progress::TaskRow;
use crate::format::use_locale;
use crate::i18n::containers as text;
use crate::live::use_live;

/// The tab.
#[component]
pub fn TasksTab(subject: Subject) -> impl IntoView {
    let name = subject.name.clone();
    let list = Fetched::new(move || name.clone(), functions::tasks_of);
    view! { <Loaded resource=list full=move |tasks| view! { <Tasks name=subject.name.clone() tasks=tasks/> }.into_any()/> }
}

#[component]
fn Tasks(name: String, tasks: Vec<Task>) -> impl IntoView {
    let (locale, live) = (use_locale(), use_live());
    for task in tasks {
        live.seed_task(task);
    }
    let shown = Memo::new(move |_| {
        live.tasks.with(|tasks| {
            let mut found: Vec<(i64, model::TaskId)> = tasks
                .values()
                .filter_map(|task| task.with_untracked(|task| (task.target == name).then_some((-task.created_at.ms, task.id))))
                .collect();
            found.sort_unstable();
            found
        })
    });
    view! {
        <Show when=move || shown.with(|shown| !shown.is_empty()) fallback=move || view! { <Empty title=locale.t(text::NO_TASKS)/> }>
            <ul class="task-list">
                <For each=move || shown.get() key=|(_, id)| *id let:entry><TaskRow id=entry.1/></For>
            </ul>
        </Show>
    }
}
