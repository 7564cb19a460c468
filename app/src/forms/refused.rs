//! What the server said about a form that was posted without script: it comes back in the address of the page.

use leptos::prelude::*;
use leptos_router::hooks::use_query_map;
use server_fn::error::ServerFnUrlError;

use crate::api::ApiError;

/// The error of the last plain post to this server function.
#[must_use]
pub fn refused(path: &str) -> Option<ApiError> {
    use_query_map().try_with_untracked(|query| {
        let is_ours = query.get_str("__path") == Some(path);
        is_ours.then(|| query.get_str("__err").map(ServerFnUrlError::<ApiError>::decode_err)).flatten()
    })?
}
