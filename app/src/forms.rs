//! Forms: text fields into model types, errors per field.
