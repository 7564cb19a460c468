//! What a page fetches to begin with. The server puts it into the page, and the browser takes it from there. Inside it has
//! no type, so that waiting for it, keeping it and drawing it are compiled once and not for each type.

use std::any::Any;
use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};

use leptos::prelude::*;
use leptos::server::codee::{Decoder, Encoder};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{ApiError, ApiResult};
use crate::json::{self, Wrong};

type Later<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// A value that is fetched, and fetched anew when its source changes.
pub struct Fetched<T> {
    held: Whatever,
    of: PhantomData<fn() -> T>,
}

/// A value of any type.
pub type Whatever = Resource<ApiResult<Held>, Wire>;

impl<T> Clone for Fetched<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Fetched<T> {}

impl<T> fmt::Debug for Fetched<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fetched").finish_non_exhaustive()
    }
}

impl<T: Clone + Send + Sync + Serialize + DeserializeOwned + 'static> Fetched<T> {
    /// Fetches now, and again whenever `source` gives something else.
    pub fn new<S, F>(source: impl Fn() -> S + Send + Sync + 'static, fetch: impl Fn(S) -> F + Send + Sync + 'static) -> Self
    where
        S: PartialEq + Clone + Send + Sync + 'static,
        F: Future<Output = ApiResult<T>> + Send + 'static,
    {
        let newest = Arc::new(Mutex::new((0, None::<S>)));
        let known = Arc::clone(&newest);
        let version = move || {
            let now = source();
            let mut known = known.lock().unwrap_or_else(PoisonError::into_inner);
            if known.1.as_ref() != Some(&now) {
                *known = (known.0 + 1, Some(now));
            }
            known.0
        };
        let fetch = move || -> Later<ApiResult<Held>> {
            let asked = newest.lock().unwrap_or_else(PoisonError::into_inner).1.clone();
            // The source is read before anything is fetched.
            let Some(answer) = asked.map(&fetch) else {
                return Box::pin(std::future::pending());
            };
            Box::pin(in_words_of_the_page(answer))
        };
        Self {
            held: open(Box::new(version), Box::new(fetch)),
            of: PhantomData,
        }
    }

    /// Without its type.
    #[must_use]
    pub fn whatever(self) -> Whatever {
        self.held
    }

    /// Fetches it anew.
    pub fn refetch(self) {
        self.held.refetch();
    }
}

fn open(version: Box<dyn Fn() -> u64 + Send + Sync>, fetch: Box<dyn Fn() -> Later<ApiResult<Held>> + Send + Sync>) -> Whatever {
    Resource::new_with_options(version, move |_| fetch(), false)
}

/// A value, or the text in the page that stands for it.
#[derive(Clone)]
pub struct Held {
    value: Option<Arc<dyn Any + Send + Sync>>,
    text: Arc<str>,
}

impl fmt::Debug for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Held").field("text", &self.text).finish_non_exhaustive()
    }
}

impl Held {
    fn new<T: Serialize + Send + Sync + 'static>(value: T) -> Self {
        Self {
            text: written(&value).into(),
            value: Some(Arc::new(value)),
        }
    }

    /// The value.
    ///
    /// # Errors
    /// The text is not of this type.
    pub fn value<T: Clone + DeserializeOwned + 'static>(&self) -> ApiResult<T> {
        if let Some(value) = self.value.as_ref().and_then(|value| value.downcast_ref::<T>()) {
            return Ok(value.clone());
        }
        json::read(&self.text).map_err(|error| ApiError::Unreachable(error.to_string()))
    }
}

/// The server puts what the console says into the page's language before it draws.
#[cfg(feature = "ssr")]
async fn in_words_of_the_page<T>(answer: impl Future<Output = ApiResult<T>>) -> ApiResult<Held>
where
    T: Serialize + DeserializeOwned + Send + Sync + 'static,
{
    // Known now: later nothing may be left of the request.
    let lang = super::request::page_language();
    super::request::in_words_of_the_page(lang, answer.await).map(Held::new)
}

/// What the browser fetches is in the page's language already.
#[cfg(not(feature = "ssr"))]
async fn in_words_of_the_page<T>(answer: impl Future<Output = ApiResult<T>>) -> ApiResult<Held>
where
    T: Serialize + Send + Sync + 'static,
{
    answer.await.map(Held::new)
}

/// The server writes it into the page.
#[cfg(feature = "ssr")]
fn written<T: Serialize>(value: &T) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

/// The browser writes nothing.
#[cfg(not(feature = "ssr"))]
fn written<T: Serialize>(_: &T) -> String {
    String::new()
}

/// How it stands in the page: `+` and the value, or `-` and the refusal.
#[derive(Debug)]
pub struct Wire;

impl Encoder<ApiResult<Held>> for Wire {
    type Error = serde_json::Error;
    type Encoded = String;

    fn encode(answer: &ApiResult<Held>) -> Result<String, serde_json::Error> {
        match answer {
            Ok(held) => Ok(format!("+{}", held.text)),
            Err(error) => serde_json::to_string(error).map(|error| format!("-{error}")),
        }
    }
}

impl Decoder<ApiResult<Held>> for Wire {
    type Error = Wrong;
    type Encoded = str;

    fn decode(text: &str) -> Result<ApiResult<Held>, Wrong> {
        match text.strip_prefix('+') {
            Some(text) => Ok(Ok(Held {
                value: None,
                text: text.into(),
            })),
            None => json::read(text.strip_prefix('-').unwrap_or_default()).map(Err),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::{ErrorBody, ErrorCode};

    #[test]
    fn what_the_page_carries_is_read_back() {
        let held = Held {
            value: None,
            text: r#"["a","b"]"#.into(),
        };
        let text = Wire::encode(&Ok(held)).unwrap();
        let read = Wire::decode(&text).unwrap().unwrap();
        assert_eq!(read.value::<Vec<String>>(), Ok(vec!["a".to_owned(), "b".to_owned()]));
        assert!(matches!(read.value::<bool>(), Err(ApiError::Unreachable(_))));
        let error = ApiError::Refused(Box::new(ErrorBody::new(ErrorCode::NotFound, "no")));
        let text = Wire::encode(&Err(error.clone())).unwrap();
        assert_eq!(Wire::decode(&text).unwrap().unwrap_err(), error);
        assert!(Wire::decode("").is_err());
    }

    #[test]
    fn a_value_that_is_here_is_not_read_again() {
        let held = Held {
            value: Some(Arc::new(5_u8)),
            text: "".into(),
        };
        assert_eq!(held.value::<u8>(), Ok(5));
    }
}
