//! What a start opens on the host before anything is made: the container's folder, its layers, and folders of the host.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;

use model::engine::StartRequest;
use model::storage::Mount;
use model::{ContainerId, ErrorCode};

use super::Runtime;
use crate::error::{At, Error, Result};
use crate::mount;
use crate::shim::protocol::Fields;

/// Descriptors for the shim.
#[derive(Debug)]
pub(super) struct Opened {
    pub folder: OwnedFd,
    /// Template layers, lowest first.
    pub layers: Vec<OwnedFd>,
    /// Those above come before what lies in them; a file system in memory has no folder.
    pub mounts: Vec<(Mount, Option<OwnedFd>)>,
}

impl Opened {
    /// The start message with these mounts.
    pub fn named_in(&self, message: Fields) -> Fields {
        self.mounts
            .iter()
            .fold(message, |message, (mount, _)| message.with("mount", mount::encode(mount)))
    }

    /// The folders of the host, in the order of their mounts.
    pub fn sources(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.mounts.iter().filter_map(|(_, folder)| folder.as_ref()).map(AsFd::as_fd)
    }
}

impl Runtime {
    pub(super) fn open_for(&self, request: &StartRequest) -> Result<Opened> {
        Ok(Opened {
            folder: self.folders.container(request.id)?,
            layers: request.layers.iter().map(|digest| self.folders.layer(digest)).collect::<Result<_>>()?,
            mounts: self.open_mounts(&request.mounts)?,
        })
    }

    /// Whether the folders of these mounts may come into a container and are there.
    ///
    /// # Errors
    /// As [`mount::open_source`].
    pub fn check_mounts(&self, mounts: &[Mount]) -> Result<()> {
        self.open_mounts(mounts).map(drop)
    }

    /// Brings a mount into a running container.
    ///
    /// # Errors
    /// As [`mount::open_source`]; the container does not run, or names the step.
    pub fn add_mount(&self, id: ContainerId, mount: &Mount) -> Result<()> {
        let opened = self.open_mounts(std::slice::from_ref(mount))?;
        let sources: Vec<_> = opened.iter().filter_map(|(_, folder)| folder.as_ref()).map(AsFd::as_fd).collect();
        let request = Fields::command("mount-add").with("mount", mount::encode(mount));
        self.connection(id)?.ask_with(&request, &sources).map(drop).map_err(|error| match error {
            // What a file system cannot do comes with a way out.
            Error {
                code: ErrorCode::Unsupported,
                hint: None,
                ..
            } => error.hint("the container runs under an earlier version of Berth: stop it, then add the mount"),
            error => error,
        })
    }

    fn open_mounts(&self, mounts: &[Mount]) -> Result<Vec<(Mount, Option<OwnedFd>)>> {
        let real = |path: &PathBuf| std::fs::canonicalize(path).at("find Berth's own folders", &format!("realpath({})", path.display()));
        let (state, run) = (real(&self.config.state_dir)?, real(&self.config.run_dir)?);
        let open = |mount: &Mount| -> Result<(Mount, Option<OwnedFd>)> {
            let folder = (!mount.is_tmpfs()).then(|| mount::open_source(&mount.source, &self.config.mount_roots, &[&state, &run]));
            Ok((mount.clone(), folder.transpose()?))
        };
        let mut opened: Vec<_> = mounts.iter().map(open).collect::<Result<_>>()?;
        opened.sort_by(|(one, _), (other, _)| one.target.cmp(&other.target));
        Ok(opened)
    }
}
