//! What a graph shows, and its numbers in words.

use crate::format::lower_case;
use model::Timestamp;

use super::geometry::{Window, axis_top};
use crate::format::{ByteUnit, Locale};
use crate::i18n::{Text, charts as text};

/// What a value measures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    Cores,
    Bytes,
    /// Bytes per second.
    Rate,
    /// From 0 to 1, shown as per cent.
    Share,
    Count,
}

impl Unit {
    /// The value with its unit.
    #[must_use]
    pub fn write(self, locale: Locale, value: f64) -> String {
        match self {
            Self::Cores => locale.decimal(value, 2),
            Self::Bytes => locale.bytes_f64(value),
            Self::Rate => locale.rate(value),
            Self::Share => locale.percent(value),
            Self::Count => locale.short(value),
        }
    }

    /// The labels of an axis from its top down to 0, in one unit.
    #[must_use]
    pub fn axis(self, locale: Locale, top: f64) -> [String; 3] {
        let label = |value: f64| match self {
            Self::Bytes | Self::Rate => {
                let unit = ByteUnit::of(top);
                let per = if self == Self::Rate { "/s" } else { "" };
                format!("{}\u{a0}{}{per}", locale.short(value / unit.factor()), unit.name(locale.lang))
            }
            Self::Share => locale.percent(value),
            Self::Cores | Self::Count => locale.short(value),
        };
        [label(top), label(top / 2.0), "0".to_owned()]
    }

    fn is_binary(self) -> bool {
        matches!(self, Self::Bytes | Self::Rate)
    }

    /// The least height of an axis, so that idle noise does not look like load.
    fn floor(self) -> f64 {
        match self {
            Self::Cores => 0.2,
            Self::Bytes => 16.0 * 1_048_576.0,
            Self::Rate => 4096.0,
            Self::Share => 0.05,
            Self::Count => 10.0,
        }
    }
}

/// The points of one line; `max` is empty where each point is a single sample.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Points {
    pub avg: Vec<Option<f64>>,
    pub max: Vec<Option<f64>>,
}

/// A limit drawn as a dashed line.
#[derive(Clone, Debug, PartialEq)]
pub struct LimitLine {
    pub value: f64,
    /// A second, softer limit (`memory.high`).
    pub is_soft: bool,
    /// The series it holds for, where it is not all of them.
    pub of: Option<Text>,
}

impl LimitLine {
    /// One that nothing gets past, for all series.
    #[must_use]
    pub fn hard(value: f64) -> Self {
        Self {
            value,
            is_soft: false,
            of: None,
        }
    }
}

/// A mark at a moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventMark {
    pub at_ms: i64,
    pub label: String,
}

/// Everything that one graph shows now.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ChartData {
    pub times: Vec<i64>,
    pub from_ms: i64,
    pub to_ms: i64,
    pub step_ms: i64,
    pub series: Vec<Points>,
    pub limits: Vec<LimitLine>,
    pub marks: Vec<EventMark>,
    /// What is measured does not run: its last value is not its value now.
    pub is_off: bool,
}

/// A limit is drawn while it is at most so many times the data; else its place is only told.
const LIMIT_REACH: f64 = 10.0;

/// As many marks are named beneath a graph.
const MARKS_TOLD: usize = 2;

impl ChartData {
    /// The drawing's window; `before` is the axis it had.
    #[must_use]
    pub fn window(&self, unit: Unit, before: Option<f64>) -> Window {
        let points = self.series.iter().flat_map(|series| series.avg.iter().chain(&series.max));
        let highest = points.flatten().copied().fold(unit.floor(), f64::max);
        let limit = self
            .limits
            .iter()
            .map(|limit| limit.value)
            .filter(|limit| *limit <= highest * LIMIT_REACH)
            .fold(0.0, f64::max);
        let top = axis_top(highest.max(limit), unit.is_binary(), before);
        Window {
            from_ms: self.from_ms,
            to_ms: self.to_ms,
            // More than all of the time there is not.
            top: if unit == Unit::Share { top.min(1.0) } else { top },
            gap_ms: self.step_ms.max(1000) * 5 / 2,
        }
    }

    /// The index of the point nearest to a moment.
    #[must_use]
    pub fn nearest(&self, at_ms: i64) -> Option<usize> {
        (0..self.times.len()).min_by_key(|&index| self.times.get(index).map_or(i64::MAX, |time| (time - at_ms).abs()))
    }

    /// The last point that has a value in any series.
    #[must_use]
    pub fn last(&self) -> Option<usize> {
        (0..self.times.len())
            .rev()
            .find(|&index| self.series.iter().any(|series| value_at(&series.avg, index).is_some()))
    }

    /// `12:04:55: 0.42 used (highest 0.90)`.
    #[must_use]
    pub fn readout(&self, locale: Locale, unit: Unit, labels: &[String], index: usize) -> String {
        let parts: Vec<String> = self
            .series
            .iter()
            .zip(labels)
            .map(|(series, label)| {
                let value = value_at(&series.avg, index).map_or_else(|| locale.t(text::GAP).to_owned(), |value| unit.write(locale, value));
                match value_at(&series.max, index) {
                    Some(max) => format!("{label} {value} ({} {})", lower_case(locale.t(text::MAXIMUM)), unit.write(locale, max)),
                    None => format!("{label} {value}"),
                }
            })
            .collect();
        parts.join(" · ")
    }

    /// What the lines of limits are: `read: limit 1 MiB/s`. One above the window is told by an arrow.
    #[must_use]
    pub fn limit_words(&self, locale: Locale, unit: Unit, top: f64) -> String {
        let word = |limit: &LimitLine| {
            let (arrow, text) = match (limit.value > top, limit.is_soft) {
                (true, _) => ("↑ ", text::LIMIT_ABOVE),
                (false, true) => ("", text::HIGH),
                (false, false) => ("", text::LIMIT),
            };
            let of = limit.of.map(|of| locale.fill(text::OF_SERIES, &[("series", locale.t(of))])).unwrap_or_default();
            format!("{arrow}{of}{}", locale.fill(text, &[("value", &unit.write(locale, limit.value))]))
        };
        self.limits.iter().map(word).collect::<Vec<_>>().join(" · ")
    }

    /// The marks that are drawn.
    pub fn marks_in(&self, window: Window) -> impl DoubleEndedIterator<Item = &EventMark> {
        self.marks.iter().filter(move |mark| mark.at_ms >= window.from_ms && mark.at_ms <= window.to_ms)
    }

    /// `┊ 12:04:55 started`: the newest of the marks that are drawn; the table has them all.
    #[must_use]
    pub fn newest_marks(&self, locale: Locale, window: Window) -> String {
        let newest = self.marks_in(window).rev().take(MARKS_TOLD);
        let words = newest.map(|mark| format!("┊ {} {}", locale.time(Timestamp::from_ms(mark.at_ms)), mark.label));
        words.collect::<Vec<_>>().join(" ")
    }

    /// The graph in one sentence, for those who do not see it.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "a mean of some hundred values")]
    pub fn summary(&self, locale: Locale, unit: Unit, title: &str) -> String {
        let Some((first, last)) = self.series.first().zip(self.last()) else {
            return locale.fill(text::SUMMARY_NONE, &[("title", title)]);
        };
        let values: Vec<f64> = first.avg.iter().flatten().copied().collect();
        let average = values.iter().sum::<f64>() / values.len().max(1) as f64;
        let highest = first.avg.iter().chain(&first.max).flatten().copied().fold(0.0, f64::max);
        let now = value_at(&first.avg, last).unwrap_or(0.0);
        let write = |value| unit.write(locale, value);
        locale.fill(
            text::SUMMARY,
            &[("title", title), ("now", &write(now)), ("avg", &write(average)), ("max", &write(highest))],
        )
    }

    /// The moment of a point, in words.
    #[must_use]
    pub fn moment(&self, locale: Locale, index: usize) -> String {
        let at = Timestamp::from_ms(self.times.get(index).copied().unwrap_or(self.to_ms));
        if self.to_ms - self.from_ms > 86_400_000 {
            format!("{} {}", locale.day(at), locale.time(at))
        } else {
            locale.time(at)
        }
    }
}

/// A point's value; a gap and an absent point are the same.
#[must_use]
pub fn value_at(values: &[Option<f64>], index: usize) -> Option<f64> {
    values.get(index).copied().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn data(values: Vec<Option<f64>>) -> ChartData {
        ChartData {
            times: (0..values.len()).map(|at| i64::try_from(at).unwrap() * 1000).collect(),
            from_ms: 0,
            to_ms: 10_000,
            step_ms: 1000,
            series: vec![Points { avg: values, max: Vec::new() }],
            ..ChartData::default()
        }
    }

    #[test]
    fn limits_of_different_series_are_told_apart() {
        let mut data = data(vec![Some(0.5)]);
        let limit = |value, of| LimitLine {
            of: Some(of),
            ..LimitLine::hard(value)
        };
        data.limits = vec![limit(2.0, text::READ), limit(9.0, text::WRITTEN)];
        assert_eq!(
            data.limit_words(Locale::default(), Unit::Cores, 4.0),
            "read: limit 2.00 · ↑ written: limit 9.00, above this scale"
        );
        data.limits = vec![LimitLine::hard(2.0)];
        assert_eq!(data.limit_words(Locale::default(), Unit::Cores, 4.0), "limit 2.00");
    }

    #[test]
    fn a_near_limit_is_on_the_axis_and_a_far_one_is_not() {
        let mut data = data(vec![Some(0.5)]);
        data.limits = vec![LimitLine::hard(2.0)];
        assert!(data.window(Unit::Cores, None).top >= 2.0);
        data.limits = vec![LimitLine::hard(64.0)];
        assert!(data.window(Unit::Cores, None).top < 2.0);
    }

    #[test]
    fn a_share_never_has_more_than_all_on_its_axis() {
        assert!((data(vec![Some(1.0)]).window(Unit::Share, None).top - 1.0).abs() < f64::EPSILON);
        assert!(data(vec![Some(0.02)]).window(Unit::Share, None).top < 0.2);
    }

    #[test]
    fn the_summary_tells_now_average_and_highest() {
        let data = data(vec![Some(1.0), Some(3.0), None]);
        assert_eq!(data.summary(Locale::default(), Unit::Cores, "CPU"), "CPU: now 3.00, average 2.00, highest 3.00");
    }

    #[test]
    fn the_newest_marks_inside_the_window_are_named() {
        let mut data = data(vec![Some(1.0)]);
        let mark = |at_ms: i64, label: &str| EventMark {
            at_ms,
            label: label.to_owned(),
        };
        assert_eq!(data.newest_marks(Locale::default(), data.window(Unit::Cores, None)), "");
        data.marks = vec![mark(1000, "started"), mark(2000, "frozen"), mark(3000, "stopped"), mark(99_000, "later")];
        let words = data.newest_marks(Locale::default(), data.window(Unit::Cores, None));
        assert_eq!(words, "┊ 00:00:03 stopped ┊ 00:00:02 frozen");
    }

    #[test]
    fn nearest_and_last_skip_what_is_not_there() {
        let data = data(vec![Some(1.0), Some(3.0), None]);
        assert_eq!(data.nearest(1400), Some(1));
        assert_eq!(data.last(), Some(1));
        assert_eq!(ChartData::default().nearest(0), None);
    }
}
