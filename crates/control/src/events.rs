//! Where everything that happens is announced, and from where a stream can resume: a bounded ring of lifecycle events
//! with rising numbers, and the newest metrics frame.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

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
    kept: VecDeque<Numbered>,
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
        let is_metrics = matches!(event, Event::Metrics(_));
        let numbered = Numbered {
            n: ring.last,
            event: Arc::new(event),
        };
        if !is_metrics {
            if ring.kept.len() == KEPT {
                ring.kept.pop_front();
            }
            ring.kept.push_back(numbered.clone());
        }
        // No receiver is an ordinary state: nobody looks.
        drop(self.sender.send(numbered));
    }

    /// Follows from now on.
    #[must_use]
    pub fn subscribe(&self) -> broadcast::Receiver<Numbered> {
        self.sender.subscribe()
    }

    /// Lifecycle events after number `n`; `None` when some of them are no longer kept (the stream says `resync`).
    #[must_use]
    pub fn since(&self, n: u64) -> Option<Vec<Numbered>> {
        let ring = self.ring.lock().unwrap_or_else(PoisonError::into_inner);
        let oldest = ring.kept.front().map_or(ring.last + 1, |event| event.n);
        let lost = ring.kept.len() == KEPT && n + 1 < oldest;
        (n <= ring.last && !lost).then(|| ring.kept.iter().filter(|event| event.n > n).cloned().collect())
    }
}
