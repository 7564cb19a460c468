//! How large a body may be and how slowly it may come, whoever reads it: extractors, server functions and uploads alike.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use axum::extract::Request;
use axum::http::StatusCode;
use axum::http::header::CONNECTION;
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use hyper::body::{Frame, SizeHint};
use model::error::ErrorCode;
use tokio::time::{Instant, Sleep};

use crate::routes::answer::ApiError;

/// JSON and forms are small; archives have an address of their own.
pub const MAX: u64 = 1 << 20;
const UPLOAD: &str = "/api/v1/templates/upload";
/// A small body has to be here within this time; an upload has to move on within it.
const TIME: Duration = Duration::from_secs(30);

/// So much of a body that is too large is still taken: whoever still sends when the connection closes never sees why.
const SURPLUS: u64 = 16 << 20;

const FINE: u8 = 0;
const LATE: u8 = 1;
const LARGE: u8 = 2;

/// Bounds the body. What broke a bound is said, whatever the handler made of the broken body.
pub async fn bound(request: Request, next: Next) -> Response {
    if request.body().is_end_stream() {
        return next.run(request).await;
    }
    let is_upload = request.uri().path() == UPLOAD;
    let verdict = Arc::new(AtomicU8::new(FINE));
    let told = Arc::clone(&verdict);
    let request = request.map(|body| {
        Body::new(Bounded {
            body,
            left: (!is_upload).then_some(MAX),
            surplus: 0,
            may_be_slow: is_upload,
            is_waiting: true,
            deadline: Box::pin(tokio::time::sleep(TIME)),
            verdict: told,
        })
    });
    let response = next.run(request).await;
    match verdict.load(Ordering::SeqCst) {
        FINE => response,
        broken => refusal(broken),
    }
}

fn refusal(broken: u8) -> Response {
    let mut response = if broken == LATE {
        ApiError::new(ErrorCode::Timeout, format!("the body did not come within {} s", TIME.as_secs())).hint("send it again")
    } else {
        ApiError::new(ErrorCode::TooLarge, format!("the body is larger than {} KiB", MAX >> 10)).hint("archives go to POST /api/v1/templates/upload")
    }
    .into_response();
    debug_assert!(matches!(response.status(), StatusCode::REQUEST_TIMEOUT | StatusCode::PAYLOAD_TOO_LARGE));
    // What is still on its way is not read any more.
    response.headers_mut().insert(CONNECTION, axum::http::HeaderValue::from_static("close"));
    response
}

/// A body with bounds.
struct Bounded {
    body: Body,
    /// Bytes that may still come; `None` = the reader bounds them.
    left: Option<u64>,
    /// Bytes beyond that, which nobody gets.
    surplus: u64,
    /// Whether each piece gives more time: from when the next one is waited for, not while this one is written to a disk.
    may_be_slow: bool,
    is_waiting: bool,
    deadline: Pin<Box<Sleep>>,
    verdict: Arc<AtomicU8>,
}

impl Bounded {
    fn refuse(&self, verdict: u8, why: &'static str) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        self.verdict.store(verdict, Ordering::SeqCst);
        Poll::Ready(Some(Err(axum::Error::new(why))))
    }
}

impl HttpBody for Bounded {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        loop {
            let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(context) else {
                if self.may_be_slow && !std::mem::replace(&mut self.is_waiting, true) {
                    let later = Instant::now() + TIME;
                    self.deadline.as_mut().reset(later);
                }
                return match self.deadline.as_mut().poll(context) {
                    Poll::Ready(()) => self.refuse(LATE, "the body came too slowly"),
                    Poll::Pending => Poll::Pending,
                };
            };
            let got = match &frame {
                Some(Ok(frame)) => frame.data_ref().map_or(0, |data| data.len() as u64),
                _ => 0,
            };
            if got > 0 {
                self.is_waiting = false;
            }
            let Some(left) = self.left else {
                return Poll::Ready(frame);
            };
            if self.surplus == 0 && got <= left {
                self.left = Some(left - got);
                return Poll::Ready(frame);
            }
            self.surplus += got;
            if self.surplus > SURPLUS || !matches!(frame, Some(Ok(_))) {
                return self.refuse(LARGE, "the body is too large");
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::middleware::from_fn;
    use axum::routing::post;
    use futures::StreamExt as _;
    use tower::ServiceExt as _;

    use super::*;

    async fn read(body: Bytes) -> String {
        body.len().to_string()
    }

    /// Sends pieces with pauses between them.
    async fn send(path: &str, pieces: usize, size: usize, pause: Duration) -> StatusCode {
        let router = Router::new()
            .route("/fn/x", post(read))
            .route(UPLOAD, post(read))
            .layer(axum::extract::DefaultBodyLimit::disable())
            .layer(from_fn(bound));
        let stream = futures::stream::iter(0..pieces).then(move |_| async move {
            tokio::time::sleep(pause).await;
            Ok::<_, std::io::Error>(Bytes::from(vec![b'x'; size]))
        });
        let request = Request::post(path).body(Body::from_stream(stream)).unwrap();
        router.oneshot(request).await.unwrap().status()
    }

    #[tokio::test(start_paused = true)]
    async fn a_trickle_ends_and_a_slow_upload_does_not() {
        let second = Duration::from_secs(1);
        assert_eq!(send("/fn/x", 20, 1, second).await, StatusCode::OK);
        assert_eq!(send("/fn/x", 100, 1, second).await, StatusCode::REQUEST_TIMEOUT);
        assert_eq!(send(UPLOAD, 100, 1, second).await, StatusCode::OK);
        assert_eq!(send(UPLOAD, 2, 1, 31 * second).await, StatusCode::REQUEST_TIMEOUT);
    }

    #[tokio::test(start_paused = true)]
    async fn a_long_body_is_refused_even_when_it_does_not_say_its_length() {
        let none = Duration::ZERO;
        assert_eq!(send("/fn/x", 16, 64 << 10, none).await, StatusCode::OK);
        assert_eq!(send("/fn/x", 17, 64 << 10, none).await, StatusCode::PAYLOAD_TOO_LARGE);
        assert_eq!(send(UPLOAD, 64, 64 << 10, none).await, StatusCode::OK);
    }
}
