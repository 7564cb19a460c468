//! The last minute of one value in a row of a list: no axis, no words, gaps where values are missing.

use std::collections::VecDeque;

use leptos::prelude::*;

use super::chart::geometry;
use crate::live::metrics::ROW_SECONDS;

/// Values oldest first; the newest stands at the end. `ceiling` is the full height (the limit), else the highest value.
#[component]
pub fn Sparkline(#[prop(into)] values: Signal<VecDeque<Option<f64>>>, #[prop(optional, into)] ceiling: Signal<Option<f64>>) -> impl IntoView {
    let path = Memo::new(move |_| {
        let top = ceiling.get();
        values.with(|values| {
            let highest = values.iter().flatten().copied().fold(0.0_f64, f64::max);
            let top = top.filter(|top| *top > 0.0).unwrap_or_else(|| highest.max(0.05));
            geometry::sparkline(values.iter().copied(), ROW_SECONDS, top)
        })
    });
    view! {
        <svg class="sparkline" viewBox="0 0 60 20" preserveAspectRatio="none" aria-hidden="true">
            <path d=move || path.get()></path>
        </svg>
    }
}
