//! What a container's console printed: whole, since a moment, and followed until the container or the sign-in is gone.

use std::io::SeekFrom;
use std::os::unix::fs::MetadataExt as _;
use std::time::Duration;

use axum::Extension;
use axum::body::{Body, Bytes};
use axum::extract::{Path, Query, State};
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use control::Caller;
use model::{ContainerId, Timestamp};
use serde::Deserialize;
use tokio::fs::File;
use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _};
use tokio::sync::{broadcast, mpsc};

use crate::console::Console;
use crate::routes::answer::Answer;
use crate::routes::events::is_ours;

/// Of each of the two files at most this much of its end.
const FILE_BYTES: u64 = 2 << 20;
/// A log is a plain file that nothing announces the growth of.
const LOOK: Duration = Duration::from_millis(200);
/// So many looks without news, and it is asked whether the file is still the one that grows.
const LOOKS: u32 = 5;

#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[serde(default)]
pub struct LogQuery {
    /// Goes on with what is printed from now on.
    follow: bool,
    /// RFC 3339: only what was printed from then on, to a second.
    since: Option<Timestamp>,
}

/// What its console printed.
#[utoipa::path(get, path = "/api/v1/containers/{name}/logs", tag = "containers", params(("name" = String, Path), LogQuery), responses((status = 200, content_type = "text/plain", body = String)))]
pub async fn logs(
    State(console): State<Console>,
    Extension(caller): Extension<Caller>,
    Path(name): Path<String>,
    Query(query): Query<LogQuery>,
) -> Answer<Response> {
    // Before anything is read: a sign-in that ends meanwhile is heard.
    let ended = console.control.access.ended();
    let containers = &console.control.containers;
    let id = containers.show(&caller, &name).await?.summary.id;
    let files = containers.log_since(&caller, id, query.since.unwrap_or_default()).await?;
    let (sender, receiver) = mpsc::channel(16);
    let mut follower = Follower {
        console: console.clone(),
        caller,
        id,
        sender,
        ended,
    };
    tokio::spawn(async move {
        // Ends with the reader, the container, the sign-in or the console.
        drop(follower.print(files, query.follow).await);
    });
    let kind = [(CONTENT_TYPE, "text/plain; charset=utf-8")];
    Ok((kind, Body::from_stream(tokio_stream::wrappers::ReceiverStream::new(receiver))).into_response())
}

/// One reader of one log.
struct Follower {
    console: Console,
    caller: Caller,
    id: ContainerId,
    sender: mpsc::Sender<Result<Bytes, std::io::Error>>,
    ended: broadcast::Receiver<String>,
}

/// There is nothing more to send, or nobody to send it to.
struct Over;

impl Follower {
    async fn print(&mut self, files: Vec<File>, follow: bool) -> Result<(), Over> {
        let mut last = None;
        for mut file in files {
            self.skip(&mut file).await;
            self.drain(&mut file).await?;
            last = Some(file);
        }
        let Some(mut file) = last.filter(|_| follow) else { return Ok(()) };
        let mut idle = 0;
        loop {
            self.wait().await?;
            idle = if self.drain(&mut file).await? > 0 { 0 } else { idle + 1 };
            if idle >= LOOKS {
                idle = 0;
                if let Some(mut newer) = self.newer(&file).await? {
                    // What came between the last look and the change.
                    self.drain(&mut file).await?;
                    std::mem::swap(&mut file, &mut newer);
                }
            }
        }
    }

    /// Leaves out all but the end of a file that is larger than any of ours.
    async fn skip(&self, file: &mut File) {
        let read = async {
            let (at, length) = (file.stream_position().await?, file.metadata().await?.len());
            file.seek(SeekFrom::Start(at.max(length.saturating_sub(FILE_BYTES)))).await
        };
        if let Err(error) = read.await {
            tracing::debug!(%error, "a console log is read from its beginning");
        }
    }

    /// Sends what is there; the number of bytes.
    async fn drain(&mut self, file: &mut File) -> Result<usize, Over> {
        let mut total = 0;
        loop {
            let mut bytes = vec![0; 16 << 10];
            match file.read(&mut bytes).await {
                Ok(0) => return Ok(total),
                Ok(got) => {
                    bytes.truncate(got);
                    total += got;
                    self.send(Ok(bytes.into())).await?;
                }
                Err(error) => return self.send(Err(error)).await.and(Err(Over)),
            }
        }
    }

    /// A reader that takes nothing is no reason to outlive the sign-in.
    async fn send(&mut self, piece: Result<Bytes, std::io::Error>) -> Result<(), Over> {
        let sender = self.sender.clone();
        tokio::select! {
            sent = sender.send(piece) => sent.map_err(|_| Over),
            over = self.over() => Err(over),
        }
    }

    async fn wait(&mut self) -> Result<(), Over> {
        tokio::select! {
            () = tokio::time::sleep(LOOK) => Ok(()),
            over = self.over() => Err(over),
        }
    }

    async fn over(&mut self) -> Over {
        let session = self.caller.session.clone();
        loop {
            tokio::select! {
                hash = self.ended.recv() => if is_ours(&hash, session.as_deref()) { return Over },
                () = self.sender.closed() => return Over,
                () = self.console.shutdown.cancelled() => return Over,
            }
        }
    }

    /// The file that grows now, when it is another one.
    async fn newer(&self, known: &File) -> Result<Option<File>, Over> {
        // Fails once the container is gone.
        let files = self.console.control.containers.log_since(&self.caller, self.id, Timestamp::default()).await;
        let newest = files.map_err(|_| Over)?.pop();
        let Some(newest) = newest else { return Ok(None) };
        let (Ok(old), Ok(new)) = (known.metadata().await, newest.metadata().await) else {
            return Ok(None);
        };
        Ok(((old.dev(), old.ino()) != (new.dev(), new.ino())).then_some(newest))
    }
}
