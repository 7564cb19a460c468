//! How server functions are asked and answer. On the server these are `server_fn`'s own protocols. In the browser all
//! functions share one client instead of carrying one each.

#[cfg(not(feature = "ssr"))]
mod browser;
mod refusal;

#[cfg(not(feature = "ssr"))]
pub use browser::{Form, Json};
pub use refusal::Refusal;

/// Arguments as a form posts them, an answer as JSON: a page without script can ask it too.
#[cfg(feature = "ssr")]
pub type Form = server_fn::Http<server_fn::codec::PostUrl, server_fn::codec::Json>;

/// Arguments and answer as JSON.
#[cfg(feature = "ssr")]
pub type Json = server_fn::Http<server_fn::codec::Json, server_fn::codec::Json>;
