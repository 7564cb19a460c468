//! What a builder's ids may send, and to whom: by user id, so that no namespace or address of its own is needed.

use std::io::Write as _;
use std::net::IpAddr;
use std::process::{Command, Stdio};

use model::engine::BuildRequest;

use super::ids::Ids;
use crate::error::{At, Error, Result};

/// Rules that hold while this lives.
#[derive(Debug)]
pub struct Closed<'a> {
    ids: &'a Ids,
}

impl<'a> Closed<'a> {
    /// Lets these ids reach the mirror and the name servers, and nobody else. What a crash left is replaced.
    ///
    /// # Errors
    /// nft is missing or refuses.
    pub fn for_ids(ids: &'a Ids, request: &BuildRequest) -> Result<Self> {
        let resolver = std::fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
        let servers: Vec<IpAddr> = resolver
            .lines()
            .filter_map(|line| line.strip_prefix("nameserver")?.trim().parse().ok())
            .collect();
        nft(&rules(ids, request, &servers))?;
        Ok(Self { ids })
    }
}

impl Drop for Closed<'_> {
    fn drop(&mut self) {
        remove(std::slice::from_ref(self.ids));
    }
}

/// Removes the rules for these ids, where there are any.
pub fn remove(ids: &[Ids]) {
    if ids.is_empty() {
        return;
    }
    let text: String = ids.iter().map(|ids| replaced(&ids.table())).collect();
    if let Err(error) = nft(&text) {
        tracing::warn!(%error, "the network rules of a build stay until the next one");
    }
}

/// Deletes a table that may not exist.
fn replaced(table: &str) -> String {
    format!("add table inet {table}\ndelete table inet {table}\n")
}

fn rules(ids: &Ids, request: &BuildRequest, servers: &[IpAddr]) -> String {
    let family = |ip: &IpAddr| if ip.is_ipv4() { "ip" } else { "ip6" };
    let mirror = request
        .allow
        .iter()
        .map(|(ip, port)| format!("{} daddr {ip} tcp dport {port} return\n", family(ip)));
    let names = servers
        .iter()
        .map(|ip| format!("{} daddr {ip} meta l4proto {{ 6, 17 }} th dport 53 return\n", family(ip)));
    let allowed: String = mirror.chain(names).collect();
    let (table, first, last) = (ids.table(), ids.first(), ids.last());
    replaced(&table)
        + &format!(
            "table inet {table} {{\nchain output {{\ntype filter hook output priority filter; policy accept;\nmeta skuid {first}-{last} jump builder\n}}\nchain builder {{\n{allowed}reject\n}}\n}}\n"
        )
}

fn nft(text: &str) -> Result<()> {
    let step = "limit the builder's network";
    let mut child = Command::new("/usr/sbin/nft")
        .args(["-f", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .at(step, "execve(\"nft\")")?;
    child
        .stdin
        .take()
        .ok_or_else(|| Error::failed(step, "nft has no input"))?
        .write_all(text.as_bytes())
        .at(step, "write(nft)")?;
    let output = child.wait_with_output().at(step, "waitpid(nft)")?;
    if output.status.success() {
        Ok(())
    } else {
        Err(Error::failed(step, String::from_utf8_lossy(&output.stderr).trim().to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_builder_reaches_the_mirror_and_name_servers_only() {
        let request = BuildRequest {
            suite: "trixie".into(),
            arch: "amd64".into(),
            mirror: "http://deb.example/debian".into(),
            allow: vec![("192.0.2.7".parse().unwrap(), 80)],
            include: Vec::new(),
            distribution: "debian".into(),
        };
        let ids = Ids::for_test(1);
        let text = rules(&ids, &request, &["2001:db8::53".parse().unwrap()]);
        assert!(text.contains("ip daddr 192.0.2.7 tcp dport 80 return\n"));
        assert!(text.contains("ip6 daddr 2001:db8::53 meta l4proto { 6, 17 } th dport 53 return\nreject\n"));
        assert!(text.contains("meta skuid 1879179264-1879244799 jump builder"));
    }
}
