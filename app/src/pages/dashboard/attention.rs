//! What needs attention: failed and unknown containers, a full disk, what the host lacks.

use leptos::prelude::*;
use model::ContainerState;
use model::engine::{CheckLevel, HostCheck, HostReport};

use crate::api::ApiResult;
use crate::components::icon::{Glyph, Icon};
use crate::components::page_frame::Loaded;
use crate::components::state_badge::StateBadge;
use crate::format::use_locale;
use crate::i18n::containers as text;
use crate::live::{Row, use_live};
use crate::pages::container_exit::exit_words;

/// The card.
#[component]
pub fn Attention(report: Resource<ApiResult<HostReport>>) -> impl IntoView {
    let locale = use_locale();
    view! {
        <section class="card">
            <h2>{locale.t(text::ATTENTION)}</h2>
            <Loaded resource=report full=|report| view! { <Findings report=report/> }.into_any()/>
        </section>
    }
}

#[component]
fn Findings(report: HostReport) -> impl IntoView {
    let (locale, live) = (use_locale(), use_live());
    let checks: Vec<HostCheck> = report.checks.into_iter().filter(|check| check.level != CheckLevel::Good).collect();
    let has_checks = !checks.is_empty();
    let troubled = Memo::new(move |_| {
        live.rows
            .with(|rows| rows.values().filter(|row| is_troubled(row)).map(|row| row.id).collect::<Vec<_>>())
    });
    let row = move |id| live.rows.with_untracked(|rows| rows.get(&id).cloned()).map(|row| view! { <Troubled row=row/> });
    view! {
        <ul class="findings">
            <For each=move || troubled.get() key=|id| *id children=row/>
            {checks.into_iter().map(|check| view! { <Check check=check/> }).collect_view()}
        </ul>
        <Show when=move || troubled.with(Vec::is_empty) && !has_checks>
            <p class="muted">{locale.t(text::ALL_WELL)}</p>
        </Show>
    }
}

fn is_troubled(row: &Row) -> bool {
    row.summary
        .with(|summary| matches!(summary.state, ContainerState::Error | ContainerState::Unknown) || summary.degraded)
}

#[component]
fn Troubled(row: Row) -> impl IntoView {
    let locale = use_locale();
    let summary = row.summary;
    let name = summary.with_untracked(|summary| summary.name.to_string());
    let state = {
        let summary = summary.clone();
        Memo::new(move |_| summary.with(|summary| summary.state))
    };
    let why = move || {
        summary.with(|summary| match (&summary.last_exit, summary.degraded) {
            (_, true) => locale.t(text::DEGRADED_TEXT).to_owned(),
            (Some(exit), _) => exit_words(locale, exit),
            (None, _) => String::new(),
        })
    };
    view! {
        <li>
            <StateBadge state=state/>
            <a href=format!("/containers/{name}")><bdi>{name.clone()}</bdi></a>
            <span class="muted">{why}</span>
        </li>
    }
}

/// A shortcoming of the host with its fix.
#[component]
fn Check(check: HostCheck) -> impl IntoView {
    view! {
        <li data-level=if check.level == CheckLevel::Missing { "missing" } else { "limited" }>
            <Glyph icon=Icon::Warning/>
            <span><strong>{check.name}</strong>": "{check.found}</span>
            {check.fix.map(|fix| view! { <span class="muted">{fix}</span> })}
        </li>
    }
}
