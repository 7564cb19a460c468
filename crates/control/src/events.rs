//! Where everything that happens is announced, and from where a stream can resume: a bounded ring of lifecycle events
//! with rising numbers.
//!
//! Of each task only the newest picture is kept: whoever resumes wants to know where it is now, and the progress of one
//! long download would otherwise push everything else out.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use model::TaskId;
use model::event::Event;
use tokio::sync::broadcast;

/// Lifecycle events kept for `Last-Event-ID`.
const KEPT: usize = 4096;

/// An event with its number; the id on the wire is `<boot>-<n>`.
#[derive(Clone, Debug)]
pub struct Numbered {
    pub n: u64,
    pub event: Arc<Event>,
}

/// Hands events from whoever makes them to every stream.
#[derive(Debug)]
pub struct Events {
    boot: String,
    ring: Mutex<Ring>,
    sender: broadcast::Sender<Numbered>,
}

#[derive(Debug, Default)]
struct Ring {
    last: u64,
    kept: BTreeMap<u64, Arc<Event>>,
    /// The newest picture of each task in `kept`.
    tasks: HashMap<TaskId, u64>,
    /// The newest event that is no longer kept, though nothing newer stands for it.
    lost: u64,
}

impl Ring {
    fn keep(&mut self, n: u64, event: &Arc<Event>) {
        if let Event::Task(task) = event.as_ref()
            && let Some(older) = self.tasks.insert(task.id, n)
        {
            self.kept.remove(&older);
        }
        self.kept.insert(n, Arc::clone(event));
        if self.kept.len() > KEPT
            && let Some((oldest, event)) = self.kept.pop_first()
        {
            self.lost = oldest;
            if let Event::Task(task) = event.as_ref() {
                self.tasks.remove(&task.id);
            }
        }
    }
}

impl Events {
    /// A bus whose ids begin with `boot`, which changes with every start of the console.
    #[must_use]
    pub fn new(boot: String) -> Self {
        let (sender, _) = broadcast::channel(1024);
        Self {
            boot,
            ring: Mutex::default(),
            sender,
        }
    }

    /// The first half of every id.
    #[must_use]
    pub fn boot(&self) -> &str {
        &self.boot
    }

    /// Announces an event. Metrics are sent but not kept: history has them.
    pub fn announce(&self, event: Event) {
        let mut ring = self.ring.lock().unwrap_or_else(PoisonError::into_inner);
        ring.last += 1;
        let numbered = Numbered {
            n: ring.last,
            event: Arc::new(event),
        };
        if !matches!(numbered.event.as_ref(), Event::Metrics(_)) {
            ring.keep(numbered.n, &numbered.event);
        }
        // No receiver is an ordinary state: nobody looks.
        drop(self.sender.send(numbered));
    }

    /// Follows from now on.
    #[must_use]
    pub fn subscribe(&self) -> broadcast::Receiver<Numbered> {
        self.sender.subscribe()
    }

    /// Number of the newest event.
    #[must_use]
    pub fn last(&self) -> u64 {
        self.ring.lock().unwrap_or_else(PoisonError::into_inner).last
    }

    /// Lifecycle events after number `n`; `None` when some of them are no longer kept (the stream says `resync`).
    #[must_use]
    pub fn since(&self, n: u64) -> Option<Vec<Numbered>> {
        let ring = self.ring.lock().unwrap_or_else(PoisonError::into_inner);
        let is_known = n <= ring.last && n >= ring.lost;
        is_known.then(|| {
            ring.kept
                .range(n + 1..)
                .map(|(n, event)| Numbered {
                    n: *n,
                    event: Arc::clone(event),
                })
                .collect()
        })
    }
}

#[cfg(test)]
mod tests {
    use model::Timestamp;
    use model::event::{ContainerChange, MetricsFrame};
    use model::id::ContainerId;
    use model::task::{Progress, Task, TaskState};

    use super::*;

    fn task(id: u128, done: u64) -> Event {
        Event::Task(Box::new(Task {
            id: TaskId(uuid::Uuid::from_u128(id)),
            kind: "template.download".into(),
            target: "x".into(),
            state: TaskState::Running,
            progress: Progress { done, ..Progress::default() },
            user: "anna".into(),
            created_at: Timestamp::from_ms(0),
            ended_at: None,
            error: None,
            cancellable: true,
        }))
    }

    fn container(name: &str) -> Event {
        Event::Container(ContainerChange {
            id: ContainerId(uuid::Uuid::nil()),
            name: name.into(),
            summary: None,
            mark: None,
            at: None,
        })
    }

    fn numbers(events: &Events, after: u64) -> Option<Vec<u64>> {
        events.since(after).map(|kept| kept.iter().map(|event| event.n).collect())
    }

    #[test]
    fn a_stream_resumes_after_what_it_saw() {
        let events = Events::new("boot".into());
        for name in ["a", "b", "c"] {
            events.announce(container(name));
        }
        assert_eq!(numbers(&events, 1), Some(vec![2, 3]));
        assert_eq!(numbers(&events, events.last()), Some(vec![]));
        assert_eq!(numbers(&events, 4), None, "a number that was never given");
    }

    #[test]
    fn metrics_are_sent_but_not_kept() {
        let events = Events::new("boot".into());
        let mut stream = events.subscribe();
        events.announce(Event::Metrics(MetricsFrame::default()));
        events.announce(container("a"));
        assert_eq!(stream.try_recv().unwrap().n, 1);
        assert_eq!(numbers(&events, 0), Some(vec![2]));
    }

    #[test]
    fn of_a_task_only_the_newest_picture_is_kept() {
        let events = Events::new("boot".into());
        events.announce(container("a"));
        for done in 0..10_000 {
            events.announce(task(1, done));
        }
        events.announce(task(2, 0));
        assert_eq!(numbers(&events, 0), Some(vec![1, 10_001, 10_002]));
    }

    #[test]
    fn what_is_lost_is_said() {
        let events = Events::new("boot".into());
        for n in 0..KEPT + 2 {
            events.announce(container(&n.to_string()));
        }
        assert_eq!(numbers(&events, 1), None);
        assert_eq!(numbers(&events, 2).map(|kept| kept.len()), Some(KEPT));
    }
}
