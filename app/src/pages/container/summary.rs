//! What one container does now: waterlines, facts, graphs.

use leptos::prelude::*;
use model::container::RestartPolicy;
use model::limits::parse_cpu_list;

use super::Subject;
use crate::api::detail::Detail;
use crate::components::chart::data::LimitLine;
use crate::components::copy::Copyable;
use crate::components::moment::Ago;
use crate::components::waterline::{Level, Quantity, Waterline};
use crate::format::{Locale, use_locale};
use crate::i18n::charts;
use crate::i18n::containers as text;
use crate::live::Row;
use crate::live::metrics::{CPU, MEMORY, MEMORY_WITH_CACHE, Meters};
use crate::pages::container_exit::exit_words;
use crate::pages::graphs::{COMMON, Graphs};

/// Column of `pids.current` in `SERIES`.
const PIDS: usize = 6;

/// The tab.
#[component]
pub fn SummaryTab(subject: Subject) -> impl IntoView {
    let summary = subject.row.summary.clone();
    let is_off = is_off(&subject.row);
    let limits = Callback::new(move |(series,): (String,)| summary.with(|summary| limit_lines(&summary.limits, &series)));
    view! {
        <div class="summary">
            <aside class="summary__side">
                <Levels row=subject.row.clone()/>
                <Facts subject=subject.clone()/>
            </aside>
            <section class="summary__graphs"><Graphs subject=subject.name specs=COMMON limits=limits is_off=is_off/></section>
        </div>
    }
}

/// Whether nothing of it runs, so that there are no values now.
#[must_use]
pub fn is_off(row: &Row) -> Memo<bool> {
    let summary = row.summary.clone();
    Memo::new(move |_| summary.with(|summary| !summary.state.is_live()))
}

/// Cores that may really be used: the lesser of quota and CPU list; a weight is no limit.
#[must_use]
#[expect(clippy::cast_precision_loss, reason = "a number of CPUs")]
fn cores(limits: &model::Limits) -> Option<f64> {
    let listed = limits
        .cpuset
        .as_deref()
        .and_then(|list| parse_cpu_list(list).ok())
        .map(|cpus| cpus.len() as f64);
    match (limits.cpus, listed) {
        (Some(quota), Some(listed)) => Some(quota.min(listed)),
        (quota, listed) => quota.or(listed),
    }
}

#[expect(clippy::cast_precision_loss, reason = "limits drawn as lines")]
fn limit_lines(limits: &model::Limits, series: &str) -> Vec<LimitLine> {
    let hard = |value: Option<f64>| value.map(LimitLine::hard);
    let of = |value: Option<LimitLine>, series| value.map(|line| LimitLine { of: Some(series), ..line });
    let number = |value: Option<u64>| value.map(|value| value as f64);
    let lines = match series {
        "cpu.usage" => [hard(cores(limits)), None],
        "memory.used" => [
            hard(number(limits.memory_bytes)),
            hard(number(limits.memory_high_bytes)).map(|line| LimitLine { is_soft: true, ..line }),
        ],
        "io.read" if limits.io_read_bps == limits.io_write_bps => [hard(number(limits.io_read_bps)), None],
        "io.read" => [
            of(hard(number(limits.io_read_bps)), charts::READ),
            of(hard(number(limits.io_write_bps)), charts::WRITTEN),
        ],
        "pids.current" => [hard(number(limits.pids)), None],
        _ => [None, None],
    };
    lines.into_iter().flatten().collect()
}

/// CPU, memory and processes against their limits.
#[component]
fn Levels(row: Row) -> impl IntoView {
    let locale = use_locale();
    let is_off = is_off(&row);
    let level = move |column: usize, limit: fn(&model::Limits) -> Option<f64>| {
        let (meters, summary) = (row.meters.clone(), row.summary.clone());
        Signal::derive(move || Level {
            is_off: is_off.get(),
            used: meters.with(|meters| meters.value(column)),
            limit: summary.with(|summary| limit(&summary.limits)),
            reclaimable: meters.with(|meters| (column == MEMORY).then(|| cache(meters))?),
        })
    };
    #[expect(clippy::cast_precision_loss, reason = "a level in a vessel")]
    let (memory, pids) = (
        |limits: &model::Limits| limits.memory_bytes.map(|bytes| bytes as f64),
        |limits: &model::Limits| limits.pids.map(|pids| pids as f64),
    );
    view! {
        <section class="card stack">
            <Waterline label=locale.t(charts::CPU) quantity=Quantity::Cores level=level(CPU, cores)/>
            <Waterline label=locale.t(charts::MEMORY) quantity=Quantity::Bytes level=level(MEMORY, memory)/>
            <Waterline label=locale.t(charts::PROCESSES) quantity=Quantity::Count level=level(PIDS, pids)/>
        </section>
    }
}

/// What of the memory could be given back at once.
fn cache(meters: &Meters) -> Option<f64> {
    Some((meters.value(MEMORY_WITH_CACHE)? - meters.value(MEMORY)?).max(0.0))
}

#[component]
fn Facts(subject: Subject) -> impl IntoView {
    let locale = use_locale();
    let detail = subject.detail;
    let addresses = move || {
        let nics = detail.with(|detail| detail.nics.clone());
        let found: Vec<String> = nics.into_iter().flat_map(|nic| [nic.ipv4, nic.ipv6]).flatten().collect();
        found
            .into_iter()
            .map(|address| view! { <Copyable value=address.split('/').next().unwrap_or_default()/> })
            .collect_view()
    };
    let (id, created, template, range) = detail.with_untracked(|detail| {
        let template = detail.template.clone();
        (detail.summary.id, detail.summary.created_at, template, detail.id_range)
    });
    let last = u64::from(range.0) + u64::from(range.1).saturating_sub(1);
    let ids = locale.fill(text::RANGE, &[("first", &range.0.to_string()), ("last", &last.to_string())]);
    let autostart = move || {
        locale.t(if detail.with(|detail| detail.summary.autostart) {
            text::YES
        } else {
            text::NO
        })
    };
    let exit = move || detail.with(|detail| detail.exit.as_ref().map(|exit| exit_words(locale, exit)));
    let tags = move || detail.with(|detail| detail.summary.tags.join(", "));
    let notes = move || detail.with(|detail| detail.notes.clone());
    view! {
        <section class="card">
            <h2>{locale.t(text::FACTS)}</h2>
            <dl class="facts">
                <dt>{locale.t(text::ADDRESS)}</dt><dd>{addresses}</dd>
                <dt>{locale.t(text::TEMPLATE)}</dt><dd><bdi>{template}</bdi></dd>
                <dt>{locale.t(text::ID)}</dt><dd><Copyable value=id.to_string() shown=id.short()/></dd>
                <dt>{locale.t(text::UNPRIVILEGED)}</dt><dd class="number">{ids}</dd>
                <dt>{locale.t(text::AUTOSTART)}</dt><dd>{autostart}</dd>
                <dt>{locale.t(text::POLICY)}</dt><dd>{move || detail.with(|detail| policy_words(locale, detail))}</dd>
                <dt>{locale.t(text::CREATED)}</dt><dd><Ago at=created/></dd>
                {move || Some(tags()).filter(|tags| !tags.is_empty()).map(|tags| view! { <dt>{locale.t(text::TAGS)}</dt><dd><bdi>{tags}</bdi></dd> })}
                {move || exit().map(|exit| view! { <dt>{locale.t(text::LAST_EXIT)}</dt><dd>{exit}</dd> })}
                {move || Some(notes()).filter(|notes| !notes.is_empty()).map(|notes| view! { <dt>{locale.t(text::NOTES)}</dt><dd class="prose"><bdi>{notes}</bdi></dd> })}
            </dl>
        </section>
    }
}

/// What happens when it ends by itself, and how often that was.
fn policy_words(locale: Locale, detail: &Detail) -> String {
    let policy = locale.t(match detail.restart {
        RestartPolicy::No => text::POLICY_NO,
        RestartPolicy::OnFailure => text::POLICY_FAILURE,
        RestartPolicy::Always => text::POLICY_ALWAYS,
    });
    match detail.restarts {
        0 => policy.to_owned(),
        restarts => format!("{policy} ({})", locale.fill(text::RESTARTS, &[("count", &restarts.to_string())])),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::Limits;

    #[test]
    fn the_cpu_limit_is_the_lesser_of_quota_and_list() {
        let limits = Limits {
            cpus: Some(1.5),
            cpuset: Some("0".into()),
            ..Limits::default()
        };
        assert_eq!(cores(&limits), Some(1.0));
        assert_eq!(cores(&Limits::default()), None);
    }

    #[test]
    fn memory_has_two_lines() {
        let limits = Limits {
            memory_bytes: Some(2),
            memory_high_bytes: Some(1),
            ..Limits::default()
        };
        assert_eq!(limit_lines(&limits, "memory.used").len(), 2);
        assert!(limit_lines(&limits, "net.rx").is_empty());
    }

    #[test]
    fn io_limits_say_what_they_are_of_unless_they_are_the_same() {
        let lines = |io_read_bps, io_write_bps| {
            let limits = Limits {
                io_read_bps,
                io_write_bps,
                ..Limits::default()
            };
            let lines = limit_lines(&limits, "io.read");
            lines.into_iter().map(|line| (line.value, line.of)).collect::<Vec<_>>()
        };
        assert_eq!(lines(Some(5), Some(5)), [(5.0, None)]);
        assert_eq!(lines(Some(5), Some(6)), [(5.0, Some(charts::READ)), (6.0, Some(charts::WRITTEN))]);
        assert_eq!(lines(None, Some(6)), [(6.0, Some(charts::WRITTEN))]);
    }
}
