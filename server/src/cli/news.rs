//! What the console's event stream says of one task, to whoever waits for its end.

use std::pin::Pin;

use axum::body::Bytes;
use futures::{Stream, StreamExt as _};
use model::id::TaskId;
use model::task::Task;

/// The events of one stream, read as they come.
pub struct News {
    stream: Pin<Box<dyn Stream<Item = Result<Bytes, axum::Error>> + Send>>,
    unread: Vec<u8>,
}

/// One event: its name and its data.
type Event = (String, String);

impl News {
    /// A stream that has begun: what happens from here on it tells. `None` when it ends before.
    pub async fn of(stream: impl Stream<Item = Result<Bytes, axum::Error>> + Send + 'static) -> Option<Self> {
        let mut news = Self {
            stream: Box::pin(stream),
            unread: Vec::new(),
        };
        while news.next().await?.0 != "hello" {}
        Some(news)
    }

    /// Shows every picture of the task until it is over, or until something was missed: both are reasons to look at it.
    /// Whether the stream has more to tell.
    pub async fn until_over(&mut self, id: TaskId, mut seen: impl FnMut(&Task)) -> bool {
        while let Some((name, data)) = self.next().await {
            match (name.as_str(), serde_json::from_str::<Task>(&data)) {
                ("resync", _) => return true,
                ("task", Ok(task)) if task.id == id && task.state.is_over() => return true,
                ("task", Ok(task)) if task.id == id => seen(&task),
                _ => {}
            }
        }
        false
    }

    async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(end) = self.unread.windows(2).position(|pair| pair == b"\n\n") {
                let text: Vec<u8> = self.unread.drain(..end + 2).collect();
                return Some(event(&String::from_utf8_lossy(&text)));
            }
            let bytes = self.stream.next().await?.ok()?;
            self.unread.extend_from_slice(&bytes);
        }
    }
}

fn event(text: &str) -> Event {
    let field = |name: &str| {
        let lines = text.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        lines.map(|value| value.strip_prefix(' ').unwrap_or(value)).collect::<String>()
    };
    (field("event"), field("data"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const ID: &str = "6f0c1f0e-0000-4000-8000-000000000001";
    const OTHER: &str = "6f0c1f0e-0000-4000-8000-000000000002";

    fn told(id: &str, state: &str, phase: &str) -> String {
        let task = json!({ "id": id, "kind": "container.create", "target": "web", "state": state, "user": "anna", "created_at": "2026-11-30T00:00:00Z",
            "progress": { "done": 0, "total": null, "unit": "steps", "phase": phase }, "ended_at": null, "error": null, "cancellable": true });
        format!("event: task\nid: boot-1\ndata: {task}\n\n")
    }

    async fn phases(events: &[String]) -> (bool, Vec<String>) {
        let text = format!("event: hello\nid: boot-0\ndata: {{}}\n\n:\n\n{}", events.concat());
        // As the network may cut it.
        let pieces: Vec<_> = text.as_bytes().chunks(7).map(|piece| Ok(Bytes::copy_from_slice(piece))).collect();
        let mut news = News::of(futures::stream::iter(pieces)).await.expect("it begins");
        let mut phases = Vec::new();
        let id = ID.parse().expect("an id");
        let more = news.until_over(id, |task| phases.push(task.progress.phase.clone())).await;
        (more, phases)
    }

    #[tokio::test]
    async fn only_the_own_task_is_shown_until_it_is_over() {
        let events = [
            told(OTHER, "done", "x"),
            told(ID, "running", "create"),
            told(ID, "running", "network"),
            told(ID, "done", ""),
        ];
        assert_eq!(phases(&events).await, (true, vec!["create".to_owned(), "network".to_owned()]));
    }

    #[tokio::test]
    async fn what_was_missed_is_a_reason_to_look_and_so_is_the_end() {
        let resync = "event: resync\ndata: {\"reason\":\"x\"}\n\n".to_owned();
        assert_eq!(phases(&[resync, told(ID, "running", "create")]).await, (true, Vec::new()));
        assert_eq!(phases(&[told(ID, "running", "create")]).await, (false, vec!["create".to_owned()]));
        let nothing: [Result<Bytes, axum::Error>; 0] = [];
        assert!(News::of(futures::stream::iter(nothing)).await.is_none());
    }
}
