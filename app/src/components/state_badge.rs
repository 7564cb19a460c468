//! A container's state as shape, word and colour together: any two of them would do.

use leptos::prelude::*;
use model::ContainerState;

use crate::format::{Locale, use_locale};
use crate::i18n::Text;
use crate::i18n::containers as text;

/// The word for a state.
#[must_use]
pub fn word(state: ContainerState) -> Text {
    match state {
        ContainerState::Creating => text::CREATING,
        ContainerState::Stopped => text::STOPPED,
        ContainerState::Starting => text::STARTING,
        ContainerState::Running => text::RUNNING,
        ContainerState::Freezing => text::FREEZING,
        ContainerState::Frozen => text::FROZEN,
        ContainerState::Stopping => text::STOPPING,
        ContainerState::Deleting => text::DELETING,
        ContainerState::Error => text::ERROR,
        ContainerState::Unknown => text::UNKNOWN,
    }
}

/// Shape by path, and whether it is filled: distinct at 12 px in one colour.
fn shape(state: ContainerState) -> &'static str {
    match state {
        ContainerState::Running => "M6 1a5 5 0 1 0 0 10A5 5 0 0 0 6 1z",
        ContainerState::Stopped => "M1.75 1.75h8.5v8.5h-8.5z",
        ContainerState::Frozen => "M2.5 1.5h2.5v9H2.5zM7 1.5h2.5v9H7z",
        ContainerState::Error => "M6 .8 11.2 6 6 11.2.8 6z",
        ContainerState::Unknown => "M6 1a5 5 0 1 0 0 10A5 5 0 0 0 6 1z",
        _ => "M6 1a5 5 0 0 1 0 10z",
    }
}

/// The group that colours it.
fn tone(state: ContainerState) -> &'static str {
    match state {
        ContainerState::Running => "running",
        ContainerState::Stopped => "stopped",
        ContainerState::Frozen => "frozen",
        ContainerState::Error => "failed",
        ContainerState::Unknown => "unknown",
        _ => "progress",
    }
}

/// The badge; it follows its signal without being drawn anew.
#[component]
pub fn StateBadge(#[prop(into)] state: Signal<ContainerState>, #[prop(optional, into)] degraded: Signal<bool>) -> impl IntoView {
    let locale: Locale = use_locale();
    view! {
        <span class="state" data-state=move || tone(state.get())>
            <svg class="state__shape" viewBox="0 0 12 12" width="12" height="12" aria-hidden="true">
                <path d=move || shape(state.get())></path>
            </svg>
            <span>{move || locale.t(word(state.get()))}</span>
            {move || degraded.get().then(|| view! { <span class="state__suffix" title=locale.t(text::DEGRADED)>"!"</span> })}
        </span>
    }
}
