//! berth.toml: the keys of `berth serve`, one by one.

use std::path::Path;

use serde::Deserialize;

use crate::failure::Failure;

/// The file's keys as text.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct FileConfig {
    pub state_dir: Option<String>,
    pub run_dir: Option<String>,
    pub instance: Option<String>,
    pub listen: Option<Vec<String>>,
    pub tls: Option<String>,
    pub tls_cert: Option<String>,
    pub tls_key: Option<String>,
    pub public_url: Option<String>,
    pub trusted_proxy: Option<Vec<String>>,
    pub bridge: Option<String>,
    pub subnet: Option<String>,
    pub id_pool: Option<String>,
    pub mount_root: Option<Vec<String>>,
    pub log: Option<String>,
}

impl FileConfig {
    /// Reads a file.
    ///
    /// # Errors
    /// It cannot be read, or has a key that does not exist or is of another type (exit 2).
    pub fn read(path: &Path) -> Result<Self, Failure> {
        let refuse = |why: String| Failure::usage(format!("config is wrong ({}: {why}; see the keys in `berth serve --help`)", path.display()));
        let text = std::fs::read_to_string(path).map_err(|error| refuse(error.to_string()))?;
        Self::parse(&text).map_err(refuse)
    }

    /// Parses a file's text.
    ///
    /// # Errors
    /// Says the line and what is wrong there.
    pub fn parse(text: &str) -> Result<Self, String> {
        toml::from_str(text).map_err(|error: toml::de::Error| {
            let line = error.span().map(|span| text[..span.start.min(text.len())].lines().count().max(1));
            match line {
                Some(line) => format!("line {line}: {}", error.message()),
                None => error.message().to_owned(),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::FileConfig;

    #[test]
    fn a_key_that_does_not_exist_is_named() {
        let error = FileConfig::parse("bridge = \"a\"\nbrigde = \"b\"").unwrap_err();
        assert!(error.contains("brigde"), "{error}");
    }
}
