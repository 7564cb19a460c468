//! One file from a server to the disk: resumed after a broken connection and after a restart, hashed while it arrives,
//! and under its final name only once it is whole and what it should be.

use std::path::{Path, PathBuf};
use std::time::Duration;

use model::Digest;
use reqwest::header::{CONTENT_RANGE, ETAG, HeaderMap, HeaderValue, IF_RANGE, LAST_MODIFIED, RANGE};
use reqwest::{Response, StatusCode, Url};
use serde::{Deserialize, Serialize};
use tokio::io::AsyncWriteExt;
use tokio::time::Instant;

use super::gauge::Gauge;
use super::part::{Part, digest_of};
use super::unpack::check_space;
use super::web::{Named, Web, no_answer, shown, upstream};
use crate::error::{Error, Result};

const RETRIES: u32 = 5;
/// Data that come in drips are no data: less than this in a minute is a broken connection.
const LEAST_PER_MINUTE: u64 = 4096;
/// After so long without data a person is told.
const QUIET: Duration = Duration::from_secs(10);

/// A file that is wanted.
#[derive(Clone, Debug)]
pub(super) struct Wanted {
    pub(super) url: Url,
    /// Name of the files on disk; of a file whose hash is known, the hash.
    pub(super) key: String,
    pub(super) size: Option<u64>,
    pub(super) sha256: Option<Digest>,
    /// Its place in the task's list of parts.
    pub(super) part: usize,
    /// More than this is refused.
    pub(super) cap: u64,
}

/// A file that is whole.
#[derive(Clone, Debug)]
pub(super) struct Fetched {
    pub(super) path: PathBuf,
    pub(super) size: u64,
    pub(super) sha256: Digest,
    /// The hash over this file and those before it, if that was asked for.
    pub(super) combined: Option<sha2::Sha256>,
}

/// What a part was taken from, so that its rest is taken from the same.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Journal {
    pub(super) url: String,
    pub(super) etag: Option<String>,
    pub(super) last_modified: Option<String>,
    pub(super) length: Option<u64>,
}

/// Why one try did not give the file.
enum Broken {
    Again(Error),
    Final(Error),
    /// The server does not have it (any more).
    Gone(Error),
}

/// Why the file could not be had.
#[derive(Debug)]
pub(super) enum Failure {
    /// The server does not have it (any more): another build may be there instead.
    Gone(Error),
    Other(Error),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Other(error)
    }
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Gone(error) | Failure::Other(error) => error,
        }
    }
}

/// How the tries ended when none gave the file.
enum GivenUp {
    /// The network or the server may be better tomorrow: what is here is kept for who comes back.
    ForNow(Error),
    ForGood(Failure),
}

impl From<Error> for GivenUp {
    fn from(error: Error) -> Self {
        Self::ForGood(Failure::Other(error))
    }
}

pub(super) struct Fetch<'a> {
    pub(super) web: &'a Web,
    pub(super) named: &'a Named,
    pub(super) folder: &'a Path,
    pub(super) gauge: &'a Gauge<'a>,
}

impl Fetch<'_> {
    /// Gives the file, from the disk when it is whole already. On a failure that no retry can mend, and on cancellation,
    /// nothing of it stays; when the network fails, a part whose hash is known stays for the next one who wants it.
    ///
    /// # Errors
    /// The server fails for good, sends something else than was announced, or somebody cancelled.
    pub(super) async fn file(&self, wanted: &Wanted, combined: Option<sha2::Sha256>) -> std::result::Result<Fetched, Failure> {
        let mut part = Part::open(self.folder, wanted, combined).await?;
        self.gauge.part(wanted.part, part.written());
        let outcome = self.try_often(wanted, &mut part).await;
        self.gauge.note(None);
        match outcome {
            Ok(()) => Ok(part.finish().await?),
            Err(GivenUp::ForNow(error)) if wanted.sha256.is_some() && part.written() >= LEAST_PER_MINUTE => Err(Failure::Other(error)),
            Err(GivenUp::ForNow(error)) => {
                part.remove().await;
                Err(Failure::Other(error))
            }
            Err(GivenUp::ForGood(failure)) => {
                part.remove().await;
                Err(failure)
            }
        }
    }

    async fn try_often(&self, wanted: &Wanted, part: &mut Part) -> std::result::Result<(), GivenUp> {
        let (mut tries, mut begun_anew) = (0, false);
        loop {
            let before = part.written();
            let was_resumed = before > 0;
            let error = match self.attempt(wanted, part).await {
                Ok(()) => match check(wanted, part) {
                    Ok(()) => return Ok(()),
                    // What was here before may be from another build: once more from the beginning.
                    Err(error) if was_resumed && !begun_anew => {
                        begun_anew = true;
                        part.restart().await?;
                        error
                    }
                    Err(error) => return Err(error.into()),
                },
                Err(Broken::Final(error)) => return Err(error.into()),
                Err(Broken::Gone(error)) => return Err(GivenUp::ForGood(Failure::Gone(error))),
                Err(Broken::Again(error)) => error,
            };
            let has_moved = part.written() >= before + LEAST_PER_MINUTE;
            tries = if has_moved { 1 } else { tries + 1 };
            if tries > RETRIES {
                return Err(GivenUp::ForNow(error));
            }
            let pause = if has_moved {
                Duration::from_millis(300)
            } else {
                Duration::from_secs(1 << (tries - 1))
            };
            self.gauge
                .note(Some(format!("{error}; retry {tries} of {RETRIES} in {} s", pause.as_secs_f32())));
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = self.gauge.context().cancelled() => return Err(cancelled().into()),
            }
        }
    }

    async fn attempt(&self, wanted: &Wanted, part: &mut Part) -> std::result::Result<(), Broken> {
        if wanted.size.is_some_and(|size| size == part.written()) {
            return Ok(());
        }
        let headers = resume_headers(wanted, part);
        if headers.is_empty() && part.written() > 0 {
            part.restart().await.map_err(Broken::Final)?;
        }
        let answer = tokio::select! {
            answer = self.web.get(&wanted.url, self.named, headers) => answer.map_err(worth_a_retry)?,
            () = self.gauge.context().cancelled() => return Err(Broken::Final(cancelled())),
        };
        self.accept(wanted, part, &answer).await?;
        self.gauge.note(None);
        self.receive(wanted, part, answer).await
    }

    /// Judges the answer's head and brings the part to where its body begins.
    async fn accept(&self, wanted: &Wanted, part: &mut Part, answer: &Response) -> std::result::Result<(), Broken> {
        let url = &wanted.url;
        match answer.status() {
            StatusCode::PARTIAL_CONTENT if starts_at(answer) == Some(part.written()) => {}
            StatusCode::OK => {
                let text = |name| answer.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
                let journal = Journal {
                    url: url.to_string(),
                    etag: text(ETAG),
                    last_modified: text(LAST_MODIFIED),
                    length: answer.content_length(),
                };
                part.restart().await.map_err(Broken::Final)?;
                part.note(journal).await.map_err(Broken::Final)?;
            }
            StatusCode::PARTIAL_CONTENT | StatusCode::RANGE_NOT_SATISFIABLE => {
                part.restart().await.map_err(Broken::Final)?;
                return Err(Broken::Again(upstream(format!("{} cannot be resumed where it broke off", shown(url)))));
            }
            StatusCode::NOT_FOUND | StatusCode::GONE => {
                let gone = upstream(format!("{} is no longer on the server", shown(url)));
                return Err(Broken::Gone(gone.hint("refresh the source: servers keep only the newest builds")));
            }
            status if status.is_server_error() || matches!(status, StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS) => {
                return Err(Broken::Again(upstream(format!("{} answers {status}", shown(url)))));
            }
            status => return Err(Broken::Final(upstream(format!("{} answers {status}", shown(url))))),
        }
        let total = wanted.size.or_else(|| answer.content_length().map(|rest| rest.saturating_add(part.written())));
        if wanted.size.is_none() {
            self.gauge.size_of_part(wanted.part, total);
        }
        let (offered, expected) = (total.unwrap_or(0), wanted.size.unwrap_or(wanted.cap));
        if offered > expected || answer.content_length().is_some_and(|rest| rest.saturating_add(part.written()) > expected) {
            return Err(Broken::Final(too_much(url, expected)));
        }
        match total {
            Some(total) if wanted.size.is_none() => check_space(self.folder, total).map_err(Broken::Final),
            _ => Ok(()),
        }
    }

    async fn receive(&self, wanted: &Wanted, part: &mut Part, mut answer: Response) -> std::result::Result<(), Broken> {
        let bound = wanted.size.unwrap_or(wanted.cap);
        let (mut minute, mut at_minute) = (Instant::now(), part.written());
        let mut is_quiet = false;
        loop {
            let chunk = tokio::select! {
                chunk = answer.chunk() => chunk.map_err(|error| Broken::Again(no_answer(&wanted.url, error)))?,
                () = tokio::time::sleep(QUIET) => {
                    is_quiet = true;
                    self.gauge.note(Some(format!("no data for {} s", QUIET.as_secs())));
                    // The client's own time-out goes on counting; a chunk that is half read is not lost.
                    continue;
                }
                () = self.gauge.context().cancelled() => return Err(Broken::Final(cancelled())),
            };
            let Some(chunk) = chunk else { break };
            if std::mem::take(&mut is_quiet) {
                self.gauge.note(None);
            }
            if part.written() + chunk.len() as u64 > bound {
                return Err(Broken::Final(too_much(&wanted.url, bound)));
            }
            part.write(&chunk).await.map_err(Broken::Final)?;
            self.gauge.part(wanted.part, part.written());
            if minute.elapsed() >= Duration::from_secs(60) {
                if part.written() - at_minute < LEAST_PER_MINUTE {
                    return Err(Broken::Again(upstream(format!("{} sends almost nothing", shown(&wanted.url)))));
                }
                (minute, at_minute) = (Instant::now(), part.written());
            }
        }
        match wanted.size {
            Some(size) if part.written() < size => {
                let text = format!("the connection ended after {} of {size} bytes", part.written());
                Err(Broken::Again(upstream(text)))
            }
            _ => Ok(()),
        }
    }
}

/// What asks for the rest; nothing when the rest could be of another file without anybody noticing.
fn resume_headers(wanted: &Wanted, part: &Part) -> HeaderMap {
    let mut headers = HeaderMap::new();
    if part.written() > 0 {
        let journal = part.journal();
        // A weak tag does not promise the same bytes.
        let strong = journal.etag.as_deref().filter(|tag| !tag.starts_with("W/"));
        let validator = strong.or(journal.last_modified.as_deref()).and_then(|text| HeaderValue::from_str(text).ok());
        if validator.is_none() && wanted.sha256.is_none() {
            return headers;
        }
        if let Ok(range) = HeaderValue::from_str(&format!("bytes={}-", part.written())) {
            headers.insert(RANGE, range);
        }
        headers.extend(validator.map(|validator| (IF_RANGE, validator)));
    }
    headers
}

fn starts_at(answer: &Response) -> Option<u64> {
    let range = answer.headers().get(CONTENT_RANGE)?.to_str().ok()?;
    range.strip_prefix("bytes ")?.split('-').next()?.trim().parse().ok()
}

fn check(wanted: &Wanted, part: &Part) -> Result<()> {
    let Some(expected) = &wanted.sha256 else { return Ok(()) };
    let found = digest_of(part.hasher())?;
    if found == *expected {
        return Ok(());
    }
    Err(upstream(format!(
        "{} is not what was announced: its sha256 is {found}, it should be {expected}",
        shown(&wanted.url)
    ))
    .hint("the file is damaged or was replaced; refresh the source and try again"))
}

fn worth_a_retry(error: Error) -> Broken {
    match error.code() {
        model::ErrorCode::Upstream => Broken::Again(error),
        _ => Broken::Final(error),
    }
}

fn too_much(url: &Url, bound: u64) -> Error {
    upstream(format!("{} sends more than the {bound} bytes it may have", shown(url)))
}

/// The error of a step that stops because somebody cancelled; nobody sees it.
pub(super) fn cancelled() -> Error {
    Error::failed("cancelled")
}

/// Flushes a file to the disk.
pub(super) async fn settle(mut file: tokio::fs::File) -> std::io::Result<()> {
    file.flush().await?;
    file.sync_all().await
}
