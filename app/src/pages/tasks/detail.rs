//! One task: how far it is, what went wrong, who started it, its log, and the way to stop it.

use leptos::prelude::*;
use leptos::task::spawn_local;
use model::task::{ProgressPart, Task};
use model::{ErrorCode, Permission, TaskId};

use super::log::TaskLog;
use crate::api::fetched::Fetched;
use crate::api::{self, tasks as functions};
use crate::components::button::{LinkButton, Tone};
use crate::components::copy::Copyable;
use crate::components::error_note::ErrorNote;
use crate::components::icon::{Glyph, Icon};
use crate::components::moment::{Ago, Since};
use crate::components::page_frame::{Empty, PageFrame, Skeleton, drawn_once};
use crate::components::task_progress::{TaskProgress, kind, state};
use crate::components::toast::use_toasts;
use crate::format::use_locale;
use crate::i18n::frame::TASKS;
use crate::i18n::upkeep as text;
use crate::live::use_live;
use crate::page_context::use_may;

/// The page of one task.
#[component]
pub fn TaskPage(id: TaskId) -> impl IntoView {
    let locale = use_locale();
    let live = use_live();
    let task = Fetched::new(move || live.resyncs.get(), move |_| functions::show(id));
    view! {
        <Transition fallback=|| view! { <Skeleton/> }>
            {move || drawn_once(task, move |answer| match answer {
                Ok(task) => view! { <Followed task=task/> }.into_any(),
                Err(error) if error.code() == ErrorCode::NotFound => view! { <NoSuchTask/> }.into_any(),
                Err(error) => {
                    api::set_status(error.code());
                    let title = locale.t(TASKS).to_owned();
                    view! { <PageFrame title=title><ErrorNote error=error on_retry=move |()| task.refetch()/></PageFrame> }.into_any()
                }
            })}
        </Transition>
    }
}

/// Absent, forgotten or misspelt.
#[component]
pub fn NoSuchTask() -> impl IntoView {
    let locale = use_locale();
    api::set_status(ErrorCode::NotFound);
    view! {
        <PageFrame title=locale.t(text::NO_SUCH_TASK).to_owned()>
            <Empty title=locale.t(text::NO_SUCH_TASK_HINT)><LinkButton href="/tasks" label=locale.t(text::TO_TASKS)/></Empty>
        </PageFrame>
    }
}

#[component]
fn Followed(task: Task) -> impl IntoView {
    let (locale, live) = (use_locale(), use_live());
    let id = task.id;
    live.seed_task(task.clone());
    let title = locale.fill(text::TASK_TITLE, &[("kind", &kind(locale, &task.kind)), ("target", &task.target)]);
    let first = task.clone();
    let task = Memo::new(move |_| live.task(id).unwrap_or_else(|| first.clone()));
    let is_over = Memo::new(move |_| task.with(|task| task.state.is_over()));
    let state_line = move || view! { <span class="muted">{move || task.with(|task| locale.t(state(task.state)))}</span> };
    let actions = move || use_may(Permission::Containers).then(|| view! { <CancelButton task=task/> });
    view! {
        <PageFrame title=title state=ViewFn::from(state_line) actions=ViewFn::from(actions)>
            <section class="card stack">
                <TaskProgress task=task/>
                <Parts task=task/>
            </section>
            <Facts task=task/>
            <TaskLog id=id is_over=is_over/>
            <p><a href="/tasks">{locale.t(text::TO_TASKS)}</a></p>
        </PageFrame>
    }
}

/// A form, so that it works without script. While the task is over it is off and says so.
#[component]
pub fn CancelButton(task: Memo<Task>) -> impl IntoView {
    let (locale, live, toasts) = (use_locale(), use_live(), use_toasts());
    let id = task.with_untracked(|task| task.id);
    let is_asked = RwSignal::new(false);
    let off = Memo::new(move |_| (is_asked.get() || task.with(|task| task.state.is_over() || !task.cancellable)).then(|| locale.t(text::NOT_CANCELLABLE)));
    let submit = move |event: web_sys::SubmitEvent| {
        event.prevent_default();
        if off.get_untracked().is_some() {
            return;
        }
        is_asked.set(true);
        spawn_local(async move {
            match functions::cancel(id).await {
                Ok(task) => {
                    live.seed_task(task);
                    toasts.done(locale.t(text::CANCEL_ASKED));
                }
                Err(error) => {
                    is_asked.try_set(false);
                    toasts.refused(&error);
                }
            }
        });
    };
    view! {
        <Show when=move || !task.with(|task| task.state.is_over())>
            <form method="post" action="/fn/tasks/cancel" on:submit=submit>
                <input type="hidden" name="id" value=id.to_string()/>
                <button class=Tone::Danger.class() title=move || off.get() aria-disabled=move || off.get().map(|_| "true") aria-description=move || off.get()>
                    <Glyph icon=Icon::Close/>
                    <span>{locale.t(text::CANCEL_TASK)}</span>
                </button>
            </form>
        </Show>
    }
}

/// One bar per file of a download.
#[component]
fn Parts(task: Memo<Task>) -> impl IntoView {
    let locale = use_locale();
    let names = Memo::new(move |_| task.with(|task| task.progress.parts.iter().map(|part| part.name.clone()).collect::<Vec<_>>()));
    let row = move |name: String| {
        let find = {
            let name = name.clone();
            move || task.with(|task| task.progress.parts.iter().find(|part| part.name == name).cloned())
        };
        let part = Memo::new(move |_| find());
        let words = move || part.get().map(|part| amount(locale, &part));
        let total = move || part.get().and_then(|part| part.total).filter(|total| *total > 0).map(|total| total.to_string());
        let done = move || {
            part.get()
                .filter(|part| part.total.is_some_and(|total| total > 0))
                .map(|part| part.done.to_string())
        };
        view! {
            <li class="task-part">
                <div class="task-progress__words"><bdi>{name.clone()}</bdi><span class="number muted">{words}</span></div>
                <progress max=total value=done aria-label=name></progress>
            </li>
        }
    };
    view! {
        <Show when=move || names.with(|names| names.len() > 1)>
            <h2>{locale.t(text::FILES)}</h2>
            <ul class="plain-list">{move || names.get().into_iter().map(row).collect_view()}</ul>
        </Show>
    }
}

fn amount(locale: crate::format::Locale, part: &ProgressPart) -> String {
    let done = locale.bytes(part.done);
    match part.total {
        Some(total) => locale.fill(crate::i18n::frame::PROGRESS_OF, &[("done", &done), ("total", &locale.bytes(total))]),
        None => done,
    }
}

#[component]
fn Facts(task: Memo<Task>) -> impl IntoView {
    let locale = use_locale();
    let first = task.get_untracked();
    let ended_at = Memo::new(move |_| task.with(|task| task.ended_at));
    let time = move || match ended_at.get() {
        Some(at) => view! {
            <dt>{locale.t(text::ENDED)}</dt><dd><Ago at=at/></dd>
            <dt>{locale.t(text::TOOK)}</dt><dd class="number">{locale.duration(at.ms - first.created_at.ms)}</dd>
        }
        .into_any(),
        None => view! { <dt>{locale.t(text::RUNS_FOR)}</dt><dd class="number"><Since at=first.created_at/></dd> }.into_any(),
    };
    let target = first.target.clone();
    let works_on = if first.kind.starts_with("container.") {
        let href = format!("/containers/{target}");
        view! { <a href=href><bdi>{target}</bdi></a> }.into_any()
    } else {
        view! { <bdi>{target}</bdi> }.into_any()
    };
    view! {
        <section class="card">
            <dl class="facts">
                <dt>{locale.t(text::WORKS_ON)}</dt><dd>{works_on}</dd>
                <dt>{locale.t(text::STARTED_BY)}</dt><dd><bdi>{first.user}</bdi></dd>
                <dt>{locale.t(text::STARTED)}</dt><dd><Ago at=first.created_at/></dd>
                {time}
                <dt>{locale.t(text::ID)}</dt><dd><Copyable value=first.id.to_string() shown=first.id.short()/></dd>
            </dl>
        </section>
    }
}
