//! Turns a tick into what one stream has not seen yet: only values that changed, only rows that its viewer asked for.

use std::collections::{HashMap, HashSet};

use model::event::{MetricsFrame, MetricsRow, MetricsTopic};
use model::metrics::{HOST, LIST_COLUMNS, SERIES};

use super::{Tick, TickRow};

/// What one stream was sent so far.
#[derive(Debug, Default)]
pub struct DeltaEncoder {
    seen: HashMap<String, Seen>,
    topic: Option<MetricsTopic>,
}

#[derive(Debug, Default)]
struct Seen {
    fixed: Vec<Option<f64>>,
    extra: HashMap<String, Option<f64>>,
}

/// How much of a row a topic carries.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Depth {
    List,
    Everything,
}

fn depth(topic: &MetricsTopic, name: &str) -> Option<Depth> {
    let is_named = |word: &str| word == name;
    match topic {
        MetricsTopic::Word(word) if word == "all" => (name != HOST).then_some(Depth::List),
        MetricsTopic::Word(words) => words.split(',').any(is_named).then_some(Depth::Everything),
        MetricsTopic::Names(names) => {
            let all = names.iter().any(|word| word == "all") && name != HOST;
            if names.iter().any(|word| is_named(word)) {
                Some(Depth::Everything)
            } else {
                all.then_some(Depth::List)
            }
        }
    }
}

/// Five significant digits: what a page can show, and what keeps noise off the wire.
fn rounded(value: f64) -> f64 {
    if value == 0.0 || !value.is_finite() {
        return value;
    }
    let scale = 10_f64.powf(4.0 - value.abs().log10().floor());
    (value * scale).round() / scale
}

impl DeltaEncoder {
    /// For a stream that has seen nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The viewer asked again, maybe for what it had before: its page is new and holds nothing.
    pub fn asked_anew(&mut self) {
        self.topic = None;
    }

    /// The changes of this tick against what the stream saw; a row that is gone becomes gaps. A new topic begins with
    /// whole rows: what a page that was closed saw, the next one has not.
    pub fn encode(&mut self, tick: &Tick, topic: &MetricsTopic) -> MetricsFrame {
        let mut rows = self.gone(tick);
        if self.topic.as_ref() != Some(topic) {
            self.topic = Some(topic.clone());
            self.seen.clear();
        }
        for row in &tick.rows {
            if let Some(depth) = depth(topic, &row.name) {
                let seen = self.seen.entry(row.name.clone()).or_default();
                rows.extend(changes(row, depth, seen));
            }
        }
        MetricsFrame { at_ms: tick.at_ms, rows }
    }

    /// Gaps for what the stream saw and the tick no longer has.
    fn gone(&mut self, tick: &Tick) -> Vec<MetricsRow> {
        let present: HashSet<&str> = tick.rows.iter().map(|row| row.name.as_str()).collect();
        let absent = self.seen.extract_if(|name, _| !present.contains(name.as_str()));
        absent.filter_map(|(name, seen)| gaps(&name, &seen)).collect()
    }
}

fn changes(row: &TickRow, depth: Depth, seen: &mut Seen) -> Option<MetricsRow> {
    let columns = if depth == Depth::List { LIST_COLUMNS } else { SERIES.len() };
    let mut out = MetricsRow {
        name: row.name.clone(),
        ..MetricsRow::default()
    };
    seen.fixed.resize(SERIES.len(), None);
    for (column, (value, old)) in row.values.iter().zip(&mut seen.fixed).take(columns).enumerate() {
        let value = value.map(rounded);
        if value != *old {
            *old = value;
            out.values.push((u8::try_from(column).unwrap_or(u8::MAX), value));
        }
    }
    if depth == Depth::Everything {
        for (name, value) in &row.extra {
            let value = value.map(rounded);
            if seen.extra.insert(name.clone(), value) != Some(value) {
                out.extra.push((name.clone(), value));
            }
        }
    }
    (!out.values.is_empty() || !out.extra.is_empty()).then_some(out)
}

fn gaps(name: &str, seen: &Seen) -> Option<MetricsRow> {
    let known = seen.fixed.iter().enumerate().filter(|(_, value)| value.is_some());
    let values: Vec<_> = known.map(|(column, _)| (u8::try_from(column).unwrap_or(u8::MAX), None)).collect();
    let extra: Vec<_> = seen
        .extra
        .iter()
        .filter(|(_, value)| value.is_some())
        .map(|(series, _)| (series.clone(), None))
        .collect();
    (!values.is_empty() || !extra.is_empty()).then(|| MetricsRow {
        name: name.to_owned(),
        values,
        extra,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tick(rows: &[(&str, f64)]) -> Tick {
        let row = |(name, cpu): &(&str, f64)| {
            let mut values = [None; SERIES.len()];
            values[0] = Some(*cpu);
            values[20] = Some(1.0);
            TickRow {
                id: None,
                name: (*name).to_owned(),
                values,
                extra: vec![("net.eth0.rx".into(), Some(*cpu))],
            }
        };
        Tick {
            at_ms: 1,
            rows: rows.iter().map(row).collect(),
        }
    }

    fn all() -> MetricsTopic {
        MetricsTopic::Word("all".into())
    }

    #[test]
    fn only_changes_are_sent() {
        let mut encoder = DeltaEncoder::new();
        assert_eq!(encoder.encode(&tick(&[("a", 1.0), ("b", 2.0)]), &all()).rows.len(), 2);
        let frame = encoder.encode(&tick(&[("a", 1.0), ("b", 2.5)]), &all());
        assert_eq!(
            frame.rows,
            [MetricsRow {
                name: "b".into(),
                values: vec![(0, Some(2.5))],
                extra: vec![]
            }]
        );
    }

    #[test]
    fn the_list_carries_its_columns_and_a_name_everything() {
        let mut encoder = DeltaEncoder::new();
        let row = encoder.encode(&tick(&[("a", 1.0)]), &all()).rows.remove(0);
        assert!(row.extra.is_empty() && row.values.iter().all(|(column, _)| usize::from(*column) < LIST_COLUMNS));
        let named = MetricsTopic::Names(vec!["a".into()]);
        let row = DeltaEncoder::new().encode(&tick(&[("a", 1.0), ("b", 1.0)]), &named).rows.remove(0);
        assert_eq!((row.extra.len(), row.values.len()), (1, 2));
    }

    #[test]
    fn a_row_that_is_gone_becomes_gaps_once() {
        let mut encoder = DeltaEncoder::new();
        encoder.encode(&tick(&[("a", 1.0)]), &all());
        assert_eq!(
            encoder.encode(&tick(&[]), &all()).rows,
            [MetricsRow {
                name: "a".into(),
                values: vec![(0, None)],
                extra: vec![]
            }]
        );
        assert!(encoder.encode(&tick(&[]), &all()).rows.is_empty());
    }

    #[test]
    fn the_host_comes_only_when_it_is_named() {
        assert!(DeltaEncoder::new().encode(&tick(&[(HOST, 1.0)]), &all()).rows.is_empty());
        let topic = MetricsTopic::Names(vec![HOST.into(), "all".into()]);
        assert_eq!(DeltaEncoder::new().encode(&tick(&[(HOST, 1.0), ("a", 1.0)]), &topic).rows.len(), 2);
    }

    #[test]
    fn a_page_that_is_opened_anew_gets_whole_rows() {
        let (mut encoder, named) = (DeltaEncoder::new(), MetricsTopic::Names(vec!["a".into(), "all".into()]));
        let same = tick(&[("a", 1.0), ("b", 1.0)]);
        encoder.encode(&same, &all());
        let row = encoder.encode(&same, &named).rows.remove(0);
        assert_eq!(
            (row.name.as_str(), row.values.len(), row.extra.len()),
            ("a", 2, 1),
            "from the list to everything"
        );
        encoder.encode(&same, &all());
        let row = encoder.encode(&same, &named).rows.remove(0);
        assert_eq!((row.values.len(), row.extra.len()), (2, 1), "left and opened again");
        assert!(encoder.encode(&same, &named).rows.is_empty());
        encoder.asked_anew();
        assert_eq!(encoder.encode(&same, &named).rows.len(), 2, "left and opened again between two ticks");
    }

    #[test]
    fn what_goes_while_the_topic_changes_becomes_gaps_too() {
        let mut encoder = DeltaEncoder::new();
        encoder.encode(&tick(&[("a", 1.0)]), &all());
        let named = MetricsTopic::Names(vec!["b".into(), "all".into()]);
        assert_eq!(encoder.encode(&tick(&[]), &named).rows.len(), 1);
    }

    #[test]
    fn five_digits_are_enough() {
        assert_eq!(rounded(123_456_789.0), 123_460_000.0);
        assert_eq!(rounded(0.0), 0.0);
    }
}
