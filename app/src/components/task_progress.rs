//! How far a task is: phase, amount of total, rate and time left. An unknown length is drawn as unknown, and 100 % only
//! when the task is done.

use leptos::prelude::*;
use model::number;
use model::task::{Progress, Task, TaskState};

use crate::format::{Locale, use_locale};
use crate::i18n::Text;
use crate::i18n::frame as text;
use crate::live::use_live;

use super::moment::Ago;

/// The word for a phase.
#[must_use]
pub fn phase(id: &str) -> Text {
    match id {
        "resolve" => text::PHASE_RESOLVE,
        "download" => text::PHASE_DOWNLOAD,
        "verify" => text::PHASE_VERIFY,
        "unpack" => text::PHASE_UNPACK,
        "refresh" => text::PHASE_REFRESH,
        "network" => text::PHASE_NETWORK,
        "build" => text::PHASE_BUILD,
        "create" => text::PHASE_CREATE,
        "start" => text::PHASE_START,
        "stop" => text::PHASE_STOP,
        "delete" | "purge" => text::PHASE_DELETE,
        _ => text::PHASE_WORK,
    }
}

/// The word for a kind of task; unknown kinds keep their own name.
#[must_use]
pub fn kind(locale: Locale, kind: &str) -> String {
    let known = match kind {
        "container.create" => text::KIND_CREATE,
        "container.start" => text::KIND_START,
        "container.stop" => text::KIND_STOP,
        "container.kill" => text::KIND_KILL,
        "container.restart" => text::KIND_RESTART,
        "container.freeze" => text::KIND_FREEZE,
        "container.unfreeze" => text::KIND_UNFREEZE,
        "container.delete" => text::KIND_DELETE,
        "container.purge" | "trash.purge" => text::KIND_PURGE,
        "container.restore" | "trash.restore" => text::KIND_RESTORE,
        "trash.empty" => text::KIND_EMPTY,
        "template.download" => text::KIND_DOWNLOAD,
        "template.import" | "template.upload" => text::KIND_IMPORT,
        "source.refresh" | "template.refresh" | "sources.refresh" => text::KIND_REFRESH,
        other => return other.to_owned(),
    };
    locale.t(known).to_owned()
}

/// The word for a state.
#[must_use]
pub fn state(state: TaskState) -> Text {
    match state {
        TaskState::Queued => text::QUEUED,
        TaskState::Running => text::RUNNING_TASK,
        TaskState::Done => text::DONE,
        TaskState::Failed => text::FAILED,
        TaskState::Cancelled => text::CANCELLED,
    }
}

/// Amount of total, rate and time left, as far as they are known.
#[must_use]
pub fn amounts(locale: Locale, progress: &Progress) -> String {
    if progress.unit != "bytes" {
        return progress.total.map_or_else(String::new, |total| {
            locale.fill(
                text::PROGRESS_OF,
                &[("done", &locale.integer(progress.done)), ("total", &locale.integer(total))],
            )
        });
    }
    let of = |total| locale.fill(text::PROGRESS_OF, &[("done", &locale.bytes(progress.done)), ("total", &locale.bytes(total))]);
    // A step that counts no bytes, such as a build, has done none.
    let done = || (progress.done > 0).then(|| locale.bytes(progress.done));
    let mut parts: Vec<String> = progress.total.map(of).or_else(done).into_iter().collect();
    parts.extend(progress.rate.map(|rate| locale.rate(rate)));
    let left = progress.eta_ms.and_then(|ms| i64::try_from(ms).ok());
    parts.extend(left.map(|ms| locale.fill(text::LEFT, &[("time", &locale.rough_duration(ms))])));
    parts.join(" · ")
}

/// The share done; `None` = not known. Only a finished task is at 1.
#[must_use]
#[expect(clippy::cast_precision_loss, reason = "a share for a bar")]
pub fn share(task: &Task) -> Option<f64> {
    match task.state {
        TaskState::Done => Some(1.0),
        TaskState::Failed | TaskState::Cancelled => Some(0.0),
        TaskState::Queued | TaskState::Running => {
            let total = task.progress.total.filter(|total| *total > 0)?;
            Some((task.progress.done as f64 / total as f64).min(0.99))
        }
    }
}

/// Words and bar of one task.
#[component]
pub fn TaskProgress(#[prop(into)] task: Signal<Task>) -> impl IntoView {
    let locale = use_locale();
    let words = Memo::new(move |_| {
        task.with(|task| {
            let doing = if task.state == TaskState::Running {
                phase(&task.progress.phase)
            } else {
                state(task.state)
            };
            let amounts = if task.state.is_over() {
                String::new()
            } else {
                amounts(locale, &task.progress)
            };
            (locale.t(doing), amounts, task.progress.note.clone().filter(|_| !task.state.is_over()))
        })
    });
    let value = Memo::new(move |_| task.with(share).map(|share| number::fixed(share, 3)));
    view! {
        <div class="task-progress" data-state=move || if task.with(|task| task.state == TaskState::Failed) { "failed" } else { "normal" }>
            <div class="task-progress__words">
                <span>{move || words.get().0}</span>
                <span class="number muted">{move || words.get().1}</span>
            </div>
            <progress max="1" value=move || value.get() aria-label=move || words.get().0></progress>
            {move || words.get().2.map(|note| view! { <p class="muted">{note}</p> })}
            {move || task.with(|task| task.error.clone()).map(|error| view! {
                <p class="task-progress__error">{error.message}</p>
                {error.hint.map(|hint| view! { <p class="muted">{hint}</p> })}
            })}
        </div>
    }
}

/// One task, followed by the stream.
#[component]
pub fn TaskRow(id: model::TaskId) -> impl IntoView {
    let (locale, live) = (use_locale(), use_live());
    let task = live.tasks.with_untracked(|tasks| tasks.get(&id).cloned());
    task.map(|task| {
        let first = task.get_untracked();
        view! {
            <li class="card">
                <div class="task-list__head">
                    <a href=format!("/tasks/{id}")><strong>{kind(locale, &first.kind)}</strong>" "<bdi>{first.target}</bdi></a>
                    <span class="muted">{locale.fill(crate::i18n::containers::BY_USER, &[("user", &first.user)])}", "<Ago at=first.created_at/></span>
                </div>
                <TaskProgress task=Signal::derive(move || task.get())/>
            </li>
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_that_counts_no_bytes_tells_none() {
        let at = |done, total| Progress {
            unit: "bytes".into(),
            done,
            total,
            ..Progress::default()
        };
        let words = |progress| amounts(Locale::default(), &progress);
        assert_eq!(words(at(0, None)), "");
        assert_eq!(words(at(1024, None)), Locale::default().bytes(1024));
        assert_eq!(words(at(0, Some(2048))), "0\u{a0}B of 2\u{a0}KiB");
    }
}
