//! One template: what it is, its size, whether it is here, its running download.

use leptos::prelude::*;
use leptos::task::spawn_local;
use model::task::TaskState;
use model::template::Template;
use model::{Permission, TaskId};

use super::Shelf;
use crate::api::{tasks, templates as functions};
use crate::components::button::{Button, LinkButton, Tone};
use crate::components::icon::Icon;
use crate::components::task_progress::TaskProgress;
use crate::format::use_locale;
use crate::i18n::supply as text;
use crate::page_context::use_may;
use crate::pages::container::create_with;

/// Removes the template that was asked about.
pub fn remove(shelf: Shelf) {
    let reference = shelf.asked.get_untracked();
    spawn_local(async move {
        match functions::remove(reference.clone()).await {
            Ok(()) => {
                shelf.toasts.done(shelf.locale.fill(text::REMOVED, &[("name", &reference)]));
                shelf.list.refetch();
            }
            Err(error) => shelf.toasts.refused(&error),
        }
    });
}

fn download(shelf: Shelf, reference: String) {
    spawn_local(async move {
        match functions::download(reference.clone()).await {
            Ok(task) => {
                shelf.begun.try_update(|begun| begun.insert(reference, task.id));
                shelf.live.seed_task(task);
            }
            Err(error) => shelf.toasts.refused(&error),
        }
    });
}

fn cancel(shelf: Shelf, id: TaskId) {
    spawn_local(async move {
        match tasks::cancel(id).await {
            Ok(task) => shelf.live.seed_task(task),
            Err(error) => shelf.toasts.refused(&error),
        }
    });
}

#[component]
pub fn TemplateRow(shelf: Shelf, template: Template) -> impl IntoView {
    let locale = use_locale();
    let (reference, known) = (template.reference.to_string(), template.task);
    // What was begun here is newer than what the list knew.
    let running = Memo::new(move |_| shelf.begun.with(|begun| begun.get(&reference).copied()).or(known));
    // A download that is done is told by the mark that the template is here.
    let news = Memo::new(move |_| {
        let id = running.get()?;
        shelf.live.task(id).filter(|task| task.state != TaskState::Done).map(|_| id)
    });
    let size = match template.size_bytes {
        Some(bytes) => locale.bytes(bytes),
        None => locale.t(text::UNKNOWN_SIZE).to_owned(),
    };
    let on_disk = template.unpacked_bytes.filter(|_| template.downloaded);
    let on_disk = on_disk.map(|bytes| locale.fill(text::ON_DISK, &[("size", &locale.bytes(bytes))]));
    let checked = template.verified.clone().map(|what| locale.fill(text::CHECKED, &[("what", &what)]));
    let now = shelf.live.now_ms.get_untracked();
    let end = template.end_of_life.clone().map(|date| {
        let today = locale.date(model::Timestamp::from_ms(now));
        let is_over = date.as_str() < model::Timestamp::from_ms(now).to_string().get(..10).unwrap_or(&today);
        locale.fill(if is_over { text::ENDED_ON } else { text::ENDS_ON }, &[("date", &date)])
    });
    let used = (!template.used_by.is_empty()).then(|| locale.fill(text::USED_BY, &[("names", &template.used_by.join(", "))]));
    let built = template.created_at.map(|at| locale.date(at));
    let label = move |words| locale.t(words);
    let shown = template.clone();
    view! {
        <tr>
            <th scope="row" class="cell-name">
                <div class="template-name">
                <strong><bdi>{shown.name.clone()}</bdi></strong>
                <code class="muted"><bdi>{shown.reference.to_string()}</bdi></code>
                {shown.downloaded.then(|| view! { <span class="tag">{locale.t(text::HERE)}</span> })}
                {shown.newer_available.then(|| view! { <span class="tag">{locale.t(text::NEWER)}</span> })}
                {end.map(|end| view! { <span class="muted">{end}</span> })}
                {checked.map(|checked| view! { <span class="muted">{checked}</span> })}
                {used.map(|used| view! { <span class="muted">{used}</span> })}
                {shown.unusable.clone().map(|why| view! { <span class="field__error">{why}</span> })}
                {move || {
                    let (id, first) = news.get().and_then(|id| untrack(|| shelf.live.task(id)).map(|task| (id, task)))?;
                    Some(view! { <TaskProgress task=Signal::derive(move || shelf.live.task(id).unwrap_or_else(|| first.clone()))/> })
                }}
                </div>
            </th>
            <td data-label=label(text::RELEASE)>{shown.release.clone()}</td>
            <td data-label=label(text::VARIANT)>{shown.variant.clone()}</td>
            <td data-label=label(text::ARCHITECTURE)>{shown.arch.clone()}</td>
            <td class="number" data-label=label(text::SIZE)>{size}{on_disk.map(|size| view! { <div class="muted">{size}</div> })}</td>
            <td data-label=label(text::BUILT)>{built}</td>
            <td class="cell-actions"><Actions shelf=shelf template=template running=running/></td>
        </tr>
    }
}

#[component]
fn Actions(shelf: Shelf, template: Template, running: Memo<Option<TaskId>>) -> impl IntoView {
    let locale = use_locale();
    let (reference, name) = (template.reference.to_string(), template.name.clone());
    let (may, may_create) = (use_may(Permission::Templates), use_may(Permission::Containers));
    let is_usable = template.unusable.is_none();
    let is_busy = Memo::new(move |_| running.get().and_then(|id| shelf.live.task(id)).is_some_and(|task| !task.state.is_over()));
    let wants = if template.newer_available { text::UPDATE_NAMED } else { text::DOWNLOAD_NAMED };
    let download_label = locale.fill(wants, &[("name", &name)]);
    let remove_label = locale.fill(text::REMOVE_NAMED, &[("name", &name)]);
    let href = create_with(&reference);
    let (for_download, for_remove) = (reference.clone(), reference.clone());
    let can_download = may && is_usable && (!template.downloaded || template.newer_available);
    let in_use = (!template.used_by.is_empty()).then(|| locale.fill(text::USED_BY, &[("names", &template.used_by.join(", "))]));
    view! {
        <div class="row">
            {move || {
                if !may || !is_busy.get() {
                    return None;
                }
                running.get().map(|id| view! { <Button label=locale.t(text::CANCEL).to_owned() on_press=move |()| cancel(shelf, id)/> })
            }}
            {move || (can_download && !is_busy.get()).then(|| {
                let reference = for_download.clone();
                view! { <Button label=download_label.clone() icon=Icon::Download compact=true on_press=move |()| download(shelf, reference.clone())/> }
            })}
            {(may_create && is_usable).then(|| view! { <LinkButton href=href label=locale.t(text::CREATE)/> })}
            {(may && template.downloaded).then(|| view! {
                <Button label=remove_label icon=Icon::Trash compact=true tone=Tone::Danger off=Signal::stored(in_use.clone()) on_press=move |()| {
                    shelf.asked.set(for_remove.clone());
                    shelf.is_asking.set(true);
                }/>
            })}
        </div>
    }
}
