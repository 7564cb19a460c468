//! The one `EventSource` of the tab: opening it, losing it, coming back, pausing while hidden, and saying what it shall
//! carry. The browser resumes a broken stream with `Last-Event-ID` by itself; what it gives up on is opened anew here.

use std::cell::RefCell;
use std::time::Duration;

use crate::json;
use leptos::prelude::*;
use leptos::task::spawn_local;
use model::event::{ContainerChange, Hello, MetricsFrame};
use model::task::Task;
use serde::de::DeserializeOwned;
use wasm_bindgen::JsCast as _;
use wasm_bindgen::closure::Closure;
use web_sys::{EventSource, MessageEvent};

use super::{Badge, Live};
use crate::api;
use crate::components::browser;

/// A hidden tab keeps its stream for so long, so that a glance elsewhere costs nothing.
const HIDDEN_MS: u64 = 5000;
/// No values for so long = delayed.
const STALE_MS: i64 = 3500;

thread_local! {
    static TAB: RefCell<Tab> = RefCell::default();
}

#[derive(Default)]
struct Tab {
    live: Option<Live>,
    source: Option<EventSource>,
    stream: Option<String>,
    build: String,
    /// Whether a stream was ever open in this tab.
    has_greeted: bool,
    tries: u32,
    last_frame_ms: i64,
    handlers: Vec<Closure<dyn FnMut(MessageEvent)>>,
    failed: Option<Closure<dyn FnMut(web_sys::Event)>>,
}

/// Opens the stream for this tab; `build` is what the page was made by.
pub fn open(live: Live, build: String) {
    TAB.with_borrow_mut(|tab| {
        tab.live = Some(live);
        tab.build = build;
    });
    connect();
    watch_visibility();
    // Lives as long as the tab.
    drop(set_interval(move || tick(live), Duration::from_secs(1)));
}

fn connect() {
    let Some(live) = TAB.with_borrow(|tab| tab.live) else { return };
    let topic = match live.topic() {
        model::event::MetricsTopic::Word(word) => word,
        model::event::MetricsTopic::Names(names) => names.join(","),
    };
    let Ok(source) = EventSource::new(&format!("/api/v1/events?metrics={}", encode(&topic))) else {
        return;
    };
    let handlers = vec![
        listen(&source, "hello", move |hello: Hello| on_hello(live, hello)),
        listen(&source, "container", move |change: ContainerChange| live.apply_container(change, now_ms())),
        listen(&source, "task", move |task: Task| live.seed_task(task)),
        listen(&source, "metrics", move |frame: MetricsFrame| on_metrics(live, &frame)),
        listen(&source, "resync", move |_: model::event::Resync| resync(live)),
    ];
    let failed = Closure::<dyn FnMut(web_sys::Event)>::new(move |_| on_failure(live));
    source.set_onerror(Some(failed.as_ref().unchecked_ref()));
    TAB.with_borrow_mut(|tab| {
        tab.source = Some(source);
        tab.handlers = handlers;
        tab.failed = Some(failed);
    });
}

fn listen<T: DeserializeOwned>(source: &EventSource, name: &str, mut take: impl FnMut(T) + 'static) -> Closure<dyn FnMut(MessageEvent)> {
    let handler = Closure::<dyn FnMut(MessageEvent)>::new(move |event: MessageEvent| {
        let text = event.data().as_string().unwrap_or_default();
        match json::read(&text) {
            Ok(value) => take(value),
            Err(error) => leptos::logging::warn!("event not understood: {error}"),
        }
    });
    // Only a listener option of a wrong type can fail here, and there is none.
    drop(source.add_event_listener_with_callback(name, handler.as_ref().unchecked_ref()));
    handler
}

fn on_hello(live: Live, hello: Hello) {
    let (is_first, is_other_build, was_lost) = TAB.with_borrow_mut(|tab| {
        tab.stream = Some(hello.stream);
        let was_lost = std::mem::take(&mut tab.tries) > 0;
        let is_first = !std::mem::replace(&mut tab.has_greeted, true);
        tab.last_frame_ms = now_ms();
        (is_first, !tab.build.is_empty() && tab.build != hello.build, was_lost)
    });
    live.set_columns(hello.columns);
    live.forget_newest();
    live.badge.set(Badge::Live);
    if is_other_build {
        live.is_outdated.set(true);
    }
    if is_first {
        // What happened between the making of the page and now is in no event of this stream.
        fetch_anew(live);
    }
    if was_lost {
        // Lifecycle events are replayed by the server; the values that were missed come from history.
        live.resyncs.update(|count| *count += 1);
    }
    send_topic();
}

fn on_metrics(live: Live, frame: &MetricsFrame) {
    TAB.with_borrow_mut(|tab| tab.last_frame_ms = now_ms());
    if live.badge.get_untracked() != Badge::Live {
        live.badge.set(Badge::Live);
    }
    live.apply_metrics(frame);
}

/// Fetches once what can no longer be replayed.
fn resync(live: Live) {
    live.resyncs.update(|count| *count += 1);
    fetch_anew(live);
}

/// The containers, and what became of the tasks that were under way.
fn fetch_anew(live: Live) {
    spawn_local(async move {
        match api::containers::list().await {
            Ok(list) => live.seed(list),
            Err(error) if error.code() == model::ErrorCode::SignInRequired => return end(live),
            Err(_) => {}
        }
        let unfinished = live.unfinished();
        if unfinished.is_empty() {
            return;
        }
        if let Ok(tasks) = api::tasks::list().await {
            for task in tasks.into_iter().filter(|task| unfinished.contains(&task.id)) {
                live.seed_task(task);
            }
        }
    });
}

/// The session is over: nothing is tried again, since every try would be refused.
fn end(live: Live) {
    close();
    live.badge.set(Badge::SignedOut);
}

/// What the badge says after a lost connection; the end of a session stays said.
fn after_failure(badge: Badge, tries: u32) -> Badge {
    match badge {
        Badge::SignedOut => Badge::SignedOut,
        _ => Badge::Reconnecting(tries),
    }
}

fn on_failure(live: Live) {
    let (tries, gave_up) = TAB.with_borrow_mut(|tab| {
        tab.tries += 1;
        tab.stream = None;
        let gave_up = tab.source.as_ref().is_none_or(|source| source.ready_state() == EventSource::CLOSED);
        (tab.tries, gave_up)
    });
    let badge = after_failure(live.badge.get_untracked(), tries);
    live.badge.set(badge);
    if badge == Badge::SignedOut {
        close();
    } else if gave_up {
        close();
        browser::after(delay_ms(tries, js_sys::Math::random()), move || reopen(live));
    }
}

/// Doubles from half a second to 15 s, with jitter so that 500 tabs do not come back at once.
fn delay_ms(tries: u32, random: f64) -> u64 {
    let base = 500_u64.saturating_mul(1 << tries.saturating_sub(1).min(5)).min(15_000);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "a few seconds of milliseconds"
    )]
    let jitter = (base as f64 * 0.5 * random) as u64;
    base + jitter
}

fn reopen(live: Live) {
    let is_idle = TAB.with_borrow(|tab| tab.source.is_none()) && live.badge.get_untracked() != Badge::SignedOut;
    if is_idle && !is_hidden() {
        connect();
        resync(live);
    }
}

fn close() {
    TAB.with_borrow_mut(|tab| {
        if let Some(source) = tab.source.take() {
            source.close();
        }
        tab.stream = None;
    });
}

/// Tells the open stream what to carry; without one the next `hello` does.
pub(super) fn send_topic() {
    let Some((live, stream)) = TAB.with_borrow(|tab| Some((tab.live?, tab.stream.clone()?))) else {
        return;
    };
    let body = json::write(&serde_json::json!({ "metrics": live.topic() }));
    let init = web_sys::RequestInit::new();
    init.set_method("POST");
    init.set_body(&wasm_bindgen::JsValue::from_str(&body));
    if let Ok(headers) = web_sys::Headers::new() {
        // A valid header name and value cannot be refused.
        drop(headers.set("content-type", "application/json"));
        init.set_headers(&headers);
    }
    // When the stream is gone meanwhile, its error event follows and the next hello sends the topic again.
    drop(window().fetch_with_str_and_init(&format!("/api/v1/events/{}/topics", encode(&stream)), &init));
}

fn watch_visibility() {
    let changed = Closure::<dyn FnMut()>::new(move || {
        if is_hidden() {
            browser::after(HIDDEN_MS, pause_if_hidden);
        } else if let Some(live) = TAB.with_borrow(|tab| tab.live) {
            reopen(live);
        }
    });
    drop(document().add_event_listener_with_callback("visibilitychange", changed.as_ref().unchecked_ref()));
    changed.forget();
}

fn pause_if_hidden() {
    let live = TAB.with_borrow(|tab| tab.live);
    if let Some(live) = live.filter(|live| is_hidden() && live.badge.get_untracked() != Badge::SignedOut) {
        close();
        live.badge.set(Badge::Paused);
    }
}

fn tick(live: Live) {
    let now = now_ms();
    live.now_ms.set(now);
    let silent_ms = now - TAB.with_borrow(|tab| tab.last_frame_ms);
    let wants_values = live.topic() != model::event::MetricsTopic::default();
    if matches!(live.badge.get_untracked(), Badge::Live | Badge::Delayed(_)) && wants_values && silent_ms > STALE_MS {
        live.badge.set(Badge::Delayed(u32::try_from(silent_ms / 1000).unwrap_or(0)));
    }
}

fn is_hidden() -> bool {
    document().hidden()
}

/// Milliseconds since the epoch, by the browser's clock.
#[must_use]
#[expect(clippy::cast_possible_truncation, reason = "milliseconds since the epoch fit")]
pub fn now_ms() -> i64 {
    js_sys::Date::now() as i64
}

fn encode(text: &str) -> String {
    js_sys::encode_uri_component(text).into()
}

#[cfg(test)]
mod tests {
    use super::{Badge, after_failure, delay_ms};

    #[test]
    fn the_end_of_a_session_is_final() {
        assert_eq!(after_failure(Badge::Live, 2), Badge::Reconnecting(2));
        assert_eq!(after_failure(Badge::SignedOut, 2), Badge::SignedOut);
    }

    #[test]
    fn the_delay_grows_to_its_bound() {
        assert_eq!(delay_ms(1, 0.0), 500);
        assert_eq!(delay_ms(3, 0.0), 2000);
        assert_eq!(delay_ms(99, 0.0), 15_000);
        assert!(delay_ms(99, 1.0) <= 22_500);
    }
}
