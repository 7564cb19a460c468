//! Which cgroup hierarchies this host has and where Berth's groups live in them. Read from mountinfo; nothing is created here
//! except the instance's own top directory.
//!
//! Invariant: a controller is looked up, never assumed; `cpu` and `cpuacct` may be one mount or two.

use std::path::{Path, PathBuf};

use rustix::fs::{FsWord, statfs};

use crate::error::{Error, Result};

/// statfs(2) type of cgroup2.
const CGROUP2_SUPER_MAGIC: FsWord = 0x6367_7270;

/// How the host arranges its controllers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// One unified hierarchy with all controllers.
    V2,
    /// Controllers on version 1, and a unified hierarchy beside them that freezes, kills and measures pressure.
    Hybrid,
    /// Version 1 only.
    V1,
}

impl Mode {
    /// The word of `berth check`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::V2 => "v2",
            Self::Hybrid => "hybrid",
            Self::V1 => "v1",
        }
    }
}

/// One mounted hierarchy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hierarchy {
    /// Where it is mounted.
    pub mount: PathBuf,
    /// Below which directory Berth's groups live: the top, or a delegated scope under systemd.
    pub root: PathBuf,
    /// Controllers of a version 1 mount (`name=systemd` among them); empty for the unified one.
    pub controllers: Vec<String>,
}

/// All hierarchies of the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    /// How controllers are arranged.
    pub mode: Mode,
    /// The cgroup2 mount.
    pub unified: Option<Hierarchy>,
    /// Version 1 mounts.
    pub v1: Vec<Hierarchy>,
    /// Disk that carries the state directory (major, minor): IO limits apply to it.
    pub disk: Option<(u32, u32)>,
}

impl Layout {
    /// Reads what is mounted.
    ///
    /// # Errors
    /// `/proc/self/mountinfo` cannot be read, or no cgroup hierarchy is mounted.
    pub fn detect() -> Result<Self> {
        let step = "find the cgroup hierarchies";
        let mounts = std::fs::read_to_string("/proc/self/mountinfo").map_err(|source| Error::io(step, "read(\"/proc/self/mountinfo\")", source))?;
        let pure = statfs("/sys/fs/cgroup").is_ok_and(|found| found.f_type == CGROUP2_SUPER_MAGIC);
        Self::from_mountinfo(&mounts, pure).ok_or_else(|| {
            Error::unsupported(step, "no cgroup file system is mounted")
                .hint("mount cgroup2 on /sys/fs/cgroup, or boot with systemd.unified_cgroup_hierarchy=1")
        })
    }

    /// The same from text; `pure` = `/sys/fs/cgroup` itself is cgroup2.
    #[must_use]
    pub fn from_mountinfo(text: &str, pure: bool) -> Option<Self> {
        let mut unified = None;
        let mut v1: Vec<Hierarchy> = Vec::new();
        for mount in text.lines().filter_map(parse_mount) {
            if mount.kind == "cgroup2" {
                // The first mount wins: a second one of the same hierarchy is another view of it.
                unified.get_or_insert(hierarchy(mount.path, Vec::new()));
            } else if mount.kind == "cgroup" && v1.iter().all(|other| other.controllers != mount.controllers) {
                v1.push(hierarchy(mount.path, mount.controllers));
            }
        }
        let limits_on_v1 = v1
            .iter()
            .flat_map(|hierarchy| &hierarchy.controllers)
            .any(|name| name == "memory" || name == "pids" || name == "cpu");
        let mode = match (&unified, limits_on_v1) {
            (Some(_), false) => Mode::V2,
            (Some(_), true) if pure => Mode::V2,
            (Some(_), true) => Mode::Hybrid,
            (None, true) => Mode::V1,
            (None, false) => return None,
        };
        if mode == Mode::V2 {
            // What is left of version 1 on such hosts (`name=systemd`, net_cls) carries no limit and needs no membership.
            v1.clear();
        }
        Some(Self { mode, unified, v1, disk: None })
    }

    /// The version 1 hierarchy that has a controller.
    #[must_use]
    pub fn v1(&self, controller: &str) -> Option<&Hierarchy> {
        self.v1.iter().find(|hierarchy| hierarchy.controllers.iter().any(|name| name == controller))
    }

    /// The unified hierarchy first, then those of version 1.
    pub fn all(&self) -> impl Iterator<Item = &Hierarchy> {
        self.unified.iter().chain(&self.v1)
    }

    /// Removes the instance's own directories that nothing is left in.
    pub fn remove_instance(&self, instance: Option<&str>) {
        for hierarchy in self.all() {
            // One in use refuses; it is removed when the last container goes the next time.
            drop(std::fs::remove_dir(hierarchy.root.join(instance_directory(instance))));
        }
    }
}

/// The directory of an instance below a hierarchy's root: `berth`, or `berth.NAME`.
#[must_use]
pub fn instance_directory(instance: Option<&str>) -> String {
    instance.map_or_else(|| "berth".to_owned(), |name| format!("berth.{name}"))
}

fn hierarchy(mount: PathBuf, controllers: Vec<String>) -> Hierarchy {
    Hierarchy {
        root: mount.clone(),
        mount,
        controllers,
    }
}

struct Mount {
    path: PathBuf,
    kind: String,
    controllers: Vec<String>,
}

/// `id parent major:minor root path options [tags] - type source superoptions` (proc(5)).
fn parse_mount(line: &str) -> Option<Mount> {
    let (left, right) = line.split_once(" - ")?;
    let mut left = left.split(' ').skip(3);
    let root = left.next()?;
    let path = unescape(left.next()?);
    let mut right = right.split(' ');
    let kind = right.next()?.to_owned();
    let options = right.nth(1).unwrap_or("");
    // A bind of some group (a guest's view) is not the hierarchy.
    if !kind.starts_with("cgroup") || root != "/" {
        return None;
    }
    let controllers = options.split(',').filter(|option| is_controller(option)).map(str::to_owned).collect();
    Some(Mount { path, kind, controllers })
}

fn is_controller(option: &str) -> bool {
    const CONTROLLERS: [&str; 14] = [
        "cpu",
        "cpuacct",
        "cpuset",
        "memory",
        "devices",
        "freezer",
        "blkio",
        "pids",
        "hugetlb",
        "net_cls",
        "net_prio",
        "perf_event",
        "rdma",
        "misc",
    ];
    CONTROLLERS.contains(&option) || option.starts_with("name=")
}

/// mountinfo writes space, tab, newline and backslash as three octal digits.
fn unescape(text: &str) -> PathBuf {
    use std::os::unix::ffi::OsStringExt;
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let octal = text.get(at + 1..at + 4).and_then(|digits| u8::from_str_radix(digits, 8).ok());
        if let (b'\\', Some(byte)) = (bytes[at], octal) {
            out.push(byte);
            at += 4;
        } else {
            out.push(bytes[at]);
            at += 1;
        }
    }
    PathBuf::from(std::ffi::OsString::from_vec(out))
}

/// The whole disk behind a path: what a throttle rule must name. A partition is refused by the kernel (ENODEV), and btrfs
/// has a device number of its own, so that the disk comes from mountinfo there.
#[must_use]
pub fn disk_of(path: &Path) -> Option<(u32, u32)> {
    use std::os::unix::fs::MetadataExt;
    let number = std::fs::metadata(path).ok()?.dev();
    let device = (rustix::fs::major(number), rustix::fs::minor(number));
    let device = if device.0 == 0 { source_of_mount(device)? } else { device };
    whole_disk(device)
}

fn source_of_mount((major, minor): (u32, u32)) -> Option<(u32, u32)> {
    use std::os::unix::fs::MetadataExt;
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").ok()?;
    let wanted = format!("{major}:{minor}");
    let line = mounts.lines().find(|line| line.split(' ').nth(2) == Some(&wanted))?;
    let source = line.split_once(" - ")?.1.split(' ').nth(1)?;
    let number = std::fs::metadata(unescape(source)).ok()?.rdev();
    (number != 0).then(|| (rustix::fs::major(number), rustix::fs::minor(number)))
}

fn whole_disk((major, minor): (u32, u32)) -> Option<(u32, u32)> {
    let directory = PathBuf::from(format!("/sys/dev/block/{major}:{minor}"));
    if !directory.join("partition").exists() {
        return directory.exists().then_some((major, minor));
    }
    let parent = std::fs::read_to_string(std::fs::canonicalize(directory).ok()?.parent()?.join("dev")).ok()?;
    let (major, minor) = parent.trim().split_once(':')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fixture(host: &str) -> String {
        let path = format!("{}/tests/fixtures/{host}/mountinfo", env!("CARGO_MANIFEST_DIR"));
        std::fs::read_to_string(path).expect("the fixture is in the repository")
    }

    #[test]
    fn controllers_on_version_1_beside_cgroup2_are_hybrid() {
        let layout = Layout::from_mountinfo(&fixture("6.18-hybrid"), false).unwrap();
        assert_eq!(layout.mode, Mode::Hybrid);
        assert_eq!(layout.unified.as_ref().unwrap().mount, Path::new("/sys/fs/cgroup/unified"));
        assert_eq!(layout.v1("cpuacct").unwrap().mount, Path::new("/sys/fs/cgroup/cpuacct"));
        assert_eq!(layout.v1("name=systemd").unwrap().mount, Path::new("/sys/fs/cgroup/systemd"));
        assert_eq!(layout.v1.len(), 9);
        assert!(layout.v1("perf_event").is_none());
    }

    #[test]
    fn cgroup2_alone_is_v2() {
        let layout = Layout::from_mountinfo(&fixture("6.1-v2"), true).unwrap();
        assert_eq!((layout.mode, layout.v1.len()), (Mode::V2, 0));
        assert_eq!(layout.unified.unwrap().mount, Path::new("/sys/fs/cgroup"));
    }

    #[test]
    fn joint_mounts_are_found_by_either_controller() {
        let text = "33 31 0:30 / /sys/fs/cgroup/cpu,cpuacct rw shared:1 - cgroup cgroup rw,cpu,cpuacct\n\
                    34 31 0:31 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n";
        let layout = Layout::from_mountinfo(text, false).unwrap();
        assert_eq!(layout.mode, Mode::V1);
        assert_eq!(layout.v1("cpu"), layout.v1("cpuacct"));
    }

    #[test]
    fn views_of_a_group_are_not_hierarchies() {
        let text = "34 31 0:31 /some/group /mnt rw - cgroup2 cgroup2 rw\n";
        assert_eq!(Layout::from_mountinfo(text, false), None);
    }

    #[test]
    fn escaped_paths_are_read_as_they_are() {
        assert_eq!(unescape("/a\\040b\\134"), PathBuf::from("/a b\\"));
        assert_eq!(unescape("/plain"), PathBuf::from("/plain"));
    }
}
