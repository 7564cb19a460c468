//! Templates and their downloads.
