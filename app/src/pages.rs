//! One module per page. Pages fetch; components draw.

pub mod account;
pub mod actions;
pub mod container;
pub mod container_exit;
pub mod containers;
pub mod create;
pub mod dashboard;
pub mod graphs;
pub mod not_found;
pub mod setup;
pub mod sign_in;
pub mod sources;
pub mod tasks;
pub mod templates;
pub mod trash;
