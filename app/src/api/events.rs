//! The past of the graphs; what happens now comes by the event stream (`live`).

use leptos::prelude::*;
use model::Timestamp;
use model::metrics::{History, SeriesHistory};
use serde::{Deserialize, Serialize};

use super::ApiResult;
#[cfg(feature = "ssr")]
use super::request;
use super::wire::Json;
use crate::map::Map;

/// History as graphs draw it: the series asked for, rounded to what a graph can show.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Curves {
    pub step_ms: u64,
    pub from: Timestamp,
    pub series: Map<String, Curve>,
}

/// `max` is empty where it equals `avg` everywhere.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Curve {
    pub avg: Vec<Option<f64>>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub max: Vec<Option<f64>>,
}

impl Curves {
    /// Keeps the named series of a history.
    #[must_use]
    pub fn of(history: History, names: &[String]) -> Self {
        let kept = history.series.into_iter().filter(|(name, _)| names.contains(name));
        Self {
            step_ms: history.step_ms,
            from: history.from,
            series: kept.map(|(name, series)| (name, Curve::of(series))).collect(),
        }
    }
}

impl Curve {
    fn of(series: SeriesHistory) -> Self {
        let max = if series.max == series.avg { Vec::new() } else { series.max };
        Self {
            avg: series.avg.into_iter().map(rounded).collect(),
            max: max.into_iter().map(rounded).collect(),
        }
    }
}

/// Four digits after the point below 1000, none above: a pixel is coarser.
pub(super) fn rounded(value: Option<f64>) -> Option<f64> {
    value.map(|value| {
        if value.abs() < 1000.0 {
            (value * 10_000.0).round() / 10_000.0
        } else {
            value.round()
        }
    })
}

/// The last `span_ms` of the named series of a container, or of the host (`@host`).
///
/// # Errors
/// Not allowed, or no such container.
#[server(name = HistoryFn, prefix = "/fn", endpoint = "events/history", protocol = Json)]
pub async fn history(name: String, series: Vec<String>, span_ms: i64, step_ms: Option<u64>) -> ApiResult<Curves> {
    let (control, caller) = request::request()?;
    let now = control.clock.now();
    let history = control.metrics.history(&caller, &name, now.plus_ms(-span_ms.max(0)), now, step_ms).await?;
    Ok(Curves::of(history, &series))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_maximum_that_equals_the_average_is_not_sent() {
        let history = History {
            step_ms: 1000,
            from: Timestamp::from_ms(0),
            series: [("a", vec![Some(1.0)]), ("b", vec![Some(2.0)])]
                .map(|(name, max)| {
                    let series = SeriesHistory {
                        avg: vec![Some(1.0)],
                        max,
                        p95: vec![None],
                    };
                    (name.to_owned(), series)
                })
                .into(),
        };
        let curves = Curves::of(history, &["a".to_owned(), "b".to_owned(), "c".to_owned()]);
        assert!(curves.series["a"].max.is_empty());
        assert_eq!(curves.series["b"].max, [Some(2.0)]);
        assert_eq!(curves.series.len(), 2);
    }

    #[test]
    fn values_are_rounded_to_what_a_pixel_shows() {
        assert_eq!(rounded(Some(0.123_456)), Some(0.1235));
        assert_eq!(rounded(Some(1_234_567.8)), Some(1_234_568.0));
        assert_eq!(rounded(None), None);
    }
}
