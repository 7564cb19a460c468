//! What the pages say, in English and French. A text is a constant that carries both languages, so a missing
//! translation, or a misspelt message, does not compile.
//!
//! Invariant: no sentence is glued from parts; what varies is a `{placeholder}`.

use serde::{Deserialize, Serialize};

pub mod account;
pub mod charts;
pub mod containers;
pub mod frame;
pub mod people;
pub mod reasons;
pub mod rules;
pub mod supply;
pub mod upkeep;

/// The languages of this release.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Lang {
    #[default]
    En,
    Fr,
}

impl Lang {
    /// The value of `<html lang>`.
    #[must_use]
    pub fn tag(self) -> &'static str {
        match self {
            Self::En => "en",
            Self::Fr => "fr",
        }
    }

    /// The language of a tag such as `fr-CA`, when it is one of ours.
    #[must_use]
    pub fn of_tag(tag: &str) -> Option<Self> {
        let primary = tag.trim().split(['-', '_', ';']).next().unwrap_or_default();
        match primary {
            "en" => Some(Self::En),
            "fr" => Some(Self::Fr),
            _ => None,
        }
    }

    /// The first language of an `Accept-Language` header that is ours.
    #[must_use]
    pub fn accepted(header: &str) -> Option<Self> {
        header.split(',').find_map(Self::of_tag)
    }
}

/// One message in every language.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Text {
    pub en: &'static str,
    pub fr: &'static str,
}

impl Text {
    /// The message in this language.
    #[must_use]
    pub const fn get(self, lang: Lang) -> &'static str {
        match lang {
            Lang::En => self.en,
            Lang::Fr => self.fr,
        }
    }
}

/// One message that counts something, by the plural rules of CLDR; `{n}` is the number. French has a third form
/// for round millions ("1 000 000 de conteneurs").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plural {
    pub en: [&'static str; 2],
    pub fr: [&'static str; 3],
}

impl Plural {
    /// The form for this number.
    #[must_use]
    pub fn get(self, lang: Lang, n: u64) -> &'static str {
        match lang {
            Lang::En if n == 1 => self.en[0],
            Lang::En => self.en[1],
            Lang::Fr if n < 2 => self.fr[0],
            Lang::Fr if n.is_multiple_of(1_000_000) => self.fr[1],
            Lang::Fr => self.fr[2],
        }
    }
}

/// Declares texts: `texts! { SIGN_IN = "Sign in", "Se connecter"; }`, English first.
#[macro_export]
macro_rules! texts {
    ($($(#[$doc:meta])* $name:ident = $en:expr, $fr:expr;)*) => {
        $($(#[$doc])* pub const $name: $crate::i18n::Text = $crate::i18n::Text { en: $en, fr: $fr };)*
    };
}

/// Declares counted texts: `plurals! { ITEMS = ["{n} item", "{n} items"], ["{n} objet", "{n} d'objets", "{n} objets"]; }`.
#[macro_export]
macro_rules! plurals {
    ($($name:ident = $en:expr, $fr:expr;)*) => {
        $(pub const $name: $crate::i18n::Plural = $crate::i18n::Plural { en: $en, fr: $fr };)*
    };
}

/// Puts values into `{placeholders}`.
#[must_use]
pub fn fill(pattern: &str, values: &[(&str, &str)]) -> String {
    let mut out = String::with_capacity(pattern.len() + 16);
    let mut rest = pattern;
    while let Some((before, after)) = rest.split_once('{') {
        out.push_str(before);
        let Some((key, tail)) = after.split_once('}') else {
            out.push('{');
            rest = after;
            continue;
        };
        match values.iter().find(|(name, _)| *name == key) {
            Some((_, value)) => out.push_str(value),
            None => out.push_str(key),
        }
        rest = tail;
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placeholders_are_filled_and_values_are_not_scanned_again() {
        assert_eq!(fill("Stop {name}?", &[("name", "{name}")]), "Stop {name}?");
        assert_eq!(fill("{a} of {b}", &[("a", "1"), ("b", "2")]), "1 of 2");
        assert_eq!(fill("no brace } here {", &[]), "no brace } here {");
    }

    #[test]
    fn french_counts_zero_as_one_and_knows_millions() {
        let plural = Plural {
            en: ["{n} container", "{n} containers"],
            fr: ["{n} conteneur", "{n} de conteneurs", "{n} conteneurs"],
        };
        assert_eq!(plural.get(Lang::Fr, 0), "{n} conteneur");
        assert_eq!(plural.get(Lang::En, 0), "{n} containers");
        assert_eq!(plural.get(Lang::Fr, 1_000_000), "{n} de conteneurs");
        assert_eq!(plural.get(Lang::Fr, 2), "{n} conteneurs");
    }

    #[test]
    fn the_first_accepted_language_of_ours_wins() {
        assert_eq!(Lang::accepted("de-DE,fr-CH;q=0.8,en;q=0.5"), Some(Lang::Fr));
        assert_eq!(Lang::accepted("de"), None);
    }
}
