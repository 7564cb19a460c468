//! Places that offer templates.
