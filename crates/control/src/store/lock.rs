//! Who may use a state directory: one console at a time, by a kernel lock that dies with its holder (trust rule D25).

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rustix::fs::FlockOperation;

use crate::error::{Error, Result};

/// Magic numbers of file systems whose locks and shared memory cannot be trusted (statfs(2)): NFS, SMB, CIFS, SMB2,
/// Ceph, 9P, AFS, Coda, OCFS2, GFS2.
const NETWORK: [u64; 10] = [
    0x6969,
    0x517B,
    0xFF53_4D42,
    0xFE53_4D42,
    0x00C3_6400,
    0x0102_1997,
    0x5346_414F,
    0x7375_7245,
    0x7461_636F,
    0x0116_1970,
];

/// Holds the state directory until it is dropped.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

/// Takes the state directory for this process.
///
/// # Errors
/// `Conflict` names the process that has it; `Failed` when the directory cannot be used.
pub fn lock_state_dir(path: &Path) -> Result<Lock> {
    let name = path.join("lock");
    let unusable = |error: std::io::Error| Error::failed(format!("the state directory {} cannot be used ({error})", path.display()));
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(name)
        .map_err(unusable)?;
    match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {}
        Err(rustix::io::Errno::WOULDBLOCK) => return Err(taken(path, &mut file)),
        Err(error) => return Err(unusable(error.into())),
    }
    // The number is only for the message above; the lock itself is the kernel's.
    file.set_len(0).map_err(unusable)?;
    file.rewind().map_err(unusable)?;
    writeln!(file, "{}", std::process::id()).map_err(unusable)?;
    Ok(Lock { _file: file })
}

fn taken(path: &Path, file: &mut File) -> Error {
    let mut holder = String::new();
    let known = file.read_to_string(&mut holder).is_ok() && !holder.trim().is_empty();
    let who = if known {
        format!("process {}", holder.trim())
    } else {
        "another process".to_owned()
    };
    Error::conflict(format!("{who} already uses the state directory {}", path.display())).hint("stop it first, or give this one another --state-dir")
}

/// Refuses file systems on which a database loses its promises.
///
/// # Errors
/// `Unsupported` names the directory.
pub(super) fn refuse_network(path: &Path) -> Result<()> {
    let facts = rustix::fs::statfs(path).map_err(|error| Error::failed(format!("{} cannot be examined ({error})", path.display())))?;
    // The field's type differs between platforms; the magic numbers have 32 bits.
    let magic = u64::try_from(facts.f_type).unwrap_or(0) & 0xFFFF_FFFF;
    if NETWORK.contains(&magic) {
        return Err(Error::new(
            model::ErrorCode::Unsupported,
            format!("{} lies on a network file system, which cannot hold the state", path.display()),
        )
        .hint("give a --state-dir on a local disk"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn second_lock_names_the_holder_and_dies_with_it() {
        let dir = tempfile::tempdir().unwrap();
        let first = lock_state_dir(dir.path()).unwrap();
        let refused = lock_state_dir(dir.path()).unwrap_err();
        assert_eq!(refused.code(), model::ErrorCode::Conflict);
        assert!(refused.to_string().contains(&format!("process {}", std::process::id())), "{refused}");
        drop(first);
        lock_state_dir(dir.path()).unwrap();
    }
}
