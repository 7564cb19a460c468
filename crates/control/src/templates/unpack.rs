//! Handing an archive to the engine's confined helper and telling how far it is.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use model::Digest;
use model::engine::{UnpackCaps, UnpackProgress, UnpackRequest, Unpacked};
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::net::unix::pipe::Receiver;

use super::Templates;
use super::fetch::cancelled;
use super::gauge::Gauge;
use super::part::disk;
use crate::engine;
use crate::error::{Error, Result};

impl Templates {
    /// Unpacks a verified file into the layer of this digest.
    ///
    /// # Errors
    /// The archive is refused or the disk fails, with the engine's words; somebody cancelled.
    pub(super) async fn unpack(&self, gauge: &Gauge<'_>, file: &Path, size: u64, digest: &Digest, origin: &str) -> Result<Unpacked> {
        gauge.phase("unpack", Some(size), Vec::new());
        let input = tokio::fs::File::open(file)
            .await
            .map_err(|error| Error::failed(format!("{} cannot be read ({error})", file.display())))?;
        let input = OwnedFd::from(input.into_std().await);
        let request = UnpackRequest {
            digest: digest.clone(),
            origin: origin.to_owned(),
            caps: UnpackCaps::default(),
        };
        let (lines, progress) = line_pipe()?;
        let work = engine::call(&self.engine, move |engine| engine.unpack(&request, input, progress));
        let tell = |line: String| {
            if let Ok(progress) = serde_json::from_str::<UnpackProgress>(&line) {
                gauge.done(progress.read_bytes);
            }
        };
        let unpacked = while_listening(gauge, work, lines, tell).await?;
        for left_out in &unpacked.left_out {
            gauge.context().log(&format!("not created: {left_out}"));
        }
        Ok(unpacked)
    }
}

/// A pipe of which this end is read by lines.
pub(super) fn line_pipe() -> Result<(Lines<BufReader<Receiver>>, OwnedFd)> {
    let failed = |error: std::io::Error| Error::failed(format!("a pipe cannot be made ({error})"));
    let (reader, writer) = std::io::pipe().map_err(failed)?;
    let reader = Receiver::from_owned_fd(reader.into()).map_err(failed)?;
    Ok((BufReader::new(reader).lines(), writer.into()))
}

/// Waits for a call of the engine while its lines are heard. Closing the pipe is how it is cancelled; its end is waited
/// for all the same, so that nothing works on after the task has ended.
pub(super) async fn while_listening<T>(
    gauge: &Gauge<'_>,
    work: impl Future<Output = Result<T>>,
    lines: Lines<BufReader<Receiver>>,
    mut tell: impl FnMut(String),
) -> Result<T> {
    tokio::pin!(work);
    let mut lines = Some(lines);
    loop {
        let next = async {
            match &mut lines {
                Some(lines) => lines.next_line().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            line = next => match line {
                Ok(Some(line)) => tell(line),
                Ok(None) | Err(_) => lines = None,
            },
            done = &mut work => return done,
            () = gauge.context().cancelled() => {
                drop(lines);
                return work.await.and(Err(cancelled()));
            }
        }
    }
}

/// Refuses early what will not fit: the download and about four times as much unpacked.
///
/// # Errors
/// `NoSpace`, or the file system does not answer.
pub(super) fn check_space(folder: &Path, size: u64) -> Result<()> {
    check_room(folder, size.saturating_mul(5))
}

/// Refuses what needs more bytes than there are.
///
/// # Errors
/// As [`check_space`].
pub(super) fn check_room(folder: &Path, wanted: u64) -> Result<()> {
    let file = std::fs::File::open(folder).map_err(|error| disk(folder, &error))?;
    let found = rustix::fs::fstatvfs(file.as_fd()).map_err(|error| disk(folder, &error.into()))?;
    let free = found.f_bavail.saturating_mul(found.f_frsize);
    if free >= wanted {
        return Ok(());
    }
    let mib = |bytes: u64| bytes >> 20;
    let text = format!(
        "there are {} MiB free under {}, and the template needs about {} MiB",
        mib(free),
        folder.display(),
        mib(wanted)
    );
    Err(Error::new(model::ErrorCode::NoSpace, text).hint("remove templates or empty the trash"))
}
