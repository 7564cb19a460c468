//! A graph's values as a table, newest first, made only while it is open; and its marks as a list.

use leptos::prelude::*;

use super::Graph;
use super::data::{ChartData, Unit, value_at};
use crate::format::{Locale, use_locale};
use crate::i18n::charts as text;

/// Rows beyond this add nothing that the graph does not show.
const MOST_ROWS: usize = 360;

#[component]
pub fn Table(graph: Graph) -> impl IntoView {
    let locale = use_locale();
    let is_open = RwSignal::new(false);
    let details = NodeRef::<leptos::html::Details>::new();
    let toggled = move |_| is_open.set(details.get_untracked().is_some_and(|details| details.open()));
    view! {
        <details class="chart__table" node_ref=details on:toggle=toggled>
            <summary>{locale.t(text::TABLE)}</summary>
            <Show when=move || is_open.get()>
                <div class="scroll" tabindex="0" role="region" aria-label=graph.title.get_value()>
                    <table class="table">
                        <thead><tr>
                            <th scope="col">{locale.t(text::TIME)}</th>
                            {heads(graph, locale).into_iter().map(|head| view! { <th scope="col" class="number">{head}</th> }).collect_view()}
                        </tr></thead>
                        <tbody>{move || graph.shown.with(|data| rows(data, locale, graph.unit))}</tbody>
                    </table>
                </div>
                <ul class="chart__events">
                    {move || graph.shown.with(|data| data.marks.iter().map(|mark| view! {
                        <li>{format!("{} {}", locale.time(model::Timestamp::from_ms(mark.at_ms)), mark.label)}</li>
                    }).collect_view())}
                </ul>
            </Show>
        </details>
    }
}

fn heads(graph: Graph, locale: Locale) -> Vec<String> {
    let has_max = graph.shown.with_untracked(|data| data.series.iter().any(|series| !series.max.is_empty()));
    graph.labels.with_value(|labels| {
        let name = |label: &String| {
            if has_max {
                vec![
                    locale.fill(text::SERIES_AVG, &[("series", label)]),
                    locale.fill(text::SERIES_MAX, &[("series", label)]),
                ]
            } else {
                vec![label.clone()]
            }
        };
        labels.iter().flat_map(name).collect()
    })
}

fn rows(data: &ChartData, locale: Locale, unit: Unit) -> impl IntoView + use<> {
    let has_max = data.series.iter().any(|series| !series.max.is_empty());
    let cell = |values: &[Option<f64>], index| value_at(values, index).map_or_else(|| "–".to_owned(), |value| unit.write(locale, value));
    let row = |index: usize| {
        let mut cells = Vec::new();
        for series in &data.series {
            cells.push(cell(&series.avg, index));
            if has_max {
                cells.push(cell(&series.max, index));
            }
        }
        let cells = cells.into_iter().map(|text| view! { <td class="number">{text}</td> }).collect_view();
        view! { <tr><th scope="row" class="number">{data.moment(locale, index)}</th>{cells}</tr> }
    };
    (0..data.times.len()).rev().take(MOST_ROWS).map(row).collect_view()
}
