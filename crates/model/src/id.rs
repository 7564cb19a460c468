//! Typed identifiers: what names a container, a task, a template or a blob. Every one parses from text and refuses what
//! is not one, so that nothing below ever sees an unchecked name (trust rule D18).

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Why a text is not the identifier that was expected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    #[error("`{0}` is not a UUID")]
    Uuid(String),
    #[error("a name must not be empty")]
    EmptyName,
    #[error("a name has at most 63 characters, this one has {0}")]
    LongName(usize),
    #[error("a name starts with a letter a-z, not with `{0}`")]
    NameStart(char),
    #[error("a name does not end with `-`")]
    NameEnd,
    #[error("a name holds only a-z, 0-9 and `-`, not `{0}`")]
    NameCharacter(char),
    #[error("a sha256 digest has 64 hexadecimal digits")]
    Digest,
    #[error("`{0}` is not SOURCE:ALIAS, for example images:debian/13")]
    TemplateRef(String),
}

macro_rules! uuid_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub Uuid);

        impl $name {
            /// The first twelve digits: what pages show.
            #[must_use]
            pub fn short(self) -> String {
                self.0.simple().to_string()[..12].to_owned()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({})", stringify!($name), self.0)
            }
        }

        impl FromStr for $name {
            type Err = IdError;
            fn from_str(text: &str) -> Result<Self, IdError> {
                Uuid::parse_str(text).map(Self).map_err(|_| IdError::Uuid(text.to_owned()))
            }
        }
    };
}

uuid_id!(
    /// A container for its whole life, in the trash too (UUIDv4).
    ContainerId
);
uuid_id!(
    /// A task.
    TaskId
);
uuid_id!(
    /// An account.
    UserId
);
uuid_id!(
    /// A terminal session made by `exec`.
    ExecId
);

/// A checked text that serialises as itself and is checked again when it is read.
macro_rules! checked_text {
    ($(#[$doc:meta])* $name:ident, $check:path) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// The checked text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:?}", self.0)
            }
        }

        impl FromStr for $name {
            type Err = IdError;
            fn from_str(text: &str) -> Result<Self, IdError> {
                $check(text).map(Self)
            }
        }

        impl TryFrom<String> for $name {
            type Error = IdError;
            fn try_from(text: String) -> Result<Self, IdError> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(value: $name) -> String {
                value.0
            }
        }
    };
}

checked_text!(
    /// The name of a container, a user, a source or a token: `^[a-z]([a-z0-9-]{0,61}[a-z0-9])?$`.
    ContainerName,
    check_name
);

/// Accounts, sources and tokens follow the same rule as containers.
pub type Name = ContainerName;

checked_text!(
    /// A sha256 digest as 64 lower-case hexadecimal digits, never a path.
    Digest,
    check_digest
);

fn check_name(text: &str) -> Result<String, IdError> {
    let first = text.chars().next().ok_or(IdError::EmptyName)?;
    if !first.is_ascii_lowercase() {
        return Err(IdError::NameStart(first));
    }
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if let Some(bad) = text.chars().find(|&c| !allowed(c)) {
        return Err(IdError::NameCharacter(bad));
    }
    if text.len() > 63 {
        return Err(IdError::LongName(text.len()));
    }
    if text.ends_with('-') {
        return Err(IdError::NameEnd);
    }
    Ok(text.to_owned())
}

fn check_digest(text: &str) -> Result<String, IdError> {
    if text.len() != 64 || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Err(IdError::Digest);
    }
    Ok(text.to_ascii_lowercase())
}

/// What names a template: `SOURCE:ALIAS`, for example `images:debian/13` or `local:mine`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TemplateRef {
    source: ContainerName,
    alias: String,
}

impl TemplateRef {
    /// Joins a source and an alias.
    ///
    /// # Errors
    /// The alias is empty, longer than 255 bytes or holds white space, a control character or a leading `-`.
    pub fn new(source: ContainerName, alias: &str) -> Result<Self, IdError> {
        let bad = |c: char| c.is_whitespace() || c.is_control();
        if alias.is_empty() || alias.len() > 255 || alias.starts_with('-') || alias.contains(bad) {
            return Err(IdError::TemplateRef(format!("{source}:{alias}")));
        }
        Ok(Self {
            source,
            alias: alias.to_owned(),
        })
    }

    /// The source's name.
    #[must_use]
    pub fn source(&self) -> &ContainerName {
        &self.source
    }

    /// The part after the first colon.
    #[must_use]
    pub fn alias(&self) -> &str {
        &self.alias
    }
}

impl fmt::Display for TemplateRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.source, self.alias)
    }
}

impl fmt::Debug for TemplateRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{self}\"")
    }
}

impl FromStr for TemplateRef {
    type Err = IdError;
    fn from_str(text: &str) -> Result<Self, IdError> {
        let refuse = || IdError::TemplateRef(text.to_owned());
        let (source, alias) = text.split_once(':').ok_or_else(refuse)?;
        Self::new(source.parse().map_err(|_| refuse())?, alias)
    }
}

impl TryFrom<String> for TemplateRef {
    type Error = IdError;
    fn try_from(text: String) -> Result<Self, IdError> {
        text.parse()
    }
}

impl From<TemplateRef> for String {
    fn from(value: TemplateRef) -> String {
        value.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_the_rule() {
        for good in ["a", "web", "web-1", "a1-b2", &"a".repeat(63)] {
            assert!(good.parse::<ContainerName>().is_ok(), "{good}");
        }
        for bad in [
            "",
            "-abc",
            "abc-",
            "foo.bar",
            "a_b_c",
            "Web",
            &"a".repeat(64),
            "1234",
            "../x",
            "a/b",
            ".",
            "a\0",
            "é",
        ] {
            assert!(bad.parse::<ContainerName>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn digest_is_never_a_path() {
        assert!("../../x".parse::<Digest>().is_err());
        assert!("0".repeat(63).parse::<Digest>().is_err());
        assert_eq!("A".repeat(64).parse::<Digest>().unwrap().as_str(), "a".repeat(64));
    }

    #[test]
    fn template_ref_splits_at_the_first_colon() {
        let oci: TemplateRef = "oci:docker.io/library/nginx:1.27".parse().unwrap();
        assert_eq!(oci.source().as_str(), "oci");
        assert_eq!(oci.alias(), "docker.io/library/nginx:1.27");
        for bad in ["debian", ":x", "images:", "images:a b", "images:-x"] {
            assert!(bad.parse::<TemplateRef>().is_err(), "{bad}");
        }
    }

    #[test]
    fn short_id_has_twelve_digits() {
        let id: ContainerId = "6ba7b810-9dad-41d1-80b4-00c04fd430c8".parse().unwrap();
        assert_eq!(id.short(), "6ba7b8109dad");
    }
}
