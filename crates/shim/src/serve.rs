//! The poll loop: signals, the console's terminal, the engine's connections, and time for restarts.

use std::collections::{HashMap, VecDeque};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{AtFlags, unlinkat};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, socket_with};

use runtime::error::{At, Result};
use runtime::shim::protocol::Fields;
use runtime::sys;

use crate::clients::Clients;
use crate::console::Console;
use crate::delegated;
use crate::exit::{self, Wish};
use crate::record::{self, Exit};
use crate::start::{Init, Start};

/// A command that runs in the container.
#[derive(Debug)]
pub struct Exec {
    pub id: String,
    /// The terminal, for its size.
    pub master: Option<OwnedFd>,
    /// Why it never ran, told with its end.
    pub failure: Option<String>,
}

/// Everything of one container.
#[derive(Debug)]
pub struct Shim {
    pub start: Start,
    pub init: Option<Init>,
    pub console: Console,
    pub execs: HashMap<i32, Exec>,
    pub wish: Wish,
    pub started_ms: i64,
    signals: OwnedFd,
    listener: OwnedFd,
    clients: Clients,
    starts: VecDeque<i64>,
    oom_kills_before: u64,
    /// In time since boot: a clock that is set must neither hurry nor hold a restart.
    restart_at_ms: Option<i64>,
    /// How often the policy has started it again since somebody asked for its start.
    restarts: u32,
    _lock: OwnedFd,
}

impl Shim {
    /// Listens on `<id>.sock`.
    pub fn new(start: Start, signals: OwnedFd, lock: OwnedFd) -> Result<Self> {
        let listener = listen(&start)?;
        Ok(Self {
            start,
            init: None,
            console: Console::default(),
            execs: HashMap::new(),
            wish: Wish::None,
            started_ms: 0,
            signals,
            listener,
            clients: Clients::default(),
            starts: VecDeque::new(),
            oom_kills_before: 0,
            restart_at_ms: None,
            restarts: 0,
            _lock: lock,
        })
    }

    /// Makes a run of the container.
    pub fn launch(&mut self) -> Result<()> {
        let init = match self.start.launch(self.starts.is_empty()) {
            Ok(init) => init,
            Err(error) => {
                self.remove_files();
                return Err(error);
            }
        };
        self.started_ms = record::now_ms();
        exit::is_loop(&mut self.starts, record::boot_ms());
        self.oom_kills_before = self.oom_kills();
        if let Err(error) = self.take_over(&init) {
            // An init that nobody knows of must not stay.
            self.start.abandon(&init);
            self.remove_files();
            return Err(error);
        }
        self.init = Some(init);
        Ok(())
    }

    fn take_over(&self, init: &Init) -> Result<()> {
        rustix::io::ioctl_fionbio(&init.master, true).at("take over the console", "ioctl(FIONBIO)")?;
        record::write_state(&self.start.shims, self.start.id(), init.pid, self.started_ms)
    }

    /// Pid of init, 0 when none runs.
    pub fn init_pid(&self) -> i32 {
        self.init.as_ref().map_or(0, |init| init.pid)
    }

    /// Serves until the container has ended for good.
    pub fn serve(mut self) -> Result<()> {
        loop {
            self.wait()?;
            self.console_traffic();
            // Requests first: whoever asked for a kill before init died must be known when its end is judged.
            self.requests();
            if self.children()? && self.restart_at_ms.is_none() && self.init.is_none() {
                self.remove_files();
                return Ok(());
            }
            if self.restart_at_ms.is_some_and(|at| record::boot_ms() >= at) && !self.restart() {
                self.remove_files();
                return Ok(());
            }
        }
    }

    /// Sleeps until something happens.
    fn wait(&self) -> Result<()> {
        let master = self.init.as_ref().map(|init| init.master.as_fd());
        let mut ready = vec![
            PollFd::from_borrowed_fd(self.signals.as_fd(), PollFlags::IN),
            PollFd::from_borrowed_fd(self.listener.as_fd(), PollFlags::IN),
        ];
        let wanted = if self.console.wants_to_write() {
            PollFlags::IN | PollFlags::OUT
        } else {
            PollFlags::IN
        };
        ready.extend(master.map(|master| PollFd::from_borrowed_fd(master, wanted)));
        let others: Vec<BorrowedFd<'_>> = self.console.sockets().into_iter().chain(self.clients.sockets()).collect();
        ready.extend(others.into_iter().map(|socket| PollFd::from_borrowed_fd(socket, PollFlags::IN)));
        let pause = self.restart_at_ms.map(|at| (at - record::boot_ms()).max(0));
        let timeout = pause.map(|ms| Timespec {
            tv_sec: ms / 1000,
            tv_nsec: ms % 1000 * 1_000_000,
        });
        match poll(&mut ready, timeout.as_ref()) {
            Ok(_) | Err(Errno::INTR) => Ok(()),
            Err(errno) => Err(errno).at("wait for something to do", "poll()"),
        }
    }

    fn console_traffic(&mut self) {
        self.console.typed();
        let Some(init) = &self.init else { return };
        self.console.write_to(init.master.as_fd());
        let mut bytes = [0; 16 << 10];
        // A bounded number of reads a turn: a flood on the console must not starve requests.
        for _ in 0..16 {
            match rustix::io::read(&init.master, &mut bytes) {
                Ok(0) | Err(_) => return,
                Ok(got) => self.console.printed(&self.start.folder, &bytes[..got]),
            }
        }
    }

    /// Reaps; true when init is among the ended.
    fn children(&mut self) -> Result<bool> {
        let mut buffer = [0; 1024];
        // Only a wake-up: waitpid tells what happened.
        while rustix::io::read(&self.signals, &mut buffer).is_ok() {}
        let mut init_ended = false;
        while let Some((pid, status)) = sys::reap().at("wait for children", "waitpid()")? {
            if pid == self.init_pid() {
                self.init_ended(status);
                init_ended = true;
            } else if let Some(exec) = self.execs.remove(&pid) {
                let code = if status & 0x7F == 0 { status >> 8 & 0xFF } else { 128 + (status & 0x7F) };
                let event = Fields::command("exec-exited").with("exec", exec.id).with("code", code);
                let event = exec.failure.iter().fold(event, |event, failure| event.with("message", failure));
                self.clients.tell(&event);
            }
        }
        Ok(init_ended)
    }

    fn init_ended(&mut self, status: i32) {
        self.console_traffic();
        self.init = None;
        self.start.remove_links();
        let exit = exit::judge(status, self.wish, self.oom_kills(), self.oom_kills_before, record::now_ms());
        let policy = self.start.fields.get("restart").unwrap_or("no").to_owned();
        let pause = exit::restart_in_ms(&exit, &policy, self.wish, &self.starts);
        self.write_down(&exit);
        let is_loop = pause.is_some() && exit::is_loop(&mut self.starts.clone(), record::boot_ms());
        if is_loop {
            self.write_down(&Exit {
                reason: "restart_loop",
                message: Some(model::restart::LOOP.to_owned()),
                ..exit
            });
        }
        self.restart_at_ms = pause.filter(|_| !is_loop).map(|pause| record::boot_ms() + pause);
        if self.restart_at_ms.is_some() && exit.reason != "reboot" {
            self.restarts += 1;
        }
        self.announce();
    }

    /// Starts again; false when it was called off or failed.
    fn restart(&mut self) -> bool {
        self.restart_at_ms = None;
        if self.wish != Wish::None {
            return false;
        }
        match self.launch() {
            Ok(()) => {
                self.announce();
                true
            }
            Err(error) => {
                // Whoever asked for a kill meanwhile has killed what was being made.
                self.requests();
                let (reason, code, message) = match self.wish {
                    Wish::Kill => ("killed", 137, None),
                    _ => ("start_failed", 1, Some(error.to_string())),
                };
                self.write_down(&Exit {
                    at_ms: record::now_ms(),
                    reason,
                    code,
                    oom_kills: 0,
                    message,
                });
                self.announce();
                false
            }
        }
    }

    fn write_down(&self, exit: &Exit) {
        if let Err(error) = exit.write(&self.start.folder) {
            // The console shows it when the record cannot be kept.
            eprintln!("berth-shim: {error}");
        }
    }

    /// Tells the engine that something changed.
    fn announce(&mut self) {
        let status = self.status().0;
        self.clients.tell(&Fields(status).with("command", "changed"));
    }

    /// What `hello` answers.
    pub fn status(&self) -> Fields {
        let state = if self.init.is_some() {
            "running"
        } else if self.restart_at_ms.is_some() {
            "restarting"
        } else {
            "ended"
        };
        let status = Fields::default()
            .with("protocol", runtime::shim::protocol::VERSION)
            .with("state", state)
            .with("pid", self.init_pid())
            .with("started-ms", self.started_ms)
            .with("restarts", self.restarts);
        // As the wall clock will show it: only for people.
        let next = self.restart_at_ms.map(|at| record::now_ms() + at - record::boot_ms());
        next.iter().fold(status, |status, next| status.with("next-start-ms", next))
    }

    /// Takes a wish, which holds until the end: no further init is started. The one that runs is killed here too where that
    /// is asked for: whoever killed the container's groups may have done so while it was still being made.
    pub fn ask_for(&mut self, wish: Wish) {
        self.wish = self.wish.max(wish);
        self.call_off();
        if let Some(init) = self.init.as_ref().filter(|_| wish == Wish::Kill) {
            // Gone already, mostly.
            drop(sys::pidfd_signal(init.pidfd.as_fd(), libc::SIGKILL));
        }
    }

    /// Calls off a restart that is waiting for its time.
    pub fn call_off(&mut self) {
        if self.restart_at_ms.is_some() {
            self.restart_at_ms = Some(0);
            self.wish = Wish::Kill;
        }
    }

    /// Kills for lack of memory that the kernel counted in this group.
    fn oom_kills(&self) -> u64 {
        let (group, file) = match self.start.group("memory") {
            Some(group) => (Some(group), "memory.oom_control"),
            None => (self.start.unified.as_ref().map(AsFd::as_fd), "memory.events"),
        };
        let text = group.and_then(|group| delegated::read(group, file)).unwrap_or_default();
        text.lines()
            .find_map(|line| line.strip_prefix("oom_kill "))
            .and_then(|count| count.trim().parse().ok())
            .unwrap_or(0)
    }

    fn requests(&mut self) {
        while let Ok(socket) = rustix::net::accept_with(&self.listener, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK) {
            self.clients.add(socket);
        }
        let mut clients = std::mem::take(&mut self.clients);
        clients.serve(self);
        clients.absorb(std::mem::take(&mut self.clients));
        self.clients = clients;
    }

    fn remove_files(&self) {
        for kind in ["sock", "state", "lock"] {
            // What is not there is removed already.
            unlinkat(&self.start.shims, format!("{}.{kind}", self.start.id()), AtFlags::empty()).ok();
        }
    }
}

/// Binds by a short relative name: a socket's path has at most 107 bytes, and the folder is known by descriptor.
fn listen(start: &Start) -> Result<OwnedFd> {
    let step = "listen for the engine";
    let name = format!("{}.sock", start.id());
    unlinkat(&start.shims, name.as_str(), AtFlags::empty()).ok();
    rustix::process::fchdir(&start.shims).at(step, "fchdir()")?;
    let listener = socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK, None).at(step, "socket()")?;
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o177));
    rustix::net::bind(&listener, &SocketAddrUnix::new(name.as_str()).at(step, "sockaddr_un")?).at(step, &format!("bind({name:?})"))?;
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
    rustix::net::listen(&listener, 16).at(step, "listen()")?;
    rustix::process::chdir("/").at(step, "chdir(\"/\")")?;
    Ok(listener)
}
