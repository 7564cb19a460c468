//! Deleted containers.
