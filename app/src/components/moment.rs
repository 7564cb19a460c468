//! Moments: relative and ticking, with the absolute time and its zone in the tooltip.

use leptos::prelude::*;
use model::Timestamp;

use crate::format::{Locale, use_locale};
use crate::i18n::frame::{AGO, IN, JUST_NOW};
use crate::live::use_live;

/// `5 min ago`, or `in 2 h`.
#[must_use]
pub fn relative(locale: Locale, at: Timestamp, now_ms: i64) -> String {
    let past_ms = now_ms - at.ms;
    if past_ms.abs() < 5000 {
        return locale.t(JUST_NOW).to_owned();
    }
    let text = if past_ms > 0 { AGO } else { IN };
    locale.fill(text, &[("time", &locale.rough_duration(past_ms.abs()))])
}

/// A relative time that ticks.
#[component]
pub fn Ago(at: Timestamp) -> impl IntoView {
    let locale = use_locale();
    let now_ms = use_live().now_ms;
    let text = Memo::new(move |_| relative(locale, at, now_ms.get()));
    view! { <time datetime=at.to_string() title=locale.date_time(at)>{move || text.get()}</time> }
}

/// How long ago, without words: an uptime.
#[component]
pub fn Since(at: Timestamp) -> impl IntoView {
    let locale = use_locale();
    let now_ms = use_live().now_ms;
    let text = Memo::new(move |_| locale.duration(now_ms.get() - at.ms));
    view! { <time datetime=at.to_string() title=locale.date_time(at)>{move || text.get()}</time> }
}
