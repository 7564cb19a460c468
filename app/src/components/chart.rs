//! A graph of its own: SVG that the server draws first and the browser then updates path by path. An average line, a
//! band up to the maximum, limits as dashed lines, one cursor for all graphs of a page, marks of events, the numbers in
//! words and as a table.

use leptos::prelude::*;
use model::Timestamp;
use wasm_bindgen::JsCast as _;

use crate::format::use_locale;
use crate::i18n::charts as text;

pub mod data;
pub mod geometry;
mod table;

use data::{ChartData, Unit};
use geometry::{GRID, VIEW_BOX, Window};

/// The moment that the pointer or the arrow keys stand at, shared by all graphs of a page.
#[derive(Clone, Copy, Debug)]
pub struct Cursor(pub RwSignal<Option<i64>>);

/// What one graph needs besides its values; `Copy`, so that its parts share it.
#[derive(Clone, Copy)]
struct Graph {
    unit: Unit,
    /// What is drawn: it stands still while the cursor is on it.
    shown: Memo<ChartData>,
    window: Memo<Window>,
    cursor: RwSignal<Option<i64>>,
    labels: StoredValue<Vec<String>>,
    title: StoredValue<String>,
}

/// One graph. The number of series never changes while it is shown: `labels` has one entry each.
#[component]
pub fn Chart(#[prop(into)] title: String, unit: Unit, labels: Vec<String>, #[prop(into)] data: Signal<ChartData>) -> impl IntoView {
    let cursor = use_context::<Cursor>().map_or_else(|| RwSignal::new(None), |cursor| cursor.0);
    let shown = Memo::new(move |before: Option<&ChartData>| match before {
        Some(before) if cursor.with(Option::is_some) && !before.times.is_empty() => before.clone(),
        _ => data.get(),
    });
    let window = Memo::new(move |before: Option<&Window>| shown.with(|data| data.window(unit, before.map(|window| window.top))));
    let graph = Graph {
        unit,
        shown,
        window,
        cursor,
        labels: StoredValue::new(labels),
        title: StoredValue::new(title.clone()),
    };
    view! {
        <figure class="chart">
            <figcaption class="chart__head">
                <h3>{title}</h3>
                <Legend graph=graph/>
            </figcaption>
            <Plot graph=graph/>
            <table::Table graph=graph/>
        </figure>
    }
}

/// Each series with its newest value, or its value at the cursor.
#[component]
fn Legend(graph: Graph) -> impl IntoView {
    let locale = use_locale();
    let index = Memo::new(move |_| {
        let cursor = graph.cursor.get();
        graph
            .shown
            .with(|data| cursor.map_or_else(|| data.last().filter(|_| !data.is_off), |at| data.nearest(at)))
    });
    let value = move |series: usize| {
        graph.shown.with(|data| {
            let points = data.series.get(series)?;
            let value = data::value_at(&points.avg, index.get()?)?;
            Some(graph.unit.write(locale, value))
        })
    };
    let entries = graph.labels.with_value(|labels| labels.iter().cloned().enumerate().collect::<Vec<_>>());
    view! {
        <ul class="chart__legend">
            {entries.into_iter().map(|(series, label)| view! {
                <li data-series=(series + 1).to_string()>
                    <svg class="chart__key" viewBox="0 0 16 4" width="16" height="4" aria-hidden="true"><path d="M0 2h16"></path></svg>
                    <span>{label}</span>
                    <span class="number chart__value">{move || value(series).unwrap_or_else(|| "–".to_owned())}</span>
                </li>
            }).collect_view()}
        </ul>
    }
}

#[component]
fn Plot(graph: Graph) -> impl IntoView {
    let locale = use_locale();
    let axis = Memo::new(move |_| graph.unit.axis(locale, graph.window.get().top));
    let label = move |at: usize| axis.with(|labels| labels.get(at).cloned().unwrap_or_default());
    let times = Memo::new(move |_| {
        let window = graph.window.get();
        let span = window.to_ms - window.from_ms;
        [0.0, 0.5, 1.0].map(|share| locale.axis_time(Timestamp::from_ms(window.moment(share)), span))
    });
    let time = move |at: usize| times.with(|labels| labels.get(at).cloned().unwrap_or_default());
    let nothing = move || {
        let is_off = graph.shown.with(|data| data.last().is_none().then_some(data.is_off))?;
        Some(locale.t(if is_off { text::VALUES_WHEN_RUNNING } else { text::FIRST_VALUES }))
    };
    view! {
        <div class="chart__plot">
            <div class="chart__axis-y number" aria-hidden="true">
                <span>{move || label(0)}</span><span>{move || label(1)}</span><span>{move || label(2)}</span>
            </div>
            <Drawing graph=graph/>
            {move || nothing().map(|words| view! { <p class="chart__nothing muted">{words}</p> })}
            <div class="chart__axis-x number" aria-hidden="true">
                <span>{move || time(0)}</span><span>{move || time(1)}</span><span>{move || time(2)}</span>
            </div>
        </div>
        <Readout graph=graph/>
    }
}

/// What stands at the cursor, else what the newest marks are; and where limits are that do not fit.
#[component]
fn Readout(graph: Graph) -> impl IntoView {
    let locale = use_locale();
    let words = move || {
        graph.shown.with(|data| {
            let index = data.nearest(graph.cursor.get()?)?;
            let values = graph.labels.with_value(|labels| data.readout(locale, graph.unit, labels, index));
            Some(format!("{} {}: {values}", data.moment(locale, index), locale.zone()))
        })
    };
    let marks = move || graph.shown.with(|data| data.newest_marks(locale, graph.window.get()));
    let limits = move || graph.shown.with(|data| data.limit_words(locale, graph.unit, graph.window.get().top));
    view! {
        <p class="chart__readout number">
            <span>{move || words().unwrap_or_else(marks)}</span>
            <span class="chart__limits">{limits}</span>
        </p>
    }
}

#[component]
fn Drawing(graph: Graph) -> impl IntoView {
    let locale = use_locale();
    let summary = Memo::new(move |_| graph.shown.with(|data| graph.title.with_value(|title| data.summary(locale, graph.unit, title))));
    let point = move |event: &web_sys::PointerEvent| {
        let target = event.current_target().and_then(|target| target.dyn_into::<web_sys::Element>().ok())?;
        let rect = target.get_bounding_client_rect();
        let share = (f64::from(event.client_x()) - rect.left()) / rect.width().max(1.0);
        Some(graph.window.get_untracked().moment(share))
    };
    let series = graph.labels.with_value(Vec::len);
    view! {
        <svg class="chart__drawing" viewBox=VIEW_BOX preserveAspectRatio="none" role="img" tabindex="0"
            aria-label=move || summary.get() aria-description=locale.t(text::CHART_KEYS)
            on:pointermove=move |event| graph.cursor.set(point(&event))
            on:pointerleave=move |_| graph.cursor.set(None)
            on:blur=move |_| graph.cursor.set(None)
            on:keydown=move |event| step(graph, &event)>
            <path class="chart__grid" d=GRID></path>
            {(0..series).map(|at| view! { <Line graph=graph at=at/> }).collect_view()}
            <path class="chart__limit" d=move || limit_path(graph, false)></path>
            <path class="chart__limit chart__limit--soft" d=move || limit_path(graph, true)></path>
            <path class="chart__marks" d=move || mark_path(graph)></path>
            <path class="chart__cursor" d=move || cursor_path(graph)></path>
        </svg>
    }
}

/// Arrow keys move the cursor sample by sample.
fn step(graph: Graph, event: &web_sys::KeyboardEvent) {
    let change: isize = match event.key().as_str() {
        "ArrowLeft" => -1,
        "ArrowRight" => 1,
        "Escape" => return graph.cursor.set(None),
        _ => return,
    };
    event.prevent_default();
    graph.shown.with_untracked(|data| {
        let at = graph.cursor.get_untracked().and_then(|at| data.nearest(at)).or_else(|| data.last());
        let next = at.and_then(|at| at.checked_add_signed(change)).and_then(|next| data.times.get(next));
        if let Some(time) = next {
            graph.cursor.set(Some(*time));
        }
    });
}

#[component]
fn Line(graph: Graph, at: usize) -> impl IntoView {
    let drawn = move |draw: fn(Window, &[i64], &data::Points) -> String| {
        let window = graph.window.get();
        graph
            .shown
            .with(|data| data.series.get(at).map(|points| draw(window, &data.times, points)).unwrap_or_default())
    };
    let line = Memo::new(move |_| drawn(|window, times, points| geometry::line(window, times, &points.avg)));
    let fill = Memo::new(move |_| {
        drawn(|window, times, points| {
            if points.max.is_empty() {
                geometry::area(window, times, &points.avg)
            } else {
                geometry::band(window, times, &points.avg, &points.max)
            }
        })
    });
    view! {
        <g data-series=(at + 1).to_string()>
            <path class="chart__band" d=move || fill.get()></path>
            <path class="chart__line" d=move || line.get()></path>
        </g>
    }
}

fn limit_path(graph: Graph, is_soft: bool) -> String {
    let window = graph.window.get();
    graph.shown.with(|data| {
        let drawn = data.limits.iter().filter(|limit| limit.is_soft == is_soft && limit.value <= window.top);
        drawn.map(|limit| geometry::across(window.y(limit.value))).collect()
    })
}

fn mark_path(graph: Graph) -> String {
    let window = graph.window.get();
    graph
        .shown
        .with(|data| data.marks_in(window).map(|mark| geometry::upright(window.x(mark.at_ms))).collect())
}

fn cursor_path(graph: Graph) -> String {
    let window = graph.window.get();
    let nearest = graph
        .cursor
        .get()
        .and_then(|at| graph.shown.with(|data| data.nearest(at).and_then(|index| data.times.get(index).copied())));
    nearest.map(|at| geometry::upright(window.x(at))).unwrap_or_default()
}
