//! Values of the stream: the last minute of every row of the list, and the last hour of what a page shows in full.

use std::collections::VecDeque;

use leptos::prelude::*;
use model::event::{MetricsFrame, MetricsRow, MetricsTopic};
use model::metrics::{LIST_COLUMNS, SERIES};

use super::Live;
use crate::api::events::Curves;
use crate::map::Map;

/// Seconds that a row of the list remembers.
pub const ROW_SECONDS: usize = 60;
/// Seconds that an open page remembers.
pub const FEED_SECONDS: usize = 3600;

/// Columns of the list, in the order of [`SERIES`].
pub const CPU: usize = 0;
pub const MEMORY: usize = 1;
pub const NET_IN: usize = 2;
pub const NET_OUT: usize = 3;
/// With the cache of files; only of what is shown in full.
pub const MEMORY_WITH_CACHE: usize = 11;

/// The newest values of one row and its last minute of CPU.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Meters {
    pub values: [Option<f64>; SERIES.len()],
    pub cpu: VecDeque<Option<f64>>,
}

impl Meters {
    /// The newest value of a column.
    #[must_use]
    pub fn value(&self, column: usize) -> Option<f64> {
        self.values.get(column).copied().flatten()
    }

    /// What is known before the stream says anything.
    pub(super) fn begin_with(&mut self, values: &[Option<f64>]) {
        for (slot, value) in self.values.iter_mut().zip(values) {
            *slot = *value;
        }
    }
}

/// Every series of one container, or of the host, second by second.
#[derive(Clone, Debug, Default)]
pub struct FeedData {
    pub times: VecDeque<i64>,
    pub series: Map<String, VecDeque<Option<f64>>>,
    /// Newest value of each series: frames carry only what changed.
    newest: Map<String, Option<f64>>,
    /// What the page was made with; stands until the stream says more.
    first: Map<String, f64>,
}

/// The feed as pages read it.
pub type Feed = ArcRwSignal<FeedData>;

impl FeedData {
    /// Starts with what history has at one second; live points that are newer stay.
    pub fn seed(&mut self, history: &Curves) {
        let step = i64::try_from(history.step_ms).unwrap_or(1000).max(1);
        let newer: Vec<(i64, Map<String, Option<f64>>)> = self.times.iter().enumerate().map(|(at, &time)| (time, self.at(at))).collect();
        let points = history.series.values().map(|series| series.avg.len()).max().unwrap_or(0);
        self.times.clear();
        self.series.clear();
        for point in 0..points.min(FEED_SECONDS * 2) {
            let time = history.from.ms + i64::try_from(point).unwrap_or(0) * step;
            let values = history
                .series
                .iter()
                .map(|(name, series)| (name.clone(), series.avg.get(point).copied().flatten()))
                .collect();
            self.push(time, &values);
        }
        let last = self.times.back().copied().unwrap_or(i64::MIN);
        for (time, values) in newer.into_iter().filter(|(time, _)| *time > last) {
            self.push(time, &values);
        }
    }

    /// Values that are known before the stream says anything.
    pub fn begin_with(&mut self, values: Map<String, f64>) {
        self.first = values;
    }

    fn at(&self, index: usize) -> Map<String, Option<f64>> {
        self.series
            .iter()
            .map(|(name, values)| (name.clone(), values.get(index).copied().flatten()))
            .collect()
    }

    fn push(&mut self, time: i64, values: &Map<String, Option<f64>>) {
        let length = self.times.len();
        self.times.push_back(time);
        for (name, value) in values.iter() {
            let series = self.series.or_insert_with(name.clone(), || std::iter::repeat_n(None, length).collect());
            series.push_back(*value);
        }
        for series in self.series.values_mut().filter(|series| series.len() <= length) {
            series.push_back(None);
        }
        while self.times.len() > FEED_SECONDS {
            self.times.pop_front();
            for series in self.series.values_mut() {
                series.pop_front();
            }
        }
    }

    fn take(&mut self, at_ms: i64, row: Option<&MetricsRow>, columns: &[String]) {
        if let Some(row) = row {
            self.first.clear();
            let named = row
                .values
                .iter()
                .filter_map(|(column, value)| Some((columns.get(usize::from(*column))?.clone(), *value)));
            self.newest.extend(named);
            self.newest.extend(row.extra.iter().cloned());
        }
        if self.times.back().is_some_and(|&last| last >= at_ms) {
            return;
        }
        let newest = std::mem::take(&mut self.newest);
        self.push(at_ms, &newest);
        self.newest = newest;
    }

    /// The newest value of a series.
    #[must_use]
    pub fn newest(&self, series: &str) -> Option<f64> {
        let last = self.series.get(series).and_then(|values| values.back().copied().flatten());
        self.first.get(series).copied().or(last)
    }

    /// The mean of the last so many seconds of a series that have a value.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "a number of seconds")]
    pub fn mean(&self, series: &str, seconds: usize) -> Option<f64> {
        let values: Vec<f64> = self.series.get(series)?.iter().rev().take(seconds).copied().flatten().collect();
        (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
    }
}

/// What the open pages need from the stream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wants {
    /// Names shown in full, with how many viewers each has on this page.
    full: Map<String, u32>,
    /// Rows of a list that are visible; `None` = no list is open.
    list: Option<ListWant>,
}

/// Which rows a list needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListWant {
    All,
    Only(Vec<String>),
}

impl Wants {
    /// What to ask of the stream: list columns are enough while nothing is shown in full.
    #[must_use]
    pub fn topic(&self) -> MetricsTopic {
        let mut names: Vec<String> = self.full.keys().cloned().collect();
        match &self.list {
            Some(ListWant::All) if names.is_empty() => return MetricsTopic::Word("all".to_owned()),
            Some(ListWant::All) => names.push("all".to_owned()),
            Some(ListWant::Only(list)) => names.extend(list.iter().filter(|name| !self.full.contains_key(*name)).cloned()),
            None => {}
        }
        MetricsTopic::Names(names)
    }
}

impl Live {
    /// The feed of a container or the host; the stream carries it until the page that asked is left.
    #[must_use]
    pub fn feed(self, name: &str) -> Feed {
        let feed = self.feed_of(name);
        self.change_wants(|wants| *wants.full.or_insert_with(name.to_owned(), u32::default) += 1);
        let name = name.to_owned();
        on_cleanup(move || {
            self.change_wants(|wants| {
                let viewers = wants.full.get(&name).copied().unwrap_or(0);
                if viewers > 1 {
                    wants.full.insert(name.clone(), viewers - 1);
                } else {
                    wants.full.remove(&name);
                }
            });
            if self.wants.try_with_value(|wants| !wants.full.contains_key(&name)).unwrap_or(false) {
                self.feeds.try_update(|feeds| feeds.remove(&name));
            }
        });
        feed
    }

    fn feed_of(self, name: &str) -> Feed {
        if let Some(feed) = self.feeds.with_untracked(|feeds| feeds.get(name).cloned()) {
            return feed;
        }
        let feed = Feed::default();
        self.feeds.update_untracked(|feeds| feeds.insert(name.to_owned(), feed.clone()));
        feed
    }

    /// Says which rows of a list are visible; `None` when the list is left.
    pub fn want_list(self, list: Option<ListWant>) {
        self.change_wants(|wants| wants.list = list);
    }

    fn change_wants(self, change: impl FnOnce(&mut Wants)) {
        let changed = self.wants.try_update_value(|wants| {
            let before = wants.clone();
            change(wants);
            before != *wants
        });
        if changed == Some(true) {
            super::stream::send_topic();
        }
    }

    /// What to ask of the stream now.
    #[must_use]
    pub(super) fn topic(self) -> MetricsTopic {
        self.wants.try_with_value(Wants::topic).unwrap_or_default()
    }

    pub(super) fn set_columns(self, columns: Vec<String>) {
        self.columns.set_value(columns);
    }

    pub(super) fn apply_metrics(self, frame: &MetricsFrame) {
        let by_name: Map<&str, &MetricsRow> = frame.rows.iter().map(|row| (row.name.as_str(), row)).collect();
        self.rows.with_untracked(|rows| {
            for row in rows.values() {
                let change = row.summary.with_untracked(|summary| by_name.get(summary.name.as_str()).copied());
                let live = row.summary.with_untracked(|summary| summary.state.is_live());
                if change.is_some() || live {
                    row.meters.update(|meters| take(meters, change));
                } else if row.meters.with_untracked(|meters| meters.value(CPU).is_some()) {
                    row.meters.update(|meters| meters.values = Default::default());
                }
            }
        });
        let feeds = self.feeds.get_untracked();
        self.columns.with_value(|columns| {
            for (name, feed) in feeds {
                feed.update(|feed| feed.take(frame.at_ms, by_name.get(name.as_str()).copied(), columns));
            }
        });
    }

    /// Forgets the newest values: a new stream sends everything once.
    pub(super) fn forget_newest(self) {
        for feed in self.feeds.get_untracked().values() {
            feed.update_untracked(|feed| feed.newest.clear());
        }
    }
}

fn take(meters: &mut Meters, change: Option<&MetricsRow>) {
    for (column, value) in change.into_iter().flat_map(|row| &row.values) {
        if let Some(slot) = meters.values.get_mut(usize::from(*column)) {
            *slot = *value;
        }
    }
    let cpu = meters.value(CPU);
    meters.cpu.push_back(cpu);
    while meters.cpu.len() > ROW_SECONDS {
        meters.cpu.pop_front();
    }
}

const _: () = assert!(matches!(SERIES[MEMORY_WITH_CACHE].as_bytes(), b"memory.current"));
const _: () = assert!(NET_OUT < LIST_COLUMNS, "the list draws only columns that the topic `all` carries");

#[cfg(test)]
mod tests {
    use super::*;

    fn frame_row(values: Vec<(u8, Option<f64>)>) -> MetricsRow {
        MetricsRow {
            name: "web".into(),
            values,
            extra: Vec::new(),
        }
    }

    #[test]
    fn what_did_not_change_keeps_its_value() {
        let columns = vec!["cpu.usage".to_owned(), "memory.used".to_owned()];
        let mut feed = FeedData::default();
        feed.take(1000, Some(&frame_row(vec![(0, Some(0.5)), (1, Some(10.0))])), &columns);
        feed.take(2000, Some(&frame_row(vec![(0, None)])), &columns);
        feed.take(2000, None, &columns);
        assert_eq!(feed.series["cpu.usage"], [Some(0.5), None]);
        assert_eq!(feed.series["memory.used"], [Some(10.0), Some(10.0)]);
    }

    #[test]
    fn history_comes_before_live_points() {
        let columns = vec!["cpu.usage".to_owned()];
        let mut feed = FeedData::default();
        feed.take(5000, Some(&frame_row(vec![(0, Some(9.0))])), &columns);
        let series = crate::api::events::Curve {
            avg: vec![Some(1.0), None],
            max: Vec::new(),
        };
        feed.seed(&Curves {
            step_ms: 1000,
            from: model::Timestamp::from_ms(3000),
            series: [("cpu.usage".to_owned(), series)].into(),
        });
        assert_eq!(feed.times, [3000, 4000, 5000]);
        assert_eq!(feed.series["cpu.usage"], [Some(1.0), None, Some(9.0)]);
    }

    #[test]
    fn what_the_page_was_made_with_stands_until_the_stream_says_more() {
        let columns = vec!["cpu.usage".to_owned()];
        let mut feed = FeedData::default();
        feed.begin_with([("disk./.used".to_owned(), 7.0)].into());
        assert_eq!(feed.newest("disk./.used"), Some(7.0));
        feed.take(1000, Some(&frame_row(vec![(0, Some(2.0))])), &columns);
        feed.take(2000, Some(&frame_row(vec![(0, Some(4.0))])), &columns);
        assert_eq!((feed.newest("disk./.used"), feed.newest("cpu.usage")), (None, Some(4.0)));
        assert_eq!(
            (feed.mean("cpu.usage", 1), feed.mean("cpu.usage", 30), feed.mean("io.read", 30)),
            (Some(4.0), Some(3.0), None)
        );
    }

    #[test]
    fn the_topic_follows_what_is_shown() {
        let mut wants = Wants::default();
        assert_eq!(wants.topic(), MetricsTopic::Names(Vec::new()));
        wants.list = Some(ListWant::All);
        assert_eq!(wants.topic(), MetricsTopic::Word("all".into()));
        wants.full.insert("@host".into(), 1);
        assert_eq!(wants.topic(), MetricsTopic::Names(vec!["@host".into(), "all".into()]));
    }
}
