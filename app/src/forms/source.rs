//! A new source.

use model::id::Name;
use model::template::{NewSource, SourceKind};

use super::problems::Problems;

/// Reads the form; whether the address answers is seen when the server reads it, after it was saved.
///
/// # Errors
/// What is wrong, by field.
pub fn parse(name: &str, kind: &str, url: &str) -> Result<NewSource, Problems> {
    let mut problems = Problems::default();
    let name = problems.keep("name", name.trim().parse::<Name>());
    let kind = problems.keep("kind", kind.parse::<SourceKind>());
    let url = url.trim();
    if !(url.starts_with("https://") || url.starts_with("http://")) {
        problems.add("url", format!("`{url}` does not begin with https:// or http://"));
    }
    match (name, kind, problems.is_empty()) {
        (Some(name), Some(kind), true) => Ok(NewSource {
            name,
            kind,
            url: url.to_owned(),
        }),
        _ => Err(problems),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_of_the_web() {
        assert!(parse("images", "simplestreams", "https://images.linuxcontainers.org").is_ok());
        assert!(parse("local", "simplestreams", " http://127.0.0.1:9000/ ").is_ok());
        let problems = parse("Images", "tape", "file:///etc/passwd").unwrap_err();
        assert_eq!(problems.fields().collect::<Vec<_>>(), ["kind", "name", "url"]);
    }
}
