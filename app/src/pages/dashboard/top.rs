//! Containers by use, and the disk that they stand on.

use leptos::prelude::*;

use crate::components::sparkline::Sparkline;
use crate::components::waterline::{Level, Quantity, Waterline};
use crate::format::use_locale;
use crate::i18n::Text;
use crate::i18n::{charts, containers as text};
use crate::live::metrics::{CPU, MEMORY};
use crate::live::{Row, use_live};

/// How many of each.
const SHOWN: usize = 5;
/// The order is renewed so often, in milliseconds, so that rows do not jump every second.
const RENEW_MS: i64 = 5000;

/// Most used by CPU and by memory.
#[component]
pub fn Top() -> impl IntoView {
    let locale = use_locale();
    view! {
        <section class="card">
            <h2>{locale.t(text::TOP)}</h2>
            <div class="top">
                <Ranking label=text::TOP_CPU column=CPU/>
                <Ranking label=text::TOP_MEMORY column=MEMORY/>
            </div>
        </section>
    }
}

#[component]
fn Ranking(label: Text, column: usize) -> impl IntoView {
    let (locale, live) = (use_locale(), use_live());
    let renewal = Memo::new(move |_| live.now_ms.get() / RENEW_MS);
    // The first values come some seconds after the page: the ranking does not wait for the next renewal.
    let has_values = Memo::new(move |_| {
        live.rows
            .with(|rows| rows.values().any(|row| row.meters.with(|meters| meters.value(column).is_some())))
    });
    let ranked = Memo::new(move |_| {
        renewal.track();
        has_values.track();
        live.rows.with(|rows| {
            let mut ranked: Vec<_> = rows
                .values()
                .filter_map(|row| row.meters.with_untracked(|meters| meters.value(column)).map(|value| (value, row.id)))
                .collect();
            ranked.sort_by(|a, b| b.0.total_cmp(&a.0));
            ranked.into_iter().take(SHOWN).map(|(_, id)| id).collect::<Vec<_>>()
        })
    });
    let row = move |id| {
        live.rows
            .with_untracked(|rows| rows.get(&id).cloned())
            .map(|row| view! { <Ranked row=row column=column/> })
    };
    view! {
        <div>
            <h3>{locale.t(label)}</h3>
            <ol class="ranking"><For each=move || ranked.get() key=|id| *id children=row/></ol>
            <Show when=move || ranked.with(Vec::is_empty)><p class="muted">{locale.t(text::NONE_RUNNING)}</p></Show>
        </div>
    }
}

#[component]
fn Ranked(row: Row, column: usize) -> impl IntoView {
    let locale = use_locale();
    let name = row.summary.with_untracked(|summary| summary.name.to_string());
    let meters = row.meters;
    let value = {
        let meters = meters.clone();
        Memo::new(move |_| {
            meters.with(|meters| meters.value(column)).map_or_else(
                || "–".to_owned(),
                |value| if column == CPU { locale.decimal(value, 2) } else { locale.bytes_f64(value) },
            )
        })
    };
    let minute = Signal::derive(move || meters.with(|meters| meters.cpu.clone()));
    view! {
        <li>
            <a href=format!("/containers/{name}")><bdi>{name.clone()}</bdi></a>
            {(column == CPU).then(|| view! { <Sparkline values=minute/> })}
            <span class="number">{move || value.get()}</span>
        </li>
    }
}

/// The file system of the state directory.
#[component]
pub fn DiskLevel() -> impl IntoView {
    let locale = use_locale();
    let feed = use_live().feed(model::metrics::HOST);
    let level = Signal::derive(move || {
        feed.with(|feed| Level {
            used: feed.newest("disk./.used"),
            limit: feed.newest("disk./.total"),
            ..Level::default()
        })
    });
    view! { <div class="card"><Waterline label=locale.t(charts::DISK_SPACE) quantity=Quantity::Bytes level=level/></div> }
}
