//! The waterline: a quantity with a limit is a level in a vessel whose rim is the limit. A meter to screen readers.

use leptos::prelude::*;

use crate::format::use_locale;
use crate::i18n::frame::{NO_LIMIT, NOT_RUNNING, OF_PERCENT, RECLAIMABLE, UNKNOWN_YET};
use model::number::fixed;

/// How its numbers are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quantity {
    Bytes,
    Cores,
    Count,
}

/// A level between nothing and its rim.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Level {
    pub used: Option<f64>,
    pub limit: Option<f64>,
    /// What could be given back at once, on top of `used`.
    pub reclaimable: Option<f64>,
    /// What is measured does not run: its last values are not those of now.
    pub is_off: bool,
}

impl Level {
    fn share(self, value: Option<f64>) -> f64 {
        match (value, self.limit) {
            (Some(value), Some(limit)) if limit > 0.0 && !self.is_off => (value / limit).clamp(0.0, 1.0),
            _ => 0.0,
        }
    }
}

/// A labelled waterline with its text.
#[component]
pub fn Waterline(#[prop(into)] label: String, quantity: Quantity, #[prop(into)] level: Signal<Level>) -> impl IntoView {
    let locale = use_locale();
    let write = move |value: f64| match quantity {
        Quantity::Bytes => locale.bytes_f64(value),
        Quantity::Cores => locale.decimal(value, 2),
        Quantity::Count => locale.short(value),
    };
    let text = Memo::new(move |_| {
        let level = level.get();
        match (level.used, level.limit) {
            _ if level.is_off => locale.t(NOT_RUNNING).to_owned(),
            (None, _) => locale.t(UNKNOWN_YET).to_owned(),
            (Some(used), None) => locale.fill(NO_LIMIT, &[("used", &write(used))]),
            (Some(used), Some(limit)) => {
                let percent = locale.percent(if limit > 0.0 { used / limit } else { 0.0 });
                locale.fill(OF_PERCENT, &[("used", &write(used)), ("limit", &write(limit)), ("percent", &percent)])
            }
        }
    });
    let cache = Memo::new(move |_| {
        level.with(|level| {
            level
                .reclaimable
                .filter(|bytes| *bytes >= 1.0 && !level.is_off)
                .map(|bytes| locale.fill(RECLAIMABLE, &[("value", &write(bytes))]))
        })
    });
    let name = label.clone();
    view! {
        <div class="waterline" data-state=move || level.with(|level| alarm(level.share(level.used)))>
            <div class="waterline__words"><span>{label}</span><span class="number">{move || text.get()}</span></div>
            <Vessel level=level name=name text=text/>
            {move || cache.get().map(|words| view! { <p class="waterline__cache muted number">{words}</p> })}
        </div>
    }
}

fn alarm(share: f64) -> &'static str {
    match share {
        share if share >= 0.95 => "full",
        share if share >= 0.85 => "high",
        _ => "normal",
    }
}

#[component]
fn Vessel(level: Signal<Level>, name: String, text: Memo<String>) -> impl IntoView {
    let width = move |value: fn(&Level) -> Option<f64>| level.with(|level| fixed(level.share(value(level)) * 100.0, 2));
    let start = move || width(|level| level.used);
    let rest = move || width(|level| Some(level.used? + level.reclaimable?));
    view! {
        <svg class="waterline__vessel" viewBox="0 0 100 8" preserveAspectRatio="none" role="meter" aria-label=name aria-valuetext=move || text.get()
            aria-valuemin="0" aria-valuemax="100" aria-valuenow=move || width(|level| level.used)>
            <rect class="waterline__reclaimable" x="0" y="0" height="8" width=rest></rect>
            <rect class="waterline__level" x="0" y="0" height="8" width=start></rect>
        </svg>
    }
}
