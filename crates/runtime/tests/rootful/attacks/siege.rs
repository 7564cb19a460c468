//! A container whose root attacks the host, try by try, with the host's canaries read after each.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use model::engine::ExecRequest;
use model::{ContainerId, Limits};

use super::canaries::{Canaries, Victim};
use crate::command;
use crate::host::{Host, as_root, busybox_root, said};

/// One try.
#[derive(Debug)]
pub struct Attack {
    name: &'static str,
    /// Perl, with the words of `attacker.pl`.
    code: &'static str,
    /// The errnos that are right; 0: it goes through and reaches nothing but the container's own.
    answers: &'static [i32],
}

pub const fn attack(name: &'static str, code: &'static str, answers: &'static [i32]) -> Attack {
    Attack { name, code, answers }
}

pub const PROGRAM: &str = "root/attacker.pl";

/// A root file system with busybox and the host's own perl, which can make any system call.
pub fn attackers_root(root: &Path) {
    busybox_root(root);
    let libraries = said("ldd", &["/usr/bin/perl"]);
    let libraries = libraries.split_whitespace().filter(|word| word.starts_with('/'));
    for file in libraries.chain(["/usr/bin/perl"]) {
        let copy = root.join(file.trim_start_matches('/'));
        std::fs::create_dir_all(copy.parent().unwrap()).unwrap();
        std::fs::copy(file, copy).unwrap();
    }
    std::fs::write(root.join(PROGRAM), include_str!("attacker.pl")).unwrap();
}

/// The container, the host around it, and how the host was before.
pub struct Siege {
    pub id: ContainerId,
    pub victim: Victim,
    before: Canaries,
    folder: PathBuf,
    pub host: Host,
}

impl Siege {
    /// Starts the attacker; the host's state is that of now.
    pub fn lay(name: &str) -> Self {
        Self::lay_on(name, attackers_root)
    }

    pub fn lay_on(name: &str, fill: impl FnOnce(&Path)) -> Self {
        let host = Host::new(as_root(), name);
        let id = host.container(name, fill);
        let limits = Limits {
            pids: Some(100),
            memory_bytes: Some(256 << 20),
            ..Limits::default()
        };
        host.start(id, limits).expect("it starts");
        Self::around(host, id)
    }

    /// A siege by a container that runs, or shall.
    pub fn around(host: Host, id: ContainerId) -> Self {
        let folder = host.state().parent().expect("the instance's").to_owned();
        std::fs::write(folder.join("canary"), "of the host").unwrap();
        std::fs::set_permissions(folder.join("canary"), std::fs::Permissions::from_mode(0o666)).unwrap();
        let victim = Victim::new();
        let before = Canaries::now(&folder, &victim);
        Self {
            id,
            victim,
            before,
            folder,
            host,
        }
    }

    fn request(&self, code: &str, is_nested: bool) -> ExecRequest {
        let program = format!("/{PROGRAM}");
        let words = ["/usr/bin/perl", &program, "nested", code];
        let words: Vec<&str> = words.into_iter().filter(|word| is_nested || *word != "nested").collect();
        ExecRequest {
            env: vec![
                ("CANARY".into(), self.folder.join("canary").display().to_string()),
                ("VICTIM".into(), self.victim.pid().to_string()),
            ],
            ..command(&words)
        }
    }

    /// What the kernel answers to one try: 0 or an errno, or what it printed instead.
    pub fn answer(&self, code: &str, is_nested: bool) -> Result<i32, String> {
        let (_, said) = self.host.run(self.id, &self.request(code, is_nested));
        said.trim().parse().map_err(|_| format!("{said:?}; consoles: {}", self.host.consoles()))
    }

    /// What a program prints before its answer.
    pub fn prints(&self, code: &str, is_nested: bool) -> String {
        self.host.run(self.id, &self.request(code, is_nested)).1
    }

    /// What of the host is not as it was.
    pub fn changes(&self) -> Vec<String> {
        self.before.changes(&Canaries::now(&self.folder, &self.victim))
    }

    /// Tries each of them, as root of the container and as root of a user namespace below. What is refused to the one is to
    /// the other, if perhaps in other words.
    #[track_caller]
    pub fn withstands(&self, attacks: &[Attack]) {
        let mut failures = Vec::new();
        for attack in attacks {
            for is_nested in [false, true] {
                let answer = self.answer(attack.code, is_nested);
                let is_right = match &answer {
                    Ok(0) => attack.answers.contains(&0),
                    Ok(errno) => is_nested || attack.answers.contains(errno),
                    Err(_) => false,
                };
                if !is_right {
                    failures.push(format!("{} (nested: {is_nested}): {answer:?}, not {:?}", attack.name, attack.answers));
                }
                let changes = self.changes();
                if !changes.is_empty() {
                    failures.push(format!("{} (nested: {is_nested}) changed {changes:?}", attack.name));
                }
            }
        }
        assert!(failures.is_empty(), "{}", failures.join("\n"));
        let seen = self.host.runtime.observe_one(self.id);
        assert_eq!(seen.state, model::ContainerState::Running);
    }
}
