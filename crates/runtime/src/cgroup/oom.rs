//! Hearing of and counting kills for lack of memory, from a directory descriptor alone, so that the shim can use it too.
//!
//! Version 1 signals an eventfd that was registered for `memory.oom_control`; version 2 wakes poll(2) on `memory.events`.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use rustix::event::{EventfdFlags, PollFlags, eventfd};

use super::{file, parse};

/// Where OOM kills of one group are heard.
#[derive(Debug)]
pub enum OomWatch {
    /// `memory.oom_control` and the eventfd registered for it.
    V1 { control: File, event: OwnedFd },
    /// `memory.events`.
    V2 { events: File },
}

impl OomWatch {
    /// Listens in a version 1 memory directory.
    ///
    /// # Errors
    /// The files are absent, or the kernel refuses the registration.
    pub fn v1(memory: BorrowedFd<'_>) -> io::Result<Self> {
        let control = file::open(memory, "memory.oom_control")?;
        let event = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        file::write(memory, "cgroup.event_control", &format!("{} {}", event.as_raw_fd(), control.as_raw_fd()))?;
        Ok(Self::V1 { control, event })
    }

    /// Listens in a version 2 directory that has the memory controller.
    ///
    /// # Errors
    /// The file is absent.
    pub fn v2(group: BorrowedFd<'_>) -> io::Result<Self> {
        Ok(Self::V2 {
            events: file::open(group, "memory.events")?,
        })
    }

    /// What to poll, and for what.
    #[must_use]
    pub fn poll_on(&self) -> (BorrowedFd<'_>, PollFlags) {
        match self {
            Self::V1 { event, .. } => (event.as_fd(), PollFlags::IN),
            Self::V2 { events } => (events.as_fd(), PollFlags::PRI),
        }
    }

    /// Takes the notification and returns how many processes were killed so far; `None` when the kernel does not tell.
    /// The eventfd fires when the limit is hit: that is before, or without, a kill.
    ///
    /// # Errors
    /// The group is gone.
    pub fn kills(&self) -> io::Result<Option<u64>> {
        let mut text = String::new();
        match self {
            Self::V1 { control, event } => {
                // Empty means that nothing happened since; the counter below is read all the same.
                let mut count = [0; 8];
                match rustix::io::read(event, &mut count) {
                    Ok(_) | Err(rustix::io::Errno::AGAIN) => {}
                    Err(error) => return Err(error.into()),
                }
                file::reread(control, &mut text)?;
            }
            Self::V2 { events } => file::reread(events, &mut text)?,
        }
        Ok(parse::keyed(&text, "oom_kill"))
    }
}
