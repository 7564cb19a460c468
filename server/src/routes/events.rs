//! The event stream: one per browser tab, resumed by `Last-Event-ID`, with metrics of what the tab shows.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Extension;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::sse::{Event as Message, KeepAlive, Sse};
use axum::routing::{get, post};
use control::Caller;
use control::metrics::DeltaEncoder;
use futures::Stream;
use model::access::Permission;
use model::error::ErrorCode;
use model::event::{Event, Hello, MetricsTopic, Resync};
use model::metrics::SERIES;
use serde::Deserialize;
use tokio::sync::{broadcast, mpsc, watch};

use super::answer::{Answer, ApiError, Body};
use super::table::Table;
use crate::console::Console;
use crate::middleware::language::Reader;

/// Streams that are open at once, of all visitors.
const MAX_STREAMS: usize = 1024;
/// Streams of one visitor: each is a tab.
const PER_CALLER: usize = 16;
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// Open streams and what each shall carry.
#[derive(Clone, Debug, Default)]
pub struct Streams(Arc<Mutex<HashMap<String, Open>>>);

#[derive(Debug)]
struct Open {
    owner: String,
    topic: watch::Sender<MetricsTopic>,
}

/// Takes the stream off the list when it ends.
#[derive(Debug)]
struct Held {
    streams: Streams,
    id: String,
}

impl Drop for Held {
    fn drop(&mut self) {
        self.streams.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.id);
    }
}

/// Adds the stream and the way to change it.
#[must_use]
pub fn add_to(table: Table) -> Table {
    let table = table.add_plain("GET", "/api/v1/events", Some(Permission::View), get(open));
    table.add_plain("POST", "/api/v1/events/{stream}/topics", Some(Permission::View), post(change_topics))
}

#[derive(Debug, Deserialize)]
struct Asked {
    metrics: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Topics {
    metrics: MetricsTopic,
}

/// `all`, or names joined by commas.
fn topic_of(text: Option<&str>) -> MetricsTopic {
    match text {
        None | Some("") => MetricsTopic::default(),
        Some("all") => MetricsTopic::Word("all".into()),
        Some(names) => MetricsTopic::Names(names.split(',').map(str::to_owned).collect()),
    }
}

async fn open(
    State(console): State<Console>,
    Extension(caller): Extension<Caller>,
    Extension(reader): Extension<Reader>,
    Query(asked): Query<Asked>,
    headers: HeaderMap,
) -> Answer<Sse<impl Stream<Item = Result<Message, Infallible>>>> {
    let id = uuid::Uuid::new_v4().simple().to_string();
    let (topic, topics) = watch::channel(topic_of(asked.metrics.as_deref()));
    {
        let mut streams = console.streams.0.lock().unwrap_or_else(PoisonError::into_inner);
        if streams.len() >= MAX_STREAMS {
            return Err(ApiError::new(ErrorCode::SlowDown, format!("{MAX_STREAMS} event streams are open")).hint("close tabs, or try again in 60 s"));
        }
        let own = streams.values().filter(|open| open.owner == caller.name).count();
        if own >= PER_CALLER {
            let message = format!("you have {own} event streams open, and {PER_CALLER} is the most");
            return Err(ApiError::new(ErrorCode::SlowDown, message).hint("close tabs, or try again in 60 s"));
        }
        streams.insert(
            id.clone(),
            Open {
                owner: caller.name.clone(),
                topic,
            },
        );
    }
    let held = Held {
        streams: console.streams.clone(),
        id: id.clone(),
    };
    let last = headers.get("last-event-id").and_then(|id| id.to_str().ok()).map(str::to_owned);
    let (sender, receiver) = mpsc::channel(64);
    tokio::spawn(async move {
        let _held = held;
        let n = 0;
        Teller {
            console,
            caller,
            reader,
            sender,
            n,
        }
        .tell(id, topics, last)
        .await;
    });
    let stream = tokio_stream::wrappers::ReceiverStream::new(receiver);
    Ok(Sse::new(stream).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)))
}

async fn change_topics(
    State(console): State<Console>,
    Extension(caller): Extension<Caller>,
    Path(stream): Path<String>,
    Body(topics): Body<Topics>,
) -> Answer<StatusCode> {
    let streams = console.streams.0.lock().unwrap_or_else(PoisonError::into_inner);
    let open = streams.get(&stream).filter(|open| open.owner == caller.name);
    let open = open.ok_or_else(|| ApiError::new(ErrorCode::NotFound, "there is no such event stream").hint("open one with GET /api/v1/events"))?;
    open.topic.send_replace(topics.metrics);
    Ok(StatusCode::NO_CONTENT)
}

/// Whoever writes one stream.
struct Teller {
    console: Console,
    caller: Caller,
    reader: Reader,
    sender: mpsc::Sender<Result<Message, Infallible>>,
    /// Number of the newest event that this stream stands for: told, or seen by whoever fetches after `hello`.
    n: u64,
}

/// The other end has gone.
struct Gone;

impl Teller {
    async fn tell(mut self, id: String, topics: watch::Receiver<MetricsTopic>, last: Option<String>) {
        // Subscribed first, replayed second: nothing falls in between, and what comes twice is left out by its number.
        let events = self.console.control.events.subscribe();
        if self.greet(id, last).await.is_ok() {
            // Ends with the tab, the sign-in or the console.
            drop(self.follow(events, topics).await);
        }
    }

    async fn greet(&mut self, stream: String, last: Option<String>) -> Result<(), Gone> {
        let columns = SERIES.iter().map(|series| (*series).to_owned()).collect();
        let events = Arc::clone(&self.console.control.events);
        let seen: Option<u64> = last
            .as_deref()
            .and_then(|last| last.rsplit_once('-'))
            .filter(|(boot, _)| *boot == events.boot())
            .and_then(|(_, n)| n.parse().ok());
        let missed = seen.and_then(|n| events.since(n));
        // The id of `hello`: whoever loses the stream before anything else came resumes from here.
        self.n = match (seen, &missed) {
            (Some(n), Some(_)) => n,
            _ => events.last(),
        };
        self.send(&Event::Hello(Hello {
            stream,
            build: self.console.build.to_string(),
            columns,
        }))
        .await?;
        if last.is_none() {
            return Ok(());
        }
        match missed {
            Some(missed) => {
                for numbered in missed {
                    self.n = numbered.n;
                    self.send(&numbered.event).await?;
                }
                Ok(())
            }
            None => self.resync("what was missed can no longer be replayed").await,
        }
    }

    /// Whoever hears it fetches once and so knows all until now.
    async fn resync(&mut self, reason: &str) -> Result<(), Gone> {
        self.n = self.n.max(self.console.control.events.last());
        self.send(&Event::Resync(Resync { reason: reason.into() })).await
    }

    async fn follow(&mut self, mut events: broadcast::Receiver<control::events::Numbered>, mut topics: watch::Receiver<MetricsTopic>) -> Result<(), Gone> {
        let mut ticks = self.console.control.metrics.subscribe();
        let mut ended = self.console.control.access.ended();
        let shutdown = self.console.shutdown.clone();
        let mut encoder = DeltaEncoder::new();
        loop {
            tokio::select! {
                event = events.recv() => match event {
                    Ok(numbered) if numbered.n > self.n => {
                        self.n = numbered.n;
                        self.send(&numbered.event).await?;
                    }
                    Ok(_) => {}
                    Err(broadcast::error::RecvError::Lagged(_)) => self.resync("this stream was too slow").await?,
                    Err(broadcast::error::RecvError::Closed) => return Ok(()),
                },
                tick = ticks.recv() => if let Ok(tick) = tick {
                    if topics.has_changed().unwrap_or(false) {
                        encoder.asked_anew();
                    }
                    let topic = topics.borrow_and_update().clone();
                    if topic != MetricsTopic::default() {
                        let frame = encoder.encode(&tick, &topic);
                        self.send(&Event::Metrics(frame)).await?;
                    }
                },
                hash = ended.recv() => if is_ours(&hash, self.caller.session.as_deref()) { return Ok(()) },
                () = shutdown.cancelled() => return Ok(()),
                () = self.sender.closed() => return Err(Gone),
            }
        }
    }

    async fn send(&self, event: &Event) -> Result<(), Gone> {
        let data = match event {
            Event::Hello(data) => serde_json::to_string(data),
            Event::Container(data) => self.reader.json(data),
            Event::Task(data) => self.reader.json(data),
            Event::Metrics(data) => serde_json::to_string(data),
            Event::Resync(data) => serde_json::to_string(data),
        };
        let id = format!("{}-{}", self.console.control.events.boot(), self.n);
        let message = Message::default().event(event.name()).id(id).data(data.unwrap_or_default());
        self.sender.send(Ok(message)).await.map_err(|_| Gone)
    }
}

/// Whether the sign-in that ended is this one; having missed some means that it may be.
pub(super) fn is_ours(hash: &Result<String, broadcast::error::RecvError>, session: Option<&str>) -> bool {
    match hash {
        Ok(hash) => session == Some(hash.as_str()),
        Err(_) => session.is_some(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topics_are_all_or_names() {
        assert_eq!(topic_of(None), MetricsTopic::default());
        assert_eq!(topic_of(Some("all")), MetricsTopic::Word("all".into()));
        assert_eq!(topic_of(Some("web,@host")), MetricsTopic::Names(vec!["web".into(), "@host".into()]));
    }
}
