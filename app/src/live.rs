//! What happens now: one event stream per tab, its state for the badge, and the stores that it feeds. Pages seed the
//! stores with what the server rendered and from then on read them alone.
//!
//! Invariant: a lifecycle event changes one row; nothing here refetches a list except after `resync`.

use std::collections::BTreeMap;

use leptos::prelude::*;
use model::container::ContainerSummary;
use model::event::ContainerChange;
use model::id::{ContainerId, TaskId};
use model::task::Task;

pub mod metrics;
pub mod stream;

use metrics::{Feed, Meters};

/// What the live badge says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Badge {
    /// No script yet, or the first connection is under way.
    #[default]
    Connecting,
    Live,
    /// Connected, but no values for so many seconds.
    Delayed(u32),
    /// The n-th try.
    Reconnecting(u32),
    /// The tab is hidden.
    Paused,
    /// The session ended.
    SignedOut,
}

impl Badge {
    /// Whether values on the page are current.
    #[must_use]
    pub fn is_fresh(self) -> bool {
        matches!(self, Self::Live | Self::Connecting)
    }
}

/// One container with its newest picture and its last minute.
#[derive(Clone, Debug)]
pub struct Row {
    pub id: ContainerId,
    pub summary: ArcRwSignal<ContainerSummary>,
    pub meters: ArcRwSignal<Meters>,
}

/// An event worth a mark on the graphs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mark {
    pub container: String,
    pub kind: String,
    pub at_ms: i64,
}

/// The stores of this tab.
#[derive(Clone, Copy, Debug)]
pub struct Live {
    pub badge: RwSignal<Badge>,
    /// Another build answers: this page is old.
    pub is_outdated: RwSignal<bool>,
    /// All containers that the visitor may see; notifies when one comes or goes.
    pub rows: RwSignal<BTreeMap<ContainerId, Row>>,
    /// Tasks that were seen, newest news of each.
    pub tasks: RwSignal<BTreeMap<TaskId, ArcRwSignal<Task>>>,
    /// Marks of the last hour.
    pub marks: RwSignal<Vec<Mark>>,
    /// Rises when what was missed has to be fetched.
    pub resyncs: RwSignal<u32>,
    /// Milliseconds since the epoch; ticks every second in the browser.
    pub now_ms: RwSignal<i64>,
    feeds: RwSignal<BTreeMap<String, Feed>>,
    when_over: StoredValue<BTreeMap<TaskId, Callback<Task>>>,
    wants: StoredValue<metrics::Wants>,
    columns: StoredValue<Vec<String>>,
}

impl Live {
    /// Empty stores, at the moment when the server made the page.
    #[must_use]
    pub fn new(now_ms: i64) -> Self {
        Self {
            badge: RwSignal::default(),
            is_outdated: RwSignal::new(false),
            rows: RwSignal::default(),
            tasks: RwSignal::default(),
            marks: RwSignal::default(),
            resyncs: RwSignal::new(0),
            now_ms: RwSignal::new(now_ms),
            feeds: RwSignal::default(),
            when_over: StoredValue::default(),
            wants: StoredValue::default(),
            columns: StoredValue::new(model::metrics::SERIES.iter().map(|&name| name.to_owned()).collect()),
        }
    }

    /// Puts a fetched list into the store: rows that exist keep their minute of values.
    pub fn seed_containers(self, list: Vec<ContainerSummary>) {
        self.rows.update(|rows| {
            let known: std::collections::BTreeSet<_> = list.iter().map(|summary| summary.id).collect();
            rows.retain(|id, _| known.contains(id));
            for summary in list {
                put(rows, summary);
            }
        });
    }

    /// Puts one fetched container into the store.
    pub fn seed_container(self, summary: ContainerSummary) {
        if let Some(row) = self.rows.with_untracked(|rows| rows.get(&summary.id).cloned()) {
            row.summary.set(summary);
        } else {
            self.rows.update(|rows| put(rows, summary));
        }
    }

    /// The container of this name, tracked.
    #[must_use]
    pub fn row_named(self, name: &str) -> Option<Row> {
        self.rows
            .with(|rows| rows.values().find(|row| row.summary.with(|summary| summary.name.as_str() == name)).cloned())
    }

    /// A task that was seen, or a fetched one.
    pub fn seed_task(self, task: Task) {
        if task.state.is_over()
            && let Some(then) = self.when_over.try_update_value(|waiting| waiting.remove(&task.id)).flatten()
        {
            // Gone with the page that waited.
            then.try_run(task.clone());
        }
        if let Some(known) = self.tasks.with_untracked(|tasks| tasks.get(&task.id).cloned()) {
            // The answer to a press may come after the event that says it is done.
            if task.state.is_over() || known.with_untracked(|known| !known.state.is_over()) {
                known.set(task);
            }
        } else {
            self.tasks.update(|tasks| {
                tasks.insert(task.id, ArcRwSignal::new(task));
            });
        }
    }

    /// Runs something when the task is over; now, when it is already.
    pub fn when_over(self, id: TaskId, then: Callback<Task>) {
        let known = self.tasks.with_untracked(|tasks| tasks.get(&id).map(|task| task.get_untracked()));
        match known {
            Some(task) if task.state.is_over() => {
                then.try_run(task);
            }
            _ => self.when_over.update_value(|waiting| {
                waiting.insert(id, then);
            }),
        }
    }

    /// Changes when a task of such a kind is over, and after `resync`: then a list that it changed is fetched again.
    #[must_use]
    pub fn outcomes(self, is_of_kind: fn(&str) -> bool) -> Memo<(u32, usize)> {
        let is_over = move |task: &ArcRwSignal<Task>| task.with(|task| task.state.is_over() && is_of_kind(&task.kind));
        Memo::new(move |_| (self.resyncs.get(), self.tasks.with(|tasks| tasks.values().filter(|task| is_over(task)).count())))
    }

    /// The newest news of a task, tracked.
    #[must_use]
    pub fn task(self, id: TaskId) -> Option<Task> {
        self.tasks.with(|tasks| tasks.get(&id).map(ArcRwSignal::get))
    }

    fn apply_container(self, change: ContainerChange, at_ms: i64) {
        if let Some(kind) = change.mark {
            let mark = Mark {
                container: change.name.clone(),
                kind,
                at_ms,
            };
            self.marks.update(|marks| {
                marks.retain(|old| old.at_ms > at_ms - 3_600_000);
                marks.push(mark);
            });
        }
        match change.summary {
            Some(summary) => self.seed_container(*summary),
            None => self.rows.update(|rows| {
                rows.remove(&change.id);
            }),
        }
    }
}

fn put(rows: &mut BTreeMap<ContainerId, Row>, summary: ContainerSummary) {
    let id = summary.id;
    if let Some(row) = rows.get(&id) {
        if row.summary.with_untracked(|known| *known != summary) {
            row.summary.set(summary);
        }
    } else {
        let row = Row {
            id,
            summary: ArcRwSignal::new(summary),
            meters: ArcRwSignal::default(),
        };
        rows.insert(id, row);
    }
}

/// The stores of this tab.
#[must_use]
pub fn use_live() -> Live {
    use_context::<Live>().unwrap_or_else(|| Live::new(0))
}
