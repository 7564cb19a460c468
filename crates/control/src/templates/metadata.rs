//! What an image says about itself in its `metadata.yaml` (formats.md section 3): only the few keys that matter here.
//!
//! Values are taken as their literal text, because image builders write them unquoted: to a reader of YAML 1.1
//! `20260904_05:24` is a number.

use model::Timestamp;

use super::offer::{debian_arch, runs_on};
use crate::error::{Error, Result};

/// The keys that are used.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Metadata {
    /// As the image spells it.
    pub(super) architecture: Option<String>,
    pub(super) created_at: Option<Timestamp>,
    pub(super) expires_at: Option<Timestamp>,
}

impl Metadata {
    /// Reads the keys at the top; what cannot be read is left out.
    pub(super) fn read(text: &str) -> Self {
        let value = |key: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'))?;
            let value = line.split(" #").next().unwrap_or_default().trim().trim_matches(['"', '\'']);
            (!value.is_empty()).then(|| value.to_owned())
        };
        // 0 stands for "never" and "not known".
        let seconds = |key: &str| value(key)?.parse::<i64>().ok().filter(|seconds| *seconds > 0);
        let time = |key: &str| seconds(key)?.checked_mul(1000).map(Timestamp::from_ms);
        Self {
            architecture: value("architecture"),
            created_at: time("creation_date"),
            expires_at: time("expiry_date"),
        }
    }

    /// The architecture in Debian's spelling, if it is one that runs here.
    ///
    /// # Errors
    /// `Unsupported` names both.
    pub(super) fn arch_on(&self, host_arch: &str) -> Result<Option<&'static str>> {
        let Some(own) = &self.architecture else { return Ok(None) };
        match debian_arch(own) {
            Some(arch) if runs_on(arch, host_arch) => Ok(Some(arch)),
            _ => Err(Error::new(
                model::ErrorCode::Unsupported,
                format!("the image is made for {own}, and this host is {host_arch}"),
            )
            .hint(format!("take the image for {host_arch}"))),
        }
    }

    /// Refuses an image that is another than the index promised.
    ///
    /// # Errors
    /// `Invalid` names both.
    pub(super) fn require_arch(&self, promised: &str) -> Result<()> {
        match &self.architecture {
            Some(own) if debian_arch(own) != debian_arch(promised) => Err(Error::new(
                model::ErrorCode::Invalid,
                format!("the image is made for {own}, and the index offers it for {promised}"),
            )
            .hint("tell whoever runs the source; another build may be right")),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "architecture: x86_64\ncreation_date: 1762000000 # built then\nexpiry_date: \"1793536000\"\nproperties:\n  architecture: i686\n  serial: 20260904_05:24\n";

    #[test]
    fn keys_at_the_top_are_read_as_their_text() {
        let read = Metadata::read(TEXT);
        assert_eq!(read.architecture.as_deref(), Some("x86_64"));
        assert_eq!(read.created_at, Some(Timestamp::from_ms(1_762_000_000_000)));
        assert_eq!(read.expires_at, Some(Timestamp::from_ms(1_793_536_000_000)));
        let none = Metadata::read("creation_date: soon\nexpiry_date: 0\n  architecture: x86_64\narchitecture_of: arm\n");
        assert_eq!(none, Metadata::default());
        assert_eq!(Metadata::read(&format!("creation_date: {}", i64::MAX)).created_at, None);
    }

    #[test]
    fn another_architecture_is_refused_with_both_names() {
        let read = Metadata::read(TEXT);
        assert_eq!(read.arch_on("amd64"), Ok(Some("amd64")));
        let refused = read.arch_on("arm64").unwrap_err();
        assert_eq!(refused.code(), model::ErrorCode::Unsupported);
        assert!(refused.to_string().contains("x86_64") && refused.to_string().contains("arm64"), "{refused}");
        assert_eq!(Metadata::default().arch_on("arm64"), Ok(None));
        assert_eq!(read.require_arch("amd64"), Ok(()));
        let refused = read.require_arch("i386").unwrap_err();
        assert!(refused.to_string().contains("x86_64") && refused.to_string().contains("i386"), "{refused}");
    }
}
