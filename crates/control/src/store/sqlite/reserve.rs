//! A few megabytes kept back on the disk, given up when it is full, so that stops and deletes can still be recorded
//! (trust rule D44). The first half helps any write, the second only those that remove.

use std::fs::OpenOptions;
use std::io::ErrorKind;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::FallocateFlags;

const HALF: u64 = 2 << 20;
const REFILL_EVERY: Duration = Duration::from_secs(30);

#[derive(Debug)]
pub(super) struct Reserve {
    halves: [PathBuf; 2],
    is_whole: bool,
    tried: Duration,
}

impl Reserve {
    pub(super) fn new(state_dir: &Path) -> Self {
        let mut reserve = Self {
            halves: ["reserve.1", "reserve.2"].map(|name| state_dir.join(name)),
            is_whole: false,
            tried: Duration::ZERO,
        };
        reserve.fill();
        reserve
    }

    fn fill(&mut self) {
        let filled: std::io::Result<()> = self.halves.iter().try_for_each(|path| {
            let file = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(path)?;
            Ok(rustix::fs::fallocate(&file, FallocateFlags::empty(), 0, HALF)?)
        });
        if let Err(error) = &filled {
            tracing::warn!(%error, "the state directory has no room for the reserve that helps on a full disk");
        }
        self.is_whole = filled.is_ok();
    }

    /// Tries again, now and then, to set aside what was given up.
    pub(super) fn refill(&mut self, now: Duration) {
        if !self.is_whole && now.saturating_sub(self.tried) >= REFILL_EVERY {
            self.tried = now;
            self.fill();
        }
    }

    /// Gives up a half; `false` when there was nothing left to give.
    pub(super) fn release(&mut self, only_removes: bool, now: Duration) -> bool {
        let halves = if only_removes { &self.halves[..] } else { &self.halves[..1] };
        let given = halves.iter().any(|path| give_up(path));
        if given {
            tracing::warn!("the disk under the state directory is full: a part of the reserve is used up");
            self.is_whole = false;
            self.tried = now;
        }
        given
    }
}

fn give_up(path: &Path) -> bool {
    match std::fs::remove_file(path) {
        Ok(()) => true,
        Err(error) => {
            if error.kind() != ErrorKind::NotFound {
                tracing::error!(path = %path.display(), %error, "the reserve cannot be given up");
            }
            false
        }
    }
}
