//! The first account.
