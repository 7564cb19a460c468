//! Texts of set-up, sign-in and the account page.
