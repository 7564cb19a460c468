//! Running tasks, as they go.

use leptos::prelude::*;
use model::task::Task;

use crate::api::containers as functions;
use crate::api::fetched::Fetched;
use crate::components::page_frame::Loaded;
use crate::components::task_progress::TaskRow;
use crate::format::use_locale;
use crate::i18n::containers as text;
use crate::live::use_live;

/// The card.
#[component]
pub fn RunningTasks() -> impl IntoView {
    let locale = use_locale();
    let tasks = Fetched::new(|| (), |()| functions::running_tasks());
    view! {
        <section class="card">
            <h2>{locale.t(text::RUNNING_TASKS)}</h2>
            <Loaded resource=tasks full=|tasks| view! { <Running tasks=tasks/> }.into_any()/>
        </section>
    }
}

#[component]
fn Running(tasks: Vec<Task>) -> impl IntoView {
    let (locale, live) = (use_locale(), use_live());
    for task in tasks {
        live.seed_task(task);
    }
    let running = Memo::new(move |_| {
        live.tasks.with(|tasks| {
            tasks
                .values()
                .filter_map(|task| task.with(|task| (!task.state.is_over()).then_some(task.id)))
                .collect::<Vec<_>>()
        })
    });
    view! {
        <Show when=move || running.with(|running| !running.is_empty()) fallback=move || view! { <p class="muted">{locale.t(text::NOTHING_RUNS)}</p> }>
            <ul class="task-list">
                <For each=move || running.get() key=|id| *id let:id><TaskRow id=id/></For>
            </ul>
        </Show>
    }
}
