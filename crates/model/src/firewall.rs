//! Rules of a container's firewall, and how people write them: `deny in tcp 22 from 203.0.113.0/24`.

use std::net::IpAddr;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::network::{Cidr, number};

/// Whether a packet passes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Allow,
    Deny,
}

/// Whether a rule is about what is sent to the container, or what it sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    In,
    Out,
}

/// What a rule may be limited to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    Tcp,
    Udp,
    /// Echo requests of both families; the other messages keep the network working and always pass.
    Icmp,
}

/// One rule: `allow|deny in|out [tcp|udp|icmp] [PORT[-LAST]] [from|to CIDR]`. The first that fits decides; what fits none
/// passes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Rule {
    pub verdict: Verdict,
    pub direction: Direction,
    /// Absent = whatever it is.
    pub transport: Option<Transport>,
    /// First and last port of whoever is asked; with TCP or UDP only.
    pub ports: Option<(u16, u16)>,
    /// The other side; absent = anybody, in both families.
    pub peer: Option<Cidr>,
}

const FORM: &str = "write allow|deny in|out [tcp|udp|icmp] [PORT[-LAST]] [from|to CIDR], such as `deny in tcp 22 from 203.0.113.0/24`";

impl FromStr for Rule {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = |what: String| format!("`{text}` is not a rule: {what}; {FORM}");
        let mut words = text.split_ascii_whitespace().peekable();
        let verdict = match words.next() {
            Some("allow") => Verdict::Allow,
            Some("deny") => Verdict::Deny,
            _ => return Err(wrong("it begins with allow or deny".into())),
        };
        let direction = match words.next() {
            Some("in") => Direction::In,
            Some("out") => Direction::Out,
            _ => return Err(wrong("in or out comes second".into())),
        };
        let transport = match words.peek() {
            Some(&"tcp") => Some(Transport::Tcp),
            Some(&"udp") => Some(Transport::Udp),
            Some(&"icmp") => Some(Transport::Icmp),
            _ => None,
        };
        if transport.is_some() {
            words.next();
        }
        let mut rule = Self {
            verdict,
            direction,
            transport,
            ports: None,
            peer: None,
        };
        if let Some(word) = words.next_if(|word| word.starts_with(|first: char| first.is_ascii_digit())) {
            rule.ports = Some(port_range(word).map_err(wrong)?);
        }
        if rule.ports.is_some() && !matches!(transport, Some(Transport::Tcp | Transport::Udp)) {
            return Err(wrong("a port needs tcp or udp before it".into()));
        }
        if let Some(word) = words.next() {
            if word != rule.preposition() {
                return Err(wrong(format!("`{word}` is not `{}`", rule.preposition())));
            }
            rule.peer = Some(words.next().and_then(peer).ok_or_else(|| wrong("an address or network is missing".into()))?);
        }
        match words.next() {
            None => Ok(rule),
            Some(word) => Err(wrong(format!("`{word}` is one word too many"))),
        }
    }
}

impl Rule {
    fn preposition(&self) -> &'static str {
        match self.direction {
            Direction::In => "from",
            Direction::Out => "to",
        }
    }
}

/// `PORT` or `FIRST-LAST`.
///
/// # Errors
/// Says what is wrong.
pub fn port_range(text: &str) -> Result<(u16, u16), String> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last) = (number(first, 1, 65_535)?, number(last, 1, 65_535)?);
    if last < first {
        return Err(format!("`{text}` ends before it begins; write the lower port first"));
    }
    Ok((first, last))
}

/// A network, or a lone address.
fn peer(text: &str) -> Option<Cidr> {
    let alone = |addr: IpAddr| Cidr {
        addr,
        prefix: if addr.is_ipv4() { 32 } else { 128 },
    };
    let cidr = text.parse().or_else(|_| text.parse().map(alone)).ok()?;
    Some(cidr.network())
}

impl std::fmt::Display for Rule {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let verdict = match self.verdict {
            Verdict::Allow => "allow",
            Verdict::Deny => "deny",
        };
        let direction = match self.direction {
            Direction::In => "in",
            Direction::Out => "out",
        };
        write!(f, "{verdict} {direction}")?;
        match self.transport {
            None => {}
            Some(Transport::Tcp) => f.write_str(" tcp")?,
            Some(Transport::Udp) => f.write_str(" udp")?,
            Some(Transport::Icmp) => f.write_str(" icmp")?,
        }
        match self.ports {
            None => {}
            Some((first, last)) if first == last => write!(f, " {first}")?,
            Some((first, last)) => write!(f, " {first}-{last}")?,
        }
        self.peer.map_or(Ok(()), |peer| write!(f, " {} {peer}", self.preposition()))
    }
}

impl TryFrom<String> for Rule {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Rule> for String {
    fn from(value: Rule) -> String {
        value.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_read_as_they_are_written() {
        for text in [
            "deny in",
            "allow out udp",
            "allow in tcp 443",
            "allow in tcp 8000-8010 from 10.0.0.0/8",
            "deny out icmp to fd00::/8",
            "allow in from 203.0.113.7/32",
        ] {
            assert_eq!(text.parse::<Rule>().unwrap().to_string(), text);
        }
        let shown = |text: &str| text.parse::<Rule>().unwrap().to_string();
        assert_eq!(shown(" deny  in tcp 22-22 from 203.0.113.7"), "deny in tcp 22 from 203.0.113.7/32");
        assert_eq!(shown("deny in from 10.1.2.3/8"), "deny in from 10.0.0.0/8");
    }

    #[test]
    fn what_is_wrong_in_a_rule_is_named() {
        for (text, named) in [
            ("", "begins with allow or deny"),
            ("drop in", "begins with allow or deny"),
            ("deny tcp 22", "in or out comes second"),
            ("deny in 22", "a port needs tcp or udp"),
            ("deny in icmp 8", "a port needs tcp or udp"),
            ("deny in tcp 0", "from 1 to 65535"),
            ("deny in tcp 90-80", "ends before it begins"),
            ("deny in tcp 22 to 10.0.0.0/8", "`to` is not `from`"),
            ("deny out from", "`from` is not `to`"),
            ("deny in from", "is missing"),
            ("deny in from me", "is missing"),
            ("deny in sctp", "`sctp` is not `from`"),
            ("deny in from 10.0.0.1 drop", "`drop` is one word too many"),
            ("deny in tcp 22; accept", "from 1 to 65535"),
        ] {
            let error = text.parse::<Rule>().unwrap_err();
            assert!(error.contains(named), "{text}: {error}");
        }
    }
}
