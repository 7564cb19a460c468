//! The console's REST interface over its local socket, without a client in between whose own start would count.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;

use anyhow::{Context, bail};

/// Sends a request without a body and gives the answer's.
pub fn ask(socket: &Path, method: &str, path: &str) -> anyhow::Result<serde_json::Value> {
    let mut stream = UnixStream::connect(socket)?;
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"
    )?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").context("an answer has a head")?;
    let status = head.lines().next().unwrap_or_default();
    if !status.starts_with("HTTP/1.1 2") {
        bail!("{method} {path}: {status}: {body}");
    }
    serde_json::from_str(body).with_context(|| format!("{method} {path}: {body}"))
}
