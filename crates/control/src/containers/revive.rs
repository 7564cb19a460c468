//! Who is started again by the console: a container whose shim was killed and which then ended by itself. Nobody else is
//! left to follow its restart policy.
//!
//! Invariant: what somebody asked to end, or has started, deleted or told otherwise meanwhile, is left alone.

use std::sync::Arc;
use std::time::Duration;

use model::container::{ExitReason, ExitRecord, RestartPolicy};
use model::{ContainerId, Timestamp, restart};

use super::{Containers, is_live};
use crate::caller::Caller;
use crate::error::Result;

impl Containers {
    /// Starts a container again after the pause of its policy. How it ended is not known, which is no success: `on-failure`
    /// starts it as `always` does.
    pub(super) async fn revive(self: &Arc<Self>, id: ContainerId) {
        let Some(live) = self.board.get(id).filter(|live| live.row.spec.restart != RestartPolicy::No) else {
            return;
        };
        let Some(pause) = pause(&live.stat.exits, self.parts.clock.now()) else {
            if let Err(error) = self.hold(id).await {
                tracing::error!(container.id = %id, %error, "that a container is not started again could not be recorded");
            }
            return;
        };
        let (this, end) = (Arc::downgrade(self), live.stat.exits.last().cloned());
        tokio::spawn(async move {
            tokio::time::sleep(pause).await;
            if let Some(this) = this.upgrade() {
                this.start_after(id, end.as_ref()).await;
            }
        });
    }

    /// Starts a container if this end is still the last that is known of it.
    async fn start_after(&self, id: ContainerId, end: Option<&ExitRecord>) {
        let Some(live) = self.board.get(id) else { return };
        if is_live(&live) || live.row.spec.restart == RestartPolicy::No || live.stat.exits.last() != end {
            return;
        }
        let name = live.row.spec.name.as_str();
        match self.start(&Caller::berth(), name, None).await {
            Ok(task) => tracing::info!(container.name = name, task.id = %task.id, "it ended without its shim and is started again"),
            Err(error) => tracing::error!(container.name = name, %error, "it ended without its shim and could not be started again"),
        }
    }

    async fn hold(&self, id: ContainerId) -> Result<()> {
        let end = ExitRecord {
            at: self.parts.clock.now(),
            reason: ExitReason::RestartLoop,
            code: 1,
            oom_kills: 0,
            message: Some(restart::LOOP.to_owned()),
        };
        self.board.change(id, |live| live.stat.add(end));
        self.save_stat(id).await
    }
}

/// How long to wait before a container that has just ended is started again; `None` when it ends too often.
fn pause(exits: &[ExitRecord], now: Timestamp) -> Option<Duration> {
    let recent = exits.iter().filter(|exit| now.ms.saturating_sub(exit.at.ms) <= restart::LOOP_WINDOW_MS).count();
    let others = recent.saturating_sub(1);
    (others < restart::LOOP_STARTS).then(|| Duration::from_millis(restart::pause_ms(others)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_ends_too_often_is_not_started_again() {
        let exit = |second: i64| ExitRecord {
            at: Timestamp::from_ms(second * 1000),
            reason: ExitReason::Exited,
            code: 255,
            oom_kills: 0,
            message: None,
        };
        let pauses = |exits: &[ExitRecord]| pause(exits, Timestamp::from_ms(100_000)).map(|pause| pause.as_millis());
        assert_eq!(pauses(&[exit(100)]), Some(100));
        assert_eq!(pauses(&[exit(30), exit(100)]), Some(100), "long ago");
        assert_eq!(pauses(&[exit(90), exit(95), exit(100)]), Some(400));
        assert_eq!(pauses(&vec![exit(90); 10]), Some(5000));
        assert_eq!(pauses(&vec![exit(90); 11]), None);
    }
}
