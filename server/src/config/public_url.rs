//! The address that people use: scheme, host and port, nothing behind it.

use std::fmt;
use std::str::FromStr;

/// `https://berth.example.org` or `http://10.0.0.2:8420`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicUrl {
    pub is_https: bool,
    /// Host, with the port where it is not the scheme's own; lower case, as browsers send it.
    pub host: String,
}

impl PublicUrl {
    /// The host alone: without a port, an IPv6 address without its brackets.
    #[must_use]
    pub fn name(&self) -> &str {
        let bare = match self.host.strip_prefix('[') {
            Some(rest) => rest.split_once(']').map(|(address, _)| address),
            None => self.host.split_once(':').map(|(name, _)| name),
        };
        bare.unwrap_or(&self.host)
    }
}

impl FromStr for PublicUrl {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let refuse = || format!("`{text}` is not an address such as https://berth.example.org");
        let (is_https, rest) = match text.split_once("://") {
            Some(("https", rest)) => (true, rest),
            Some(("http", rest)) => (false, rest),
            _ => return Err(refuse()),
        };
        let host = rest.strip_suffix('/').unwrap_or(rest).to_ascii_lowercase();
        let own_port = if is_https { ":443" } else { ":80" };
        let host = host.strip_suffix(own_port).unwrap_or(&host).to_owned();
        let is_plain = host.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | ':' | '[' | ']'));
        let is_authority = host.parse::<axum::http::uri::Authority>().is_ok();
        if is_plain && is_authority {
            Ok(Self { is_https, host })
        } else {
            Err(refuse())
        }
    }
}

impl fmt::Display for PublicUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", if self.is_https { "https" } else { "http" }, self.host)
    }
}

#[cfg(test)]
mod tests {
    use super::PublicUrl;

    #[test]
    fn the_name_has_no_port_and_no_brackets() {
        for (url, name) in [
            ("https://[2001:db8::1]", "2001:db8::1"),
            ("https://[2001:db8::1]:8443", "2001:db8::1"),
            ("https://berth.example.org:8443", "berth.example.org"),
            ("http://10.0.0.2", "10.0.0.2"),
        ] {
            assert_eq!(url.parse::<PublicUrl>().unwrap().name(), name);
        }
    }

    #[test]
    fn only_scheme_host_and_port() {
        let url: PublicUrl = "https://Berth.example.org:443/".parse().unwrap();
        assert_eq!(url.to_string(), "https://berth.example.org");
        for bad in ["berth.example.org", "ftp://x", "https://", "https://x/y", "https://u@x", "https://x?y"] {
            assert!(bad.parse::<PublicUrl>().is_err(), "{bad}");
        }
    }
}
