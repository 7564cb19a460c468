//! A container that is being made, and one whose making failed: then nothing of it is left, but the page that followed it
//! says what went wrong.

use leptos::prelude::*;
use model::Permission;
use model::task::{Task, TaskState};

use super::Subject;
use crate::components::button::LinkButton;
use crate::components::icon::{Glyph, Icon};
use crate::format::use_locale;
use crate::i18n::containers as text;
use crate::live::use_live;
use crate::page_context::use_may;

/// The address of the create page with a template chosen.
#[must_use]
pub fn create_with(template: &str) -> String {
    format!("/create?template={}", template.replace('/', "%2F").replace(':', "%3A"))
}

/// Stands at the top once the container is gone while its page is open.
#[component]
pub fn Ended(subject: Subject, is_here: Memo<bool>) -> impl IntoView {
    let (locale, live) = (use_locale(), use_live());
    let name = subject.name.clone();
    let made_at = subject.detail.with_untracked(|detail| detail.summary.created_at);
    let task = Memo::new(move |_| {
        let is_try = |task: &Task| task.kind == "container.create" && matches!(task.state, TaskState::Failed | TaskState::Cancelled);
        // An earlier try for this name ended before this container was there.
        live.newest_task(&name, is_try).filter(|task| task.ended_at.is_some_and(|at| at >= made_at))
    });
    let template = subject.detail.with_untracked(|detail| detail.template.clone());
    move || {
        (!is_here.get()).then(|| match task.get() {
            Some(task) => view! { <NotCreated task=task template=Some(template.clone())/> }.into_any(),
            None => view! {
                <div class="notice" data-tone="failed" role="alert">
                    <p><strong>{locale.t(text::IS_GONE)}</strong></p>
                    <LinkButton href="/containers" label=locale.t(text::TO_LIST)/>
                </div>
            }
            .into_any(),
        })
    }
}

/// The failing step, its cause, the way out, and the next try.
#[component]
pub fn NotCreated(
    task: Task,
    /** What it was to be made from. */
    template: Option<String>,
) -> impl IntoView {
    let locale = use_locale();
    let title = if task.state == TaskState::Cancelled {
        text::CREATION_CANCELLED
    } else {
        text::NOT_CREATED
    };
    let error = task.error.filter(|_| task.state == TaskState::Failed);
    let again = use_may(Permission::Containers)
        .then(|| template.map_or_else(|| "/create?again=1".to_owned(), |template| format!("{}&again=1", create_with(&template))));
    view! {
        <div class="notice" data-tone="failed" role="alert">
            <p><Glyph icon=Icon::Warning/><strong>{locale.t(title)}</strong></p>
            {error.map(|error| view! {
                <p>{error.message}</p>
                {error.hint.map(|hint| view! { <p class="muted">{hint}</p> })}
            })}
            <p class="muted">{locale.t(text::NOT_CREATED_TEXT)}</p>
            <div class="row">
                {again.map(|href| view! { <LinkButton href=href label=locale.t(text::CREATE_AGAIN)/> })}
                <a href=format!("/tasks/{}", task.id)>{locale.t(text::OPEN_TASK)}</a>
            </div>
        </div>
    }
}

#[cfg(test)]
mod tests {
    use super::create_with;

    #[test]
    fn a_reference_survives_as_a_query_value() {
        assert_eq!(create_with("images:debian/13"), "/create?template=images%3Adebian%2F13");
    }
}
