//! The interfaces of a real console process on the in-memory engine: who may do what, what answers look like, sockets,
//! streams and the command line.

#![expect(clippy::unwrap_used, reason = "in a test a panic is the message")]

#[path = "http/answers.rs"]
mod answers;
#[path = "http/cli.rs"]
mod cli;
#[path = "http/console.rs"]
mod console;
#[path = "http/events.rs"]
mod events;
#[path = "http/french.rs"]
mod french;
#[path = "http/headers.rs"]
mod headers;
#[path = "http/kills.rs"]
mod kills;
#[path = "http/repeats.rs"]
mod repeats;
#[path = "http/rights.rs"]
mod rights;
#[path = "http/sockets.rs"]
mod sockets;
#[path = "http/strangers.rs"]
mod strangers;
