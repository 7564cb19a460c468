//! The one client of all server functions: what depends on a function is its arguments and how its answer is read.

use std::future::Future;
use std::pin::Pin;

use http::Method;
use leptos::prelude::window;
use send_wrapper::SendWrapper;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use server_fn::Protocol;
use server_fn::client::Client;
use server_fn::server::Server;
use wasm_bindgen::{JsCast as _, JsValue};
use wasm_bindgen_futures::JsFuture;
use web_sys::{AbortController, Headers, RequestInit, Response, UrlSearchParams};

use crate::api::{ApiError, ApiResult};
use crate::json;

/// Arguments as a form posts them, an answer as JSON: a page without script can ask it too.
#[derive(Debug)]
pub struct Form;

/// Arguments and answer as JSON.
#[derive(Debug)]
pub struct Json;

macro_rules! protocol {
    ($name:ident, $body:ident) => {
        impl<I, O, C, S> Protocol<I, O, C, S, ApiError> for $name
        where
            I: Serialize,
            O: DeserializeOwned,
            C: Client<ApiError>,
            S: Server<ApiError>,
        {
            const METHOD: Method = Method::POST;

            /// Never called: the browser serves nothing.
            fn run_server<F, R>(_: S::Request, _: F) -> impl Future<Output = ApiResult<S::Response>> + Send
            where
                F: Fn(I) -> R + Send,
                R: Future<Output = ApiResult<O>> + Send,
            {
                std::future::pending()
            }

            fn run_client(path: &str, input: I) -> impl Future<Output = ApiResult<O>> + Send {
                let answer = ask(path, serde_json::to_value(input).map($body));
                SendWrapper::new(async move { json::read(&answer.await?).map_err(unreadable) })
            }
        }
    };
}

protocol!(Form, form);
protocol!(Json, body);

/// What a request carries, with its type.
type Body = (JsValue, &'static str);

fn form(arguments: Value) -> Body {
    let fields = UrlSearchParams::new().ok();
    if let (Some(fields), Value::Object(arguments)) = (&fields, arguments) {
        for (name, value) in arguments {
            match value {
                Value::Null => {}
                Value::String(text) => fields.append(&name, &text),
                other => fields.append(&name, &json::write(&other)),
            }
        }
    }
    let text = fields.map(|fields| String::from(fields.to_string())).unwrap_or_default();
    (text.into(), "application/x-www-form-urlencoded")
}

fn body(arguments: Value) -> Body {
    (json::write(&arguments).into(), "application/json")
}

fn unreadable(error: json::Wrong) -> ApiError {
    ApiError::Unreachable(error.to_string())
}

/// Ends a request whose answer nobody waits for any more.
struct Asking(Option<AbortController>);

impl Asking {
    fn is_over(&mut self) {
        self.0 = None;
    }
}

impl Drop for Asking {
    fn drop(&mut self) {
        if let Some(controller) = self.0.take() {
            controller.abort();
        }
    }
}

/// Posts and gives the text of the answer.
fn ask(path: &str, body: serde_json::Result<Body>) -> Pin<Box<dyn Future<Output = ApiResult<String>>>> {
    let mut asking = Asking(AbortController::new().ok());
    let path = path.to_owned();
    Box::pin(async move {
        let body = body.map_err(|error| ApiError::Unreachable(error.to_string()))?;
        let answer = exchange(&path, &body, asking.0.as_ref())
            .await
            .map_err(|error| ApiError::Unreachable(said(&error)));
        asking.is_over();
        let (status, text) = answer?;
        if status < 400 {
            return Ok(text);
        }
        // A proxy's own page is no answer of the console.
        Err(json::read(&text).unwrap_or_else(|_| ApiError::Unreachable(format!("status {status}"))))
    })
}

async fn exchange(path: &str, (body, kind): &Body, abort: Option<&AbortController>) -> Result<(u16, String), JsValue> {
    let headers = Headers::new()?;
    headers.set("content-type", kind)?;
    headers.set("accept", "application/json")?;
    let init = RequestInit::new();
    init.set_method("POST");
    init.set_headers(&headers);
    init.set_body(body);
    init.set_signal(abort.map(AbortController::signal).as_ref());
    let response: Response = JsFuture::from(window().fetch_with_str_and_init(path, &init)).await?.unchecked_into();
    let text = JsFuture::from(response.text()?).await?;
    Ok((response.status(), text.as_string().unwrap_or_default()))
}

/// The words of an exception.
fn said(error: &JsValue) -> String {
    error.dyn_ref::<js_sys::Error>().map(|error| String::from(error.message())).unwrap_or_default()
}
