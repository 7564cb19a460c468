//! Whether the browser has taken over all of the page that the server drew. What the stream brings before that could make a
//! region look different from what stands in the document, and taking it over would fail.

use std::future::Future;
use std::time::Duration;

use leptos::prelude::*;

/// A region whose data never come must not keep the page from being live.
const LONGEST: Duration = Duration::from_secs(2);

/// Counts the regions that wait for their data.
#[derive(Clone, Copy, Debug, Default)]
pub struct TakenOver {
    waiting: RwSignal<u32>,
    is_late: RwSignal<bool>,
}

impl TakenOver {
    /// Nothing waits any more; tracked.
    #[must_use]
    pub fn is_whole(self) -> bool {
        self.waiting.get() == 0 || self.is_late.get()
    }

    /// Stops waiting after a while. For the browser.
    pub fn give_up_later(self) {
        let give_up = move || {
            self.is_late.try_set(true);
        };
        // Without a window there is nothing to take over.
        drop(set_timeout(give_up, LONGEST));
    }

    /// The data of a region, which counts as waiting until it is drawn from them.
    pub fn region<T>(self, data: impl Future<Output = T>) -> impl Future<Output = T> {
        self.waiting.try_update_untracked(|waiting| *waiting += 1);
        let region = Region(self.waiting);
        async move {
            let data = data.await;
            drop(region);
            data
        }
    }
}

/// Counted while it lives.
struct Region(RwSignal<u32>);

impl Drop for Region {
    fn drop(&mut self) {
        let waiting = self.0;
        let count = move || {
            waiting.try_update(|waiting| *waiting = waiting.saturating_sub(1));
        };
        // The drawing itself comes right after the data, in the same turn of the browser; the server draws once.
        if cfg!(target_arch = "wasm32") {
            drop(set_timeout(count, Duration::ZERO));
        }
    }
}
