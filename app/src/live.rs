//! What happens now: one event stream per tab, its state for the badge, and the stores that it feeds. Pages seed the
//! stores with what the server rendered and from then on read them alone.
//!
//! Invariant: a lifecycle event changes one row; nothing here refetches a list except after `resync`.

use leptos::prelude::*;
use model::container::ContainerSummary;
use model::event::ContainerChange;
use model::id::{ContainerId, TaskId};
use model::task::Task;

pub mod metrics;
pub mod stream;

use crate::api::containers::Listing;
use crate::map::Map;
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

    /// Whether the stream brings values.
    #[must_use]
    pub fn is_live(self) -> bool {
        matches!(self, Self::Live | Self::Delayed(_))
    }
}

/// One container with its newest picture and its last minute.
#[derive(Clone, Debug)]
pub struct Row {
    pub id: ContainerId,
    pub summary: ArcRwSignal<ContainerSummary>,
    pub meters: ArcRwSignal<Meters>,
}

impl Row {
    /// Values that the page was made with; what the stream said since is newer.
    pub fn seed_values(&self, values: &[Option<f64>]) {
        if self.meters.with_untracked(|meters| meters.cpu.is_empty()) {
            self.meters.update(|meters| meters.begin_with(values));
        }
    }
}

/// An event worth a mark on the graphs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mark {
    pub container: String,
    pub kind: String,
    pub at_ms: i64,
}

/// Ended tasks that are remembered.
const KEPT_TASKS: usize = 200;

/// Changes when something was brought about: missed stretches, the newest end of a task, and how many have ended.
pub type Outcomes = (u32, i64, usize);

/// The stores of this tab.
#[derive(Clone, Copy, Debug)]
pub struct Live {
    pub badge: RwSignal<Badge>,
    /// Another build answers: this page is old.
    pub is_outdated: RwSignal<bool>,
    /// All containers that the visitor may see; notifies when one comes or goes.
    pub rows: RwSignal<Map<ContainerId, Row>>,
    /// Tasks that were seen, newest news of each.
    pub tasks: RwSignal<Map<TaskId, ArcRwSignal<Task>>>,
    /// Marks of the last hour.
    pub marks: RwSignal<Vec<Mark>>,
    /// Rises when what was missed has to be fetched.
    pub resyncs: RwSignal<u32>,
    /// Milliseconds since the epoch; ticks every second in the browser.
    pub now_ms: RwSignal<i64>,
    feeds: RwSignal<Map<String, Feed>>,
    when_over: StoredValue<Map<TaskId, Callback<Task>>>,
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

    /// Puts a fetched list with its newest values into the store.
    pub fn seed(self, listing: Listing) {
        self.seed_containers(listing.containers);
        self.rows.with_untracked(|rows| {
            for row in rows.values() {
                let values = row.summary.with_untracked(|summary| listing.values.get(summary.name.as_str()));
                if let Some(values) = values {
                    row.seed_values(values);
                }
            }
        });
    }

    /// Puts a fetched list into the store: rows that exist keep their minute of values.
    fn seed_containers(self, list: Vec<ContainerSummary>) {
        self.rows.update(|rows| {
            let known: crate::map::Unique<_> = list.iter().map(|summary| summary.id).collect();
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
                forget_old(tasks);
            });
        }
    }

    /// Tasks that were under way when they were heard of last, and those that somebody waits for.
    #[must_use]
    pub fn unfinished(self) -> Vec<TaskId> {
        let mut ids: Vec<TaskId> = self.tasks.with_untracked(|tasks| {
            let is_open = |task: &&ArcRwSignal<Task>| task.with_untracked(|task| !task.state.is_over());
            tasks.values().filter(is_open).map(|task| task.with_untracked(|task| task.id)).collect()
        });
        self.when_over.with_value(|waiting| ids.extend(waiting.keys().copied()));
        ids
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
    pub fn outcomes(self, is_of_kind: fn(&str) -> bool) -> Memo<Outcomes> {
        let end = move |task: &ArcRwSignal<Task>| task.with(|task| (task.state.is_over() && is_of_kind(&task.kind)).then_some(task.ended_at));
        Memo::new(move |_| {
            let ends: Vec<_> = self.tasks.with(|tasks| tasks.values().filter_map(end).collect());
            let newest = ends.iter().flatten().map(|at| at.ms).max().unwrap_or(0);
            (self.resyncs.get(), newest, ends.len())
        })
    }

    /// Whether a task of such a kind is under way. Nothing is before the stream is open: what one region of the page fetched
    /// must not change how another is drawn, since server and browser do not draw them in the same order.
    #[must_use]
    pub fn is_doing(self, is_of_kind: fn(&str) -> bool) -> Memo<bool> {
        let is_under_way = move |task: &ArcRwSignal<Task>| task.with(|task| !task.state.is_over() && is_of_kind(&task.kind));
        Memo::new(move |_| self.badge.get() != Badge::Connecting && self.tasks.with(|tasks| tasks.values().any(is_under_way)))
    }

    /// The newest task on a target of which this holds, tracked.
    #[must_use]
    pub fn newest_task(self, target: &str, is_wanted: fn(&Task) -> bool) -> Option<Task> {
        self.tasks.with(|tasks| {
            let wanted = tasks.values().map(ArcRwSignal::get).filter(|task| task.target == target && is_wanted(task));
            wanted.max_by_key(|task| task.created_at)
        })
    }

    /// The newest news of a task, tracked.
    #[must_use]
    pub fn task(self, id: TaskId) -> Option<Task> {
        self.tasks.with(|tasks| tasks.get(&id).map(ArcRwSignal::get))
    }

    /// `now_ms` stands for the moment of an event that does not carry its own.
    fn apply_container(self, change: ContainerChange, now_ms: i64) {
        if let Some(kind) = change.mark {
            let at_ms = change.at.map_or(now_ms, |at| at.ms);
            let mark = Mark {
                container: change.name.clone(),
                kind,
                at_ms,
            };
            self.marks.update(|marks| {
                marks.retain(|old| old.at_ms > now_ms - 3_600_000);
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

/// Ended tasks beyond the newest ones are forgotten; who shows one still holds it.
fn forget_old(tasks: &mut Map<TaskId, ArcRwSignal<Task>>) {
    let mut ended: Vec<(i64, TaskId)> = tasks
        .values()
        .filter_map(|task| task.with_untracked(|task| Some((task.ended_at.filter(|_| task.state.is_over())?.ms, task.id))))
        .collect();
    if ended.len() > KEPT_TASKS {
        ended.sort_unstable();
        for (_, id) in &ended[..ended.len() - KEPT_TASKS] {
            tasks.remove(id);
        }
    }
}

fn put(rows: &mut Map<ContainerId, Row>, summary: ContainerSummary) {
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

#[cfg(test)]
mod tests {
    use model::Timestamp;
    use model::task::{Progress, TaskState};

    use super::*;

    fn task(number: usize, kind: &str, state: TaskState) -> Task {
        let at = Timestamp::from_ms(i64::try_from(number).unwrap());
        Task {
            id: format!("00000000-0000-4000-8000-{number:012}").parse().unwrap(),
            kind: kind.into(),
            target: "images".into(),
            state,
            progress: Progress::default(),
            user: "anna".into(),
            created_at: at,
            ended_at: state.is_over().then_some(at),
            error: None,
            cancellable: false,
        }
    }

    #[test]
    fn old_ends_are_forgotten_and_what_runs_never_is() {
        let owner = Owner::new();
        owner.with(|| {
            let live = Live::new(0);
            live.seed_task(task(0, "container.start", TaskState::Running));
            for number in 1..=KEPT_TASKS + 3 {
                live.seed_task(task(number, "container.start", TaskState::Done));
            }
            let known: Vec<i64> = live
                .tasks
                .with_untracked(|tasks| tasks.values().map(|task| task.get_untracked().created_at.ms).collect());
            assert_eq!(known.len(), KEPT_TASKS + 1);
            assert_eq!(known.get(..2), Some([0, 4].as_slice()));
        });
    }

    #[test]
    fn a_mark_stands_where_it_happened_not_where_it_was_heard_of() {
        let owner = Owner::new();
        owner.with(|| {
            let live = Live::new(0);
            let change = |at| ContainerChange {
                id: "00000000-0000-4000-8000-000000000001".parse().unwrap(),
                name: "web".into(),
                summary: None,
                mark: Some("oom".into()),
                at,
            };
            live.apply_container(change(Some(Timestamp::from_ms(5000))), 9000);
            live.apply_container(change(None), 9000);
            let times: Vec<i64> = live.marks.with_untracked(|marks| marks.iter().map(|mark| mark.at_ms).collect());
            assert_eq!(times, [5000, 9000]);
        });
    }

    #[test]
    fn a_list_learns_of_each_end_and_that_something_is_under_way() {
        let owner = Owner::new();
        owner.with(|| {
            let live = Live::new(0);
            let (outcomes, is_reading) = (live.outcomes(|kind| kind == "source.refresh"), live.is_doing(|kind| kind == "source.refresh"));
            let before = outcomes.get_untracked();
            live.seed_task(task(1, "container.start", TaskState::Done));
            assert_eq!(outcomes.get_untracked(), before);
            live.seed_task(task(2, "source.refresh", TaskState::Running));
            assert!(!is_reading.get_untracked());
            live.badge.set(Badge::Live);
            assert!(is_reading.get_untracked());
            assert_eq!(live.unfinished().len(), 1);
            live.seed_task(task(2, "source.refresh", TaskState::Failed));
            assert!(!is_reading.get_untracked());
            assert_ne!(outcomes.get_untracked(), before);
        });
    }
}
