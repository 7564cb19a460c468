//! What needs attention: failed and unknown containers, a full disk, what the host lacks, sources that were not read.

use leptos::prelude::*;
use model::ContainerState;
use model::engine::{CheckLevel, HostCheck};

use crate::api::fetched::Fetched;
use crate::api::host::{self, Findings};
use crate::components::icon::{Glyph, Icon};
use crate::components::page_frame::Loaded;
use crate::components::state_badge::StateBadge;
use crate::format::use_locale;
use crate::i18n::containers as text;
use crate::i18n::frame::SOURCES;
use crate::i18n::{Text, reasons};
use crate::live::metrics::FeedData;
use crate::live::{Badge, Row, use_live};
use crate::pages::container_exit::exit_words;

/// The card.
#[component]
pub fn Attention() -> impl IntoView {
    let (locale, live) = (use_locale(), use_live());
    let outcomes = live.outcomes(host::reads_sources);
    // A reading that ended before the stream was open is in no event. A stream that is lost changes nothing.
    let was_open = Memo::new(move |before: Option<&bool>| before == Some(&true) || live.badge.get() == Badge::Live);
    let found = Fetched::new(move || (outcomes.get(), was_open.get()), |_| host::findings());
    view! {
        <section class="card">
            <h2>{locale.t(text::ATTENTION)}</h2>
            <Loaded resource=found full=|found| view! { <List found=found/> }.into_any()/>
        </section>
    }
}

#[component]
fn List(found: Findings) -> impl IntoView {
    let (locale, live) = (use_locale(), use_live());
    let Findings { checks, failed_sources } = found;
    let is_well = checks.is_empty() && failed_sources.is_empty();
    let troubled = Memo::new(move |_| {
        live.rows
            .with(|rows| rows.values().filter(|row| is_troubled(row)).map(|row| row.id).collect::<Vec<_>>())
    });
    let alarms = use_alarms();
    let row = move |id| live.rows.with_untracked(|rows| rows.get(&id).cloned()).map(|row| view! { <Troubled row=row/> });
    view! {
        <ul class="findings">
            {move || alarms.get().into_iter().map(|words| view! { <Alarm words=words/> }).collect_view()}
            <For each=move || troubled.get() key=|id| *id children=row/>
            {failed_sources.into_iter().map(|name| view! { <FailedSource name=name/> }).collect_view()}
            {checks.into_iter().map(|check| view! { <Check check=check/> }).collect_view()}
        </ul>
        <Show when=move || troubled.with(Vec::is_empty) && alarms.with(Vec::is_empty) && is_well>
            <p class="muted">{locale.t(text::ALL_WELL)}</p>
        </Show>
    }
}

/// The share of the disk from which it is told, and that of time spent waiting.
const DISK_ALARM: f64 = 0.85;
const PRESSURE_ALARM: f64 = 0.2;
/// Seconds over which pressure is judged, so that a short burst is no alarm.
const PRESSURE_SECONDS: usize = 30;

/// What the host is short of, in words.
fn use_alarms() -> Memo<Vec<String>> {
    let (locale, live) = (use_locale(), use_live());
    let feed = live.feed(model::metrics::HOST);
    Memo::new(move |_| {
        // Server and browser begin with the same words: pressure needs some seconds of values.
        let is_live = live.badge.get().is_live();
        let found = feed.with(|feed| alarms(feed, is_live));
        found
            .into_iter()
            .map(|(words, share)| locale.fill(words, &[("percent", &locale.percent(share))]))
            .collect()
    })
}

fn alarms(feed: &FeedData, is_live: bool) -> Vec<(Text, f64)> {
    let disk = feed.newest("disk./.used").zip(feed.newest("disk./.total").filter(|total| *total > 0.0));
    let disk = disk.map(|(used, total)| used / total).filter(|share| *share > DISK_ALARM);
    let pressures = [
        ("pressure.cpu.some", text::SHORT_OF_CPU),
        ("pressure.memory.some", text::SHORT_OF_MEMORY),
        ("pressure.io.some", text::SHORT_OF_IO),
    ];
    let pressure = |(series, words)| {
        let share = feed.mean(series, PRESSURE_SECONDS).filter(|_| is_live)?;
        (share > PRESSURE_ALARM).then_some((words, share))
    };
    disk.map(|share| (text::DISK_FULL, share))
        .into_iter()
        .chain(pressures.into_iter().filter_map(pressure))
        .collect()
}

#[component]
fn Alarm(words: String) -> impl IntoView {
    view! { <li data-level="limited"><Glyph icon=Icon::Warning/><span>{words}</span></li> }
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

/// A source that could not be read, with the way to its error and to another try.
#[component]
fn FailedSource(name: String) -> impl IntoView {
    let locale = use_locale();
    view! {
        <li data-level="limited">
            <Glyph icon=Icon::Warning/>
            <span>{locale.fill(text::SOURCE_FAILED, &[("name", &name)])}" "<a href="/sources">{locale.t(SOURCES)}</a></span>
        </li>
    }
}

/// A shortcoming of the host with its fix.
#[component]
fn Check(check: HostCheck) -> impl IntoView {
    let locale = use_locale();
    let name = reasons::check(&check.name).map_or_else(|| check.name.clone(), |words| locale.t(words).to_owned());
    view! {
        <li data-level=if check.level == CheckLevel::Missing { "missing" } else { "limited" }>
            <Glyph icon=Icon::Warning/>
            <span><strong>{name}</strong>": "{check.found}</span>
            {check.fix.map(|fix| view! { <span class="muted">{fix}</span> })}
        </li>
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::events::{Curve, Curves};

    #[test]
    fn a_full_disk_and_waiting_programs_are_told() {
        let mut feed = FeedData::default();
        assert!(alarms(&feed, true).is_empty());
        let curve = |value: f64| Curve {
            avg: vec![Some(value), Some(value)],
            max: Vec::new(),
        };
        feed.seed(&Curves {
            step_ms: 1000,
            from: model::Timestamp::from_ms(0),
            series: [("pressure.io.some".to_owned(), curve(0.5)), ("pressure.cpu.some".to_owned(), curve(0.1))].into(),
        });
        feed.begin_with([("disk./.used".to_owned(), 90.0), ("disk./.total".to_owned(), 100.0)].into());
        assert_eq!(alarms(&feed, true), [(text::DISK_FULL, 0.9), (text::SHORT_OF_IO, 0.5)]);
        assert_eq!(alarms(&feed, false), [(text::DISK_FULL, 0.9)]);
        feed.begin_with([("disk./.used".to_owned(), 85.0), ("disk./.total".to_owned(), 100.0)].into());
        assert_eq!(alarms(&feed, true), [(text::SHORT_OF_IO, 0.5)]);
    }
}
