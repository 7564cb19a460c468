//! Own password, sessions and tokens.
