//! Whether a file system has room for a container to start on.

use std::os::fd::AsFd;

use rustix::fs::{StatVfs, fstatvfs};

/// Less is as good as nothing: a start makes a few folders and files.
const LEAST_BYTES: u64 = 64 << 10;
const LEAST_INODES: u64 = 8;

/// What the file system below a descriptor has run out of, for everybody but the host's root: `space` or `inodes`.
#[must_use]
pub fn used_up(file: impl AsFd) -> Option<&'static str> {
    // One that does not answer has not run out of anything that we know of.
    missing(&fstatvfs(file).ok()?)
}

fn missing(found: &StatVfs) -> Option<&'static str> {
    if found.f_bavail.saturating_mul(found.f_frsize) < LEAST_BYTES {
        return Some("space");
    }
    // Without a number of inodes they are made as they are needed, as on btrfs.
    (found.f_files > 0 && found.f_favail < LEAST_INODES).then_some("inodes")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_is_what_is_left_for_everybody() {
        let file = std::fs::File::open("/proc/self").unwrap();
        let found = |blocks, inodes, free_inodes| StatVfs {
            f_frsize: 4096,
            f_bfree: 1000,
            f_bavail: blocks,
            f_files: inodes,
            f_ffree: free_inodes,
            f_favail: free_inodes,
            ..fstatvfs(&file).unwrap()
        };
        assert_eq!(missing(&found(0, 100, 50)), Some("space"));
        assert_eq!(missing(&found(15, 100, 50)), Some("space"));
        assert_eq!(missing(&found(500, 100, 7)), Some("inodes"));
        assert_eq!(missing(&found(500, 100, 8)), None);
        assert_eq!(missing(&found(500, 0, 0)), None);
    }
}
