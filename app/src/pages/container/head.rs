//! The head of a container's page: state, uptime, what may be done now, and what went wrong.

use leptos::prelude::*;
use model::container::{Action, ExitReason};
use model::task::Task;
use model::{ContainerState, Permission};

use super::rename::RenameQuestion;
use crate::api::containers::tries_to_start;
use crate::bundle::Bundle;
use crate::components::button::{Button, Tone};
use crate::components::dialog::Dialog;
use crate::components::icon::Icon;
use crate::components::menu::Menu;
use crate::components::moment::{Ago, Since};
use crate::components::state_badge::StateBadge;
use crate::components::task_progress::TaskProgress;
use crate::format::use_locale;
use crate::i18n::containers as text;
use crate::i18n::frame::MENU;
use crate::live::{Row, use_live};
use crate::page_context::use_may;
use crate::pages::actions::{ActionButton, refusal, use_actions, verb};
use crate::pages::container_exit::exit_words;
use crate::pages::tasks::CancelButton;

/// State, uptime, template.
#[component]
pub fn StateLine(row: Row) -> impl IntoView {
    let locale = use_locale();
    let summary = row.summary;
    let state = {
        let summary = summary.clone();
        Memo::new(move |_| summary.with(|summary| summary.state))
    };
    let degraded = {
        let summary = summary.clone();
        Memo::new(move |_| summary.with(|summary| summary.degraded))
    };
    let since = {
        let summary = summary.clone();
        Memo::new(move |_| summary.with(|summary| summary.started_at.filter(|_| summary.state.is_live())))
    };
    let template = summary.with_untracked(|summary| summary.template.as_ref().map(|template| template.reference.to_string()));
    view! {
        <StateBadge state=state degraded=degraded/>
        {move || since.get().map(|at| view! { <span class="muted">{locale.t(text::UPTIME)}" "<Since at=at/></span> })}
        {template.map(|template| view! { <span class="muted"><bdi>{template}</bdi></span> })}
    }
}

/// Start, stop, restart as buttons; the rest in a menu.
#[component]
pub fn HeadActions(row: Row) -> impl IntoView {
    let locale = use_locale();
    if !use_may(Permission::Containers) {
        return ().into_any();
    }
    let (is_deleting, is_killing, is_renaming) = (RwSignal::new(false), RwSignal::new(false), RwSignal::new(false));
    let summary = row.summary.clone();
    let is_creating = {
        let summary = summary.clone();
        Memo::new(move |_| summary.with(|summary| summary.state == ContainerState::Creating))
    };
    let is_down = Memo::new(move |_| summary.with(|summary| matches!(summary.state, ContainerState::Stopped | ContainerState::Error)));
    let (first, menu) = (row.clone(), row.clone());
    view! {
        {move || if is_creating.get() {
            // Its task stands below, with the way to cancel it.
            ().into_any()
        } else if is_down.get() {
            view! { <ActionButton row=first.clone() action=Action::Start tone=Tone::Primary/> }.into_any()
        } else {
            view! { <ActionButton row=first.clone() action=Action::Stop/><ActionButton row=first.clone() action=Action::Restart/> }.into_any()
        }}
        <Menu label=locale.t(MENU)>
            <ActionButton row=menu.clone() action=Action::Freeze tone=Tone::Quiet/>
            <ActionButton row=menu.clone() action=Action::Unfreeze tone=Tone::Quiet/>
            <Asking row=menu.clone() action=Action::Rename open=is_renaming/>
            <Asking row=menu.clone() action=Action::Kill open=is_killing/>
            <Asking row=menu action=Action::ForceDelete open=is_deleting/>
        </Menu>
        <RenameQuestion row=row.clone() open=is_renaming/>
        <KillQuestion row=row.clone() open=is_killing/>
        <DeleteQuestion row=row open=is_deleting/>
    }
    .into_any()
}

/// A menu entry that asks first.
#[component]
fn Asking(row: Row, action: Action, open: RwSignal<bool>) -> impl IntoView {
    let locale = use_locale();
    let (icon, tone) = match action {
        Action::Kill => (Icon::Kill, Tone::Danger),
        Action::Rename => (Icon::Rename, Tone::Quiet),
        _ => (Icon::Delete, Tone::Danger),
    };
    let off = Signal::derive(move || row.summary.with(|summary| refusal(locale, summary, action)));
    view! { <Button label=locale.t(verb(action)).to_owned() icon=icon tone=tone off=off on_press=move |()| open.set(true)/> }
}

#[component]
fn KillQuestion(row: Row, open: RwSignal<bool>) -> impl IntoView {
    let (locale, actions) = (use_locale(), use_actions());
    let name = row.summary.with_untracked(|summary| summary.name.to_string());
    let title = locale.fill(text::KILL_TITLE, &[("name", &name)]);
    view! {
        <Dialog open=open title=title.clone() confirm=title tone=Tone::Danger on_confirm=move |()| actions.run(&row, Action::Kill)>
            <p>{locale.t(text::KILL_TEXT)}</p>
        </Dialog>
    }
}

/// Delete moves to the trash, so it names what happens and asks no more.
#[component]
fn DeleteQuestion(row: Row, open: RwSignal<bool>) -> impl IntoView {
    let (locale, actions) = (use_locale(), use_actions());
    let navigate = leptos_router::hooks::use_navigate();
    let name = row.summary.with_untracked(|summary| summary.name.to_string());
    let title = locale.fill(text::DELETE_TITLE, &[("name", &name)]);
    let summary = row.summary.clone();
    let is_live = Memo::new(move |_| summary.with(|summary| summary.state.is_live()));
    let delete = move |()| {
        let action = if is_live.get_untracked() { Action::ForceDelete } else { Action::Delete };
        actions.run(&row, action);
        // Elsewhere the page stays: the list would be loaded, which ends a request that is still on its way.
        if Bundle::Containers.is_here() {
            navigate("/containers", leptos_router::NavigateOptions::default());
        }
    };
    view! {
        <Dialog open=open title=title.clone() confirm=title tone=Tone::Danger on_confirm=delete>
            <p>{locale.t(text::DELETE_TEXT)}</p>
            {move || is_live.get().then(|| view! { <p><strong>{locale.t(text::DELETE_RUNNING)}</strong></p> })}
        </Dialog>
    }
}

/// What a person should know before anything else: the running task, a stop that waits, a run that ended badly.
#[component]
pub fn Notices(row: Row) -> impl IntoView {
    let (locale, live) = (use_locale(), use_live());
    let summary = row.summary.clone();
    let task = Memo::new(move |_| {
        summary
            .with(|summary| summary.task)
            .and_then(|id| live.task(id))
            .filter(|task| !task.state.is_over())
    });
    let running = Memo::new(move |_| task.with(|task| task.as_ref().map(|task| task.id)));
    let may = use_may(Permission::Containers);
    let (stopping, ended) = (row.clone(), row);
    let card = move |first: Task| {
        let shown = Memo::new(move |_| task.get().unwrap_or_else(|| first.clone()));
        view! {
            <div class="card stack">
                <TaskProgress task=shown/>
                <div class="row">
                    <a href=format!("/tasks/{}", shown.with_untracked(|task| task.id))>{locale.t(text::OPEN_TASK)}</a>
                    {move || (may && shown.with(|task| task.cancellable)).then(|| view! { <CancelButton task=shown/> })}
                </div>
            </div>
        }
    };
    view! {
        {move || running.get().and_then(|_| task.get_untracked()).map(card)}
        <Stopping row=stopping/>
        <LastExit row=ended/>
    }
}

/// The countdown of a graceful stop, with Kill at hand.
#[component]
fn Stopping(row: Row) -> impl IntoView {
    let (locale, live, actions) = (use_locale(), use_live(), use_actions());
    let summary = row.summary.clone();
    let is_stopping = Memo::new(move |_| summary.with(|summary| summary.state == ContainerState::Stopping));
    let summary = row.summary.clone();
    let words = Memo::new(move |_| {
        let left_ms = summary.with(|summary| summary.stop_deadline).map(|at| at.ms - live.now_ms.get());
        match left_ms {
            Some(ms) if ms > 0 => locale.fill(text::STOP_COUNTDOWN, &[("time", &locale.duration(ms))]),
            _ => locale.t(text::STOP_TIMED_OUT).to_owned(),
        }
    });
    view! {
        <Show when=move || is_stopping.get()>
            {
                let row = row.clone();
                view! {
                    <div class="notice" data-tone="progress">
                        <p>{move || words.get()}</p>
                        {use_may(Permission::Containers).then(|| view! {
                            <Button label=locale.t(text::KILL).to_owned() icon=Icon::Kill tone=Tone::Danger on_press=move |()| actions.run(&row, Action::Kill)/>
                        })}
                    </div>
                }
            }
        </Show>
    }
}

/// How the last run ended, when it did not end as asked; of a start that failed also the way out.
#[component]
fn LastExit(row: Row) -> impl IntoView {
    let (locale, live) = (use_locale(), use_live());
    let name = row.summary.with_untracked(|summary| summary.name.to_string());
    let exit = Memo::new(move |_| row.summary.with(|summary| summary.last_exit.clone().filter(|_| !summary.state.is_live())));
    let hint = Memo::new(move |_| {
        let is_failed_start = exit.with(|exit| exit.as_ref().is_some_and(|exit| exit.reason == ExitReason::StartFailed));
        let is_start = |task: &Task| tries_to_start(&task.kind);
        is_failed_start
            .then(|| live.newest_task(&name, is_start))
            .flatten()
            .and_then(|task| task.error?.hint)
    });
    move || {
        exit.get().map(|exit| {
            view! {
                <div class="notice" data-tone="failed">
                    <p><strong>{locale.t(text::LAST_EXIT)}</strong>" "<Ago at=exit.at/>": "{exit_words(locale, &exit)}</p>
                    {move || hint.get().map(|hint| view! { <p class="muted">{hint}</p> })}
                </div>
            }
        })
    }
}
