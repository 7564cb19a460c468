//! Sending a file as it is: a server function would hold it in memory, and `fetch` does not tell how far it is.

use model::error::ErrorBody;
use model::task::Task;
use serde::Deserialize;
use wasm_bindgen::JsCast as _;
use wasm_bindgen::closure::Closure;
use wasm_bindgen_futures::JsFuture;
use web_sys::{ProgressEvent, XmlHttpRequest};

use super::{ApiError, ApiResult};

/// How a refusal of the REST interface reads.
#[derive(Deserialize)]
struct Refusal {
    error: ErrorBody,
}

/// Sends an archive that becomes the template `local:NAME`; `seen` hears how many bytes of how many are out. Aborting
/// the request ends it early.
///
/// # Errors
/// What the console said, or that it could not be reached.
pub async fn template(request: &XmlHttpRequest, name: &str, sha256: &str, file: &web_sys::File, mut seen: impl FnMut(u64, u64) + 'static) -> ApiResult<Task> {
    let digest = if sha256.is_empty() { String::new() } else { format!("&sha256={sha256}") };
    let heard = Closure::<dyn FnMut(ProgressEvent)>::new(move |event: ProgressEvent| seen(whole(event.loaded()), whole(event.total())));
    if let Ok(upload) = request.upload() {
        upload.set_onprogress(Some(heard.as_ref().unchecked_ref()));
    }
    let ended = js_sys::Promise::new(&mut |resolve, _| request.set_onloadend(Some(&resolve)));
    let sent = request
        .open_with_async("POST", &format!("/api/v1/templates/upload?name={name}{digest}"), true)
        .and_then(|()| request.send_with_opt_blob(Some(file)));
    sent.map_err(|error| ApiError::Unreachable(format!("{error:?}")))?;
    // It only resolves: success and failure alike end the load.
    drop(JsFuture::from(ended).await);
    let text = request.response_text().ok().flatten().unwrap_or_default();
    read(request.status().unwrap_or(0), &text)
}

/// Counts of bytes come as floating point numbers.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a size below 2^53, never negative")]
fn whole(bytes: f64) -> u64 {
    bytes as u64
}

fn read(status: u16, text: &str) -> ApiResult<Task> {
    if (200..300).contains(&status) {
        return crate::json::read(text).map_err(|error| ApiError::Unreachable(error.to_string()));
    }
    match crate::json::read::<Refusal>(text) {
        Ok(refusal) => Err(ApiError::Refused(Box::new(refusal.error))),
        Err(_) => Err(ApiError::Unreachable(format!("status {status}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::ErrorCode;

    #[test]
    fn a_refusal_keeps_its_parts_and_silence_is_no_refusal() {
        let refused = read(422, r#"{"error":{"code":"invalid","message":"no name","field":"name"}}"#).unwrap_err();
        assert_eq!((refused.code(), refused.body().field.as_deref()), (ErrorCode::Invalid, Some("name")));
        for (status, text) in [(0, ""), (502, "<html>"), (202, "cut of")] {
            assert!(matches!(read(status, text), Err(ApiError::Unreachable(_))), "{status}");
        }
    }
}
