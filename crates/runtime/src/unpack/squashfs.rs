//! Entries of a squashfs image, read by a library in the confined child: the kernel mounts no foreign image. Extended
//! attributes are left out, because the library does not read them; sources that offer a tar archive too are read from that.

use std::fs::File;
use std::io::{BufReader, Read as _, Write as _};
use std::os::fd::AsFd as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::FileExt as _;
use std::sync::atomic::{AtomicU64, Ordering};

use backhand::{BackhandError, FilesystemReader, InnerNode};

use super::archive::Account;
use super::tree::{self, Meta, Tree, clean};
use crate::error::{At, Error, Result};

const CHUNK: usize = 128 << 10;
/// Where the superblock says how long the image is.
const USED_AT: u64 = 40;

fn damaged(error: &BackhandError) -> Error {
    // Another form of the same template may do.
    if let BackhandError::UnsupportedCompression(_) | BackhandError::UnsupportedSquashfsVersion(..) = error {
        return Error::unsupported("unpack the archive", format!("this squashfs image cannot be read: {error}"));
    }
    Error::invalid("unpack the archive", format!("the squashfs image is damaged: {error}"))
}

/// Unpacks all entries below the tree.
///
/// # Errors
/// The image is damaged, a cap is reached, or the disk fails.
pub fn unpack(input: File, taken: &AtomicU64, tree: &Tree, account: &mut Account<'_>) -> Result<()> {
    let length = input.metadata().at("unpack the archive", "fstat()")?.len();
    let mut used = [0; 8];
    input
        .read_exact_at(&mut used, USED_AT)
        .map_err(|_| account.refusal(&format!("it is cut off after {length} bytes")))?;
    if u64::from_le_bytes(used) > length {
        return Err(account.refusal(&format!("it is cut off after {length} of {} bytes", u64::from_le_bytes(used))));
    }
    // Its tables are read first and blocks in any order: the whole image counts as taken for the ratio.
    taken.store(length, Ordering::Relaxed);
    let image = FilesystemReader::from_reader(BufReader::new(input)).map_err(|error| damaged(&error))?;
    let mut folders = Vec::new();
    for node in image.files() {
        account.entry()?;
        let name = node.fullpath.as_os_str().as_bytes();
        let parts = clean(name)?;
        let header = &node.header;
        let meta = Meta {
            uid: header.uid.into(),
            gid: header.gid.into(),
            mode: header.permissions.into(),
            mtime: header.mtime.into(),
            nanoseconds: 0,
            xattrs: Vec::new(),
        };
        match &node.inner {
            InnerNode::Dir(_) => {
                tree.folder(name, &parts, &meta)?;
                folders.push((parts, meta));
            }
            InnerNode::File(content) => {
                let mut reader = image.file(content).reader_checked().map_err(|error| damaged(&error))?;
                let mut file = tree.file(name, &parts)?;
                let mut buffer = vec![0; CHUNK];
                loop {
                    let got = reader
                        .read(&mut buffer)
                        .map_err(|error| Error::invalid("unpack the archive", format!("the squashfs image is damaged: {error}")))?;
                    if got == 0 {
                        break;
                    }
                    account.bytes(got as u64)?;
                    file.write_all(buffer.get(..got).unwrap_or_default()).at("unpack the archive", "write()")?;
                }
                tree::apply(name, file.as_fd(), &meta)?;
            }
            InnerNode::Symlink(link) => tree.symlink(name, &parts, link.link.as_os_str().as_bytes(), &meta)?,
            InnerNode::NamedPipe => tree.pipe(name, &parts, &meta)?,
            InnerNode::CharacterDevice(_) | InnerNode::BlockDevice(_) => account.leave_out("device nodes"),
            InnerNode::Socket => account.leave_out("sockets"),
        }
    }
    for (parts, meta) in folders.iter().rev() {
        tree.touch(parts, meta);
    }
    Ok(())
}
