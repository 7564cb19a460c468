//! Set-up and sign-in: the token out of what was pasted, and where to go afterwards.

/// The one-time token out of a pasted link, a fragment or the token itself.
#[must_use]
pub fn token_of(text: &str) -> String {
    let text = text.trim();
    text.rsplit_once('#').map_or(text, |(_, token)| token).to_owned()
}

/// The page to go to after signing in: a path of our own, never another site.
#[must_use]
pub fn safe_next(asked: Option<&str>) -> String {
    let is_own = |path: &&str| path.starts_with('/') && !path.starts_with("//") && !path.contains(['\\', '\n', '\r', '\t']) && !path.starts_with("/sign-in");
    asked.filter(is_own).unwrap_or("/").to_owned()
}

/// The address of the sign-in that leads back to a page.
#[must_use]
pub fn sign_in_for(path: &str, query: &str) -> String {
    match (path, query) {
        ("/", "") => "/sign-in".to_owned(),
        (path, "") => format!("/sign-in?next={}", escape(path)),
        _ => format!("/sign-in?next={}", escape(&format!("{path}?{query}"))),
    }
}

/// Percent-encodes what would end a query value.
fn escape(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'/' => char::from(byte).to_string(),
            _ => format!("%{byte:02X}"),
        })
        .collect()
}

/// The seconds named in a hint such as `try again in 12 s`.
#[must_use]
pub fn seconds_in(hint: &str) -> Option<u32> {
    hint.split_whitespace().find_map(|word| word.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_found_in_what_people_paste() {
        for pasted in ["abc", " abc\n", "#abc", "http://127.0.0.1:8420/setup#abc"] {
            assert_eq!(token_of(pasted), "abc", "{pasted}");
        }
    }

    #[test]
    fn nobody_is_sent_to_another_site() {
        for evil in ["//evil", "https://evil", "/\\evil", "javascript:x", "", "/\t/evil", "/sign-in?next=/"] {
            assert_eq!(safe_next(Some(evil)), "/", "{evil}");
        }
        assert_eq!(safe_next(Some("/containers?q=a")), "/containers?q=a");
        assert_eq!(safe_next(None), "/");
    }

    #[test]
    fn the_asked_page_survives_as_a_query_value() {
        assert_eq!(sign_in_for("/containers", "q=a&b"), "/sign-in?next=/containers%3Fq%3Da%26b");
        assert_eq!(sign_in_for("/containers/web", ""), "/sign-in?next=/containers/web");
        assert_eq!(sign_in_for("/", ""), "/sign-in");
    }

    #[test]
    fn a_wait_is_read_out_of_its_hint() {
        assert_eq!(seconds_in("try again in 12 s"), Some(12));
        assert_eq!(seconds_in("later"), None);
    }
}
