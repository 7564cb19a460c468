//! Whose word it takes to bring a folder of the host into a container, and which folders may come.

use std::collections::BTreeSet;

use model::ContainerSpec;
use model::access::Permission;
use model::storage::{HOW_TO_RELEASE, Mount, check_released};

use super::board::Live;
use super::{Containers, refuse, takes_limits};
use crate::caller::Caller;
use crate::engine;
use crate::error::{Error, Result};

const MAX_MOUNTS: usize = 32;

impl Containers {
    /// Asks the engine about folders of the host that the container does not have so far: whether they are there, and really
    /// lie where their paths say.
    pub(super) async fn check_mounts(&self, held: &[Mount], mounts: &[Mount]) -> Result<()> {
        let added: Vec<Mount> = added(held, mounts).cloned().collect();
        if added.is_empty() {
            return Ok(());
        }
        let checked = engine::call(&self.parts.engine, move |engine| engine.check_mounts(&added)).await;
        checked.map_err(in_mount)
    }

    /// Brings what is new in the row into the container that runs.
    pub(super) async fn add_mounts(&self, before: &Live, live: &Live) -> Result<()> {
        let (id, mounts) = (live.row.id, live.row.spec.mounts.clone());
        if mounts == before.row.spec.mounts {
            return Ok(());
        }
        for mount in added(&before.row.spec.mounts, &mounts) {
            let mount = mount.clone();
            engine::call(&self.parts.engine, move |engine| engine.add_mount(id, &mount))
                .await
                .map_err(in_mount)?;
        }
        self.board
            .change(id, |live| live.stat.run.iter_mut().for_each(|run| run.mounts.clone_from(&mounts)));
        if let Err(error) = self.save_stat(id).await {
            // It has the mount whatever is written down; a refusal here would take only the row's word for it back.
            tracing::warn!(container.id = %id, %error, "that a running container has a new mount could not be written down; it is shown as pending after a restart of the console");
        }
        Ok(())
    }
}

/// What a container that runs can be given at once. Nothing is taken away: its root may have mounted the same folder
/// elsewhere meanwhile, which nobody can undo before it ends.
///
/// # Errors
/// `Conflict` with the way out.
pub(super) fn judge_live(before: &Live, spec: &ContainerSpec) -> Result<()> {
    let held = &before.row.spec.mounts;
    if *held == spec.mounts {
        return Ok(());
    }
    if held.iter().any(|mount| !spec.mounts.contains(mount)) {
        return Err(refuse(before, "a mount is changed or taken away while it is stopped; stop it first"));
    }
    if added(held, &spec.mounts).count() > 1 || spec.limits != before.row.spec.limits {
        return Err(refuse(
            before,
            "it takes one new mount at a time, and no new limits with it; stop it first, or add one after the other",
        ));
    }
    if !takes_limits(before) {
        return Err(refuse(before, "it takes a new mount while it runs; wait until it does, or stop it first"));
    }
    Ok(())
}

fn in_mount(mut error: Error) -> Error {
    error.body.field = Some("mount".into());
    error
}

fn added<'a>(held: &'a [Mount], mounts: &'a [Mount]) -> impl Iterator<Item = &'a Mount> {
    mounts.iter().filter(move |mount| !held.contains(mount))
}

/// Judges mounts beside those that the container has already, which were granted when they came: whoever may change the
/// container may keep them and take them away.
///
/// # Errors
/// `Invalid`, `NotAllowed` when the caller may not add a folder of the host, or the host has not released it.
pub(super) fn judge(mounts: &[Mount], held: &[Mount], roots: &[String], caller: &Caller) -> Result<()> {
    if mounts.len() > MAX_MOUNTS {
        let message = format!("a container has at most {MAX_MOUNTS} mounts, this one would have {}", mounts.len());
        return Err(Error::invalid("mount", message));
    }
    let mut seen = BTreeSet::new();
    for mount in mounts {
        mount.check().map_err(|why| Error::invalid("mount", why))?;
        if !seen.insert(mount.target.as_str()) {
            return Err(Error::invalid("mount", format!("two mounts have the target {}", mount.target)));
        }
    }
    for mount in added(held, mounts).filter(|mount| !mount.is_tmpfs()) {
        caller.require(Permission::Administer).map_err(|mut error| {
            error.body.message = format!("only an administrator brings a folder of the host into a container ({})", mount.source);
            in_mount(error.hint("ask an administrator to add the mount; a `tmpfs` needs none"))
        })?;
        check_released(&mount.source, roots).map_err(|why| in_mount(Error::new(model::ErrorCode::NotAllowed, why).hint(HOW_TO_RELEASE)))?;
    }
    Ok(())
}
