//! What is wrong with a form, field by field. The rules and their English words are those of `model`; the French words
//! say the same rule once per field.

use std::fmt::Display;

use crate::format::Locale;
use crate::i18n::rules as text;
use crate::i18n::{Lang, Text};
use crate::map::Map;

/// Field to message; empty = the form can be sent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Problems(Map<&'static str, String>);

impl Problems {
    /// The value, or its error remembered beside the field.
    pub fn keep<T, E: Display>(&mut self, field: &'static str, result: Result<T, E>) -> Option<T> {
        match result {
            Ok(value) => Some(value),
            Err(error) => {
                self.add(field, error.to_string());
                None
            }
        }
    }

    /// Remembers a problem; the first of a field stays.
    pub fn add(&mut self, field: &'static str, message: String) {
        self.0.or_insert_with(field, || message);
    }

    /// What is wrong with a field.
    #[must_use]
    pub fn of(&self, field: &str) -> Option<&str> {
        self.0.get(field).map(String::as_str)
    }

    /// Whether nothing is wrong.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The fields that are wrong.
    pub fn fields(&self) -> impl Iterator<Item = &'static str> + '_ {
        self.0.keys().copied()
    }
}

/// The message of a field in the visitor's language.
#[must_use]
pub fn words(locale: Locale, field: &str, message: &str) -> String {
    match rule(field) {
        Some(rule) => broken(locale, rule, message),
        None => message.to_owned(),
    }
}

/// As [`words`], for a page that has one field, and no use for the rules of all the others.
#[must_use]
pub fn broken(locale: Locale, rule: Text, message: &str) -> String {
    if locale.lang == Lang::En {
        message.to_owned()
    } else {
        locale.t(rule).to_owned()
    }
}

/// The rule of a field, said as a whole.
fn rule(field: &str) -> Option<Text> {
    Some(match field {
        "name" => text::NAME,
        "template" => text::TEMPLATE,
        "hostname" => text::HOSTNAME,
        "cpus" => text::CPUS,
        "cpu-weight" => text::CPU_WEIGHT,
        "cpuset" => text::CPUSET,
        "memory" | "memory-high" => text::MEMORY,
        "swap" | "disk" | "io-read" | "io-write" => text::SIZE,
        "pids" => text::PIDS,
        "ip" | "ip6" => text::CIDR,
        "gw" => text::ADDRESS,
        "rate-in" | "rate-out" => text::BITS,
        "mtu" => text::MTU,
        "mac" => text::MAC,
        "publish" => text::PUBLISH,
        "env" => text::ENV,
        "password" | "new" => text::PASSWORD,
        "sha256" => text::SHA256,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_problem_of_a_field_stays() {
        let mut problems = Problems::default();
        assert_eq!(problems.keep("name", Ok::<_, String>(1)), Some(1));
        assert!(problems.is_empty());
        assert_eq!(problems.keep::<i32, _>("name", Err("first")), None);
        problems.add("name", "second".to_owned());
        assert_eq!(problems.of("name"), Some("first"));
    }

    #[test]
    fn english_is_the_models_and_french_the_rule() {
        let (en, fr) = (
            Locale::default(),
            Locale {
                lang: Lang::Fr,
                ..Locale::default()
            },
        );
        assert_eq!(words(en, "memory", "too small"), "too small");
        assert_eq!(words(fr, "memory", "too small"), text::MEMORY.fr);
        assert_eq!(words(fr, "unheard-of", "as it came"), "as it came");
    }
}
