//! Forms: text fields into model types, errors per field.

pub mod limits;
