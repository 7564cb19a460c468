//! Templates from a source to a layer, through the whole of `control`: the fake engine, a store in memory, and a web
//! server of the test's own that cuts, drips, lies and redirects.

#![expect(clippy::unwrap_used, reason = "in a test a panic is the message")]

#[path = "templates/builds.rs"]
mod builds;
#[path = "world/console.rs"]
#[expect(dead_code, reason = "its templates come from a server")]
mod console;
#[path = "templates/download.rs"]
mod download;
#[path = "templates/imports.rs"]
mod imports;
#[path = "templates/redirects.rs"]
mod redirects;
#[path = "templates/server.rs"]
mod server;
#[path = "templates/sources.rs"]
mod sources;
#[path = "templates/world.rs"]
mod world;
