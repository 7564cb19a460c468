//! Forms: text fields into model types, errors per field.

pub mod create;
pub mod equivalent;
pub mod import;
pub mod limits;
pub mod presets;
pub mod problems;
pub mod refused;
pub mod sign_in;
pub mod source;
pub mod token;
