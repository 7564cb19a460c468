//! Mounts of a container and the trash.

use serde::{Deserialize, Serialize};

use crate::id::ContainerId;
use crate::limits::parse_size;
use crate::time::Timestamp;

/// The source of a mount that is a file system in memory.
pub const TMPFS: &str = "tmpfs";
/// How a folder of the host is released for containers, for whoever was refused one.
pub const HOW_TO_RELEASE: &str =
    "an administrator of the host releases the folder, or one above it: `berth serve --mount-root DIR`, BERTH_MOUNT_ROOT, or `mount-root` in berth.toml";
/// What Berth itself mounts in every container.
const RESERVED: [&str; 3] = ["/dev", "/proc", "/sys"];
/// As the kernel has it (path_resolution(7)), without the NUL.
const MAX_PATH_BYTES: usize = 4095;

/// A folder of the host inside the container, `SRC:DST[:ro]`, or a file system in memory, `tmpfs:DST[:size=SIZE]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Mount {
    /// An absolute path on the host, or `tmpfs`.
    pub source: String,
    /// An absolute path inside; made when it is missing.
    pub target: String,
    #[serde(default)]
    pub read_only: bool,
    /// What a `tmpfs` holds at most; absent = half of the host's memory. It counts to the container's memory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size_bytes: Option<u64>,
}

impl Mount {
    /// Whether it is a file system in memory.
    #[must_use]
    pub fn is_tmpfs(&self) -> bool {
        self.source == TMPFS
    }

    /// Whether the mount can be right at all, wherever the folder is.
    ///
    /// # Errors
    /// Says what is wrong.
    pub fn check(&self) -> Result<(), String> {
        check_path(&self.target)?;
        if self.target == "/" {
            return Err("`/` inside is the container's own root; mount on a folder below it".into());
        }
        if let Some(own) = RESERVED.iter().find(|own| is_within(&self.target, own)) {
            return Err(format!("`{}` lies in {own}, which Berth mounts itself; choose another target", self.target));
        }
        match (self.is_tmpfs(), self.read_only, self.size_bytes) {
            (true, true, _) => Err("a tmpfs that is read-only would stay empty; leave `ro` out".into()),
            (true, false, Some(0)) => Err("a tmpfs of 0 bytes would have no bound (tmpfs(5)); leave the size out or give one".into()),
            (true, false, _) => Ok(()),
            (false, _, Some(_)) => Err("only a tmpfs has a size; a folder of the host has that of its disk".into()),
            (false, _, None) => check_path(&self.source),
        }
    }
}

impl std::fmt::Display for Mount {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.source, self.target)?;
        match self.size_bytes {
            Some(size) => write!(f, ":size={size}"),
            None if self.read_only => f.write_str(":ro"),
            None => Ok(()),
        }
    }
}

impl std::str::FromStr for Mount {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts: Vec<&str> = text.split(':').collect();
        let (source, target, option) = match parts.as_slice() {
            [source, target] => (*source, *target, None),
            [source, target, option] => (*source, *target, Some(*option)),
            _ => return Err(format!("`{text}` is neither SRC:DST, SRC:DST:ro nor tmpfs:DST[:size=SIZE]")),
        };
        let mut mount = Self {
            source: without_slash(source).to_owned(),
            target: without_slash(target).to_owned(),
            read_only: option == Some("ro"),
            size_bytes: None,
        };
        match option.map(|option| (option, option.strip_prefix("size="))) {
            None | Some(("ro", _)) => {}
            Some((_, Some(size))) => mount.size_bytes = Some(parse_size(size)?),
            Some((other, None)) => return Err(format!("`{other}` is no option of a mount; use ro, or size=SIZE of a tmpfs")),
        }
        mount.check()?;
        Ok(mount)
    }
}

/// A path without the slash at its end; `/` is itself.
#[must_use]
pub fn without_slash(path: &str) -> &str {
    path.strip_suffix('/').filter(|rest| !rest.is_empty()).unwrap_or(path)
}

/// A path that names one place only: absolute, and without empty parts, `.` and `..`.
///
/// # Errors
/// Says what is wrong.
pub fn check_path(path: &str) -> Result<(), String> {
    let shown = path.escape_debug();
    let Some(rest) = path.strip_prefix('/') else {
        return Err(format!("`{shown}` is not an absolute path"));
    };
    if !rest.is_empty() && rest.split('/').any(|part| matches!(part, "" | "." | "..")) {
        return Err(format!("`{shown}` has an empty part, `.` or `..`; write the path out"));
    }
    if path.len() > MAX_PATH_BYTES || path.chars().any(char::is_control) {
        return Err(format!("`{shown}` is longer than {MAX_PATH_BYTES} bytes or holds a control character"));
    }
    Ok(())
}

/// Whether a path is a folder or lies below it; both as [`check_path`] wants them.
#[must_use]
pub fn is_within(path: &str, folder: &str) -> bool {
    path.strip_prefix(folder.trim_end_matches('/'))
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Whether a folder of the host may come into containers.
///
/// # Errors
/// Says what is released instead; [`HOW_TO_RELEASE`] is the way out.
pub fn check_released(source: &str, roots: &[String]) -> Result<(), String> {
    if roots.iter().any(|root| is_within(source, root)) {
        return Ok(());
    }
    let released = if roots.is_empty() {
        "no folder is".to_owned()
    } else {
        format!("only {} is", roots.join(", "))
    };
    Err(format!("the folder {source} of the host is not released for containers; {released}"))
}

/// A deleted container that can still come back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct TrashEntry {
    pub id: ContainerId,
    pub name: String,
    /// `None` until it was measured.
    pub size_bytes: Option<u64>,
    pub deleted_at: Timestamp,
    pub deleted_by: String,
    pub expires_at: Timestamp,
    /// Why it could not be removed for good when that was tried last; it is tried again.
    #[serde(default)]
    pub problem: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(source: &str, target: &str, read_only: bool) -> Mount {
        Mount {
            source: source.into(),
            target: target.into(),
            read_only,
            size_bytes: None,
        }
    }

    #[test]
    fn a_mount_reads_as_it_is_written() {
        assert_eq!("/srv/a:/data".parse(), Ok(folder("/srv/a", "/data", false)));
        assert_eq!("/srv/a/:/data/:ro".parse(), Ok(folder("/srv/a", "/data", true)));
        assert_eq!("tmpfs:/cache".parse(), Ok(folder(TMPFS, "/cache", false)));
        let sized = Mount {
            size_bytes: Some(64 << 20),
            ..folder(TMPFS, "/cache", false)
        };
        assert_eq!("tmpfs:/cache:size=64M".parse(), Ok(sized));
        for text in ["/srv/a:/data", "/srv/a:/data:ro", "tmpfs:/cache", "tmpfs:/cache:size=1024"] {
            assert_eq!(text.parse::<Mount>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn what_is_no_mount_is_refused() {
        for text in [
            "/srv",
            "srv:/data",
            "/srv:data",
            "/srv:/data:rw",
            "/srv:/data:ro:ro",
            "/srv:/",
            "/srv:/proc/1",
            "/srv:/dev",
            "/srv:/sys",
            "/srv/../etc:/data",
            "/srv/./a:/data",
            "/srv//a:/data",
            "/srv:/data/..",
            "/srv\n:/data",
            "/srv:/data:size=1M",
            "tmpfs:/cache:ro",
            "tmpfs:/cache:size=0",
            "tmpfs:/cache:size=much",
        ] {
            assert!(text.parse::<Mount>().is_err(), "{text}");
        }
        assert!("/srv:/device".parse::<Mount>().is_ok(), "only whole names count");
    }

    #[test]
    fn what_is_released_is_the_folder_and_what_lies_below_it() {
        let roots = ["/srv/share".to_owned(), "/data".to_owned()];
        for source in ["/srv/share", "/srv/share/a/b", "/data/x"] {
            assert_eq!(check_released(source, &roots), Ok(()), "{source}");
        }
        for source in ["/srv", "/srv/shared", "/", "/etc"] {
            let refused = check_released(source, &roots).unwrap_err();
            assert!(refused.contains(source) && refused.contains("only /srv/share, /data is"), "{refused}");
        }
        assert!(check_released("/srv", &[]).unwrap_err().contains("no folder is"));
    }

    #[test]
    fn json_names_source_target_and_read_only() {
        let json = serde_json::to_value(folder("/srv", "/data", true)).unwrap();
        assert_eq!(json, serde_json::json!({ "source": "/srv", "target": "/data", "read_only": true }));
    }
}
