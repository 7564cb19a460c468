//! HTTP with the address rule: a name is resolved, its addresses are checked, and a checked address is what the
//! connection goes to, again at every redirect (trust rule D38).

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use model::error::ErrorCode;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::header::{ACCEPT_ENCODING, ETAG, HeaderMap, HeaderValue, IF_NONE_MATCH, LOCATION};
use reqwest::{Client, Response, StatusCode, Url};

use crate::error::{Error, Result};

const MAX_REDIRECTS: usize = 5;
const CONNECT: Duration = Duration::from_secs(10);
/// A connection that says nothing for so long is broken.
const SILENCE: Duration = Duration::from_secs(30);
/// An index that needs longer than this is not worth waiting for.
const WHOLE_INDEX: Duration = Duration::from_secs(180);

/// Hosts and ports that may have any address, because an administrator named them.
#[derive(Clone, Debug, Default)]
pub(super) struct Named(Vec<(String, u16)>);

impl Named {
    /// The hosts and ports of these addresses.
    pub(super) fn of<'a>(urls: impl IntoIterator<Item = &'a str>) -> Self {
        Self(urls.into_iter().filter_map(|url| endpoint(&Url::parse(url).ok()?)).collect())
    }

    fn includes(&self, url: &Url) -> bool {
        endpoint(url).is_some_and(|wanted| self.0.contains(&wanted))
    }
}

fn endpoint(url: &Url) -> Option<(String, u16)> {
    Some((url.host_str()?.to_ascii_lowercase(), url.port_or_known_default()?))
}

/// Two clients: one that goes anywhere, for named hosts, and one that goes to public addresses only.
#[derive(Debug)]
pub(super) struct Web {
    anywhere: Client,
    public: Client,
}

impl Web {
    /// # Errors
    /// TLS cannot be set up, for example because the host has no certificates at all.
    pub(super) fn new() -> Result<Self> {
        // An error says that the process has one already, which is as good.
        drop(rustls::crypto::ring::default_provider().install_default());
        let builder = || {
            let mut headers = HeaderMap::new();
            // A proxy that re-encodes would break hash, length and Range at once.
            headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
            Client::builder()
                .user_agent(concat!("Berth/", env!("CARGO_PKG_VERSION")))
                .default_headers(headers)
                .redirect(reqwest::redirect::Policy::none())
                .connect_timeout(CONNECT)
                .read_timeout(SILENCE)
                .no_proxy()
        };
        let failed = |error: reqwest::Error| {
            Error::failed(format!("the HTTP client cannot be set up ({})", chain(&error).join(": "))).hint("install the package ca-certificates")
        };
        Ok(Self {
            anywhere: builder().build().map_err(failed)?,
            public: builder().dns_resolver(Arc::new(PublicOnly)).build().map_err(failed)?,
        })
    }

    /// GET with redirects, each hop judged anew.
    ///
    /// # Errors
    /// A refused address, too many redirects, or no answer. Statuses are the caller's to judge.
    pub(super) async fn get(&self, url: &Url, named: &Named, headers: HeaderMap) -> Result<Response> {
        let mut url = url.clone();
        for _ in 0..=MAX_REDIRECTS {
            let client = if named.includes(&url) {
                &self.anywhere
            } else {
                judged(&url).map(|()| &self.public)?
            };
            let answer = client
                .get(url.clone())
                .headers(headers.clone())
                .send()
                .await
                .map_err(|error| no_answer(&url, error))?;
            let Some(next) = redirect(&url, &answer)? else { return Ok(answer) };
            url = next;
        }
        Err(upstream(format!(
            "{} was reached after {MAX_REDIRECTS} redirects and redirects again",
            shown(&url)
        )))
    }

    /// A whole small file; `None` when the server says that it is not there.
    ///
    /// # Errors
    /// As [`Web::get`], any other status, or more than `cap` bytes.
    pub(super) async fn read(&self, url: &Url, named: &Named, cap: usize) -> Result<Option<Vec<u8>>> {
        let whole = tokio::time::timeout(WHOLE_INDEX, self.read_patiently(url, named, cap)).await;
        whole.unwrap_or_else(|_| Err(late(url)))
    }

    async fn read_patiently(&self, url: &Url, named: &Named, cap: usize) -> Result<Option<Vec<u8>>> {
        Ok(self.read_with_tag(url, named, cap).await?.map(|(bytes, _)| bytes))
    }

    /// As [`Web::read`], with the tag of what was read.
    pub(super) async fn read_tagged(&self, url: &Url, named: &Named, cap: usize) -> Result<Option<(Vec<u8>, Option<String>)>> {
        let whole = tokio::time::timeout(WHOLE_INDEX, self.read_with_tag(url, named, cap)).await;
        whole.unwrap_or_else(|_| Err(late(url)))
    }

    /// Whether the server has the very file of this tag.
    ///
    /// # Errors
    /// As [`Web::get`].
    pub(super) async fn still_has(&self, url: &Url, named: &Named, tag: &str) -> Result<bool> {
        let Ok(value) = HeaderValue::from_str(tag) else { return Ok(false) };
        let headers = HeaderMap::from_iter([(IF_NONE_MATCH, value)]);
        // Of another answer only the head is taken.
        Ok(self.get(url, named, headers).await?.status() == StatusCode::NOT_MODIFIED)
    }

    async fn read_with_tag(&self, url: &Url, named: &Named, cap: usize) -> Result<Option<(Vec<u8>, Option<String>)>> {
        let mut answer = self.get(url, named, HeaderMap::new()).await?;
        let tag = answer.headers().get(ETAG).and_then(|tag| tag.to_str().ok()).map(str::to_owned);
        match answer.status() {
            StatusCode::OK => {}
            StatusCode::NOT_FOUND | StatusCode::GONE => return Ok(None),
            status => return Err(upstream(format!("{} answers {status}", shown(url)))),
        }
        let mut bytes = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(|error| no_answer(url, error))? {
            if bytes.len() + chunk.len() > cap {
                return Err(upstream(format!("{} is larger than {} MiB", shown(url), cap >> 20)));
            }
            bytes.extend_from_slice(&chunk);
        }
        Ok(Some((bytes, tag)))
    }

    /// Addresses of a mirror that the build helper may talk to.
    ///
    /// # Errors
    /// The name cannot be resolved, or leads to addresses that are refused.
    pub(super) async fn addresses(url: &Url, named: &Named) -> Result<Vec<(IpAddr, u16)>> {
        let (host, port) = endpoint(url).ok_or_else(|| upstream(format!("`{}` names no host", shown(url))))?;
        let bare = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let found = tokio::net::lookup_host((bare, port))
            .await
            .map_err(|error| upstream(format!("the name {host} cannot be resolved ({error})")))?;
        let all: Vec<(IpAddr, u16)> = found.map(|address| (address.ip(), address.port())).collect();
        if !named.includes(url) && all.iter().any(|(ip, _)| !is_public(*ip)) {
            return Err(refused(&host));
        }
        Ok(all)
    }
}

fn late(url: &Url) -> Error {
    upstream(format!("{} was not complete after {} seconds", shown(url), WHOLE_INDEX.as_secs()))
}

/// Checks what can be checked without resolving: scheme and literal addresses.
fn judged(url: &Url) -> Result<()> {
    if !matches!(url.scheme(), "http" | "https") {
        return Err(Error::invalid("url", format!("`{}` is neither http nor https", url.scheme())));
    }
    let host = url.host_str().unwrap_or_default();
    match host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>() {
        Ok(ip) if !is_public(ip) => Err(refused(host)),
        _ => Ok(()),
    }
}

fn redirect(from: &Url, answer: &Response) -> Result<Option<Url>> {
    if !answer.status().is_redirection() || answer.status() == StatusCode::NOT_MODIFIED {
        return Ok(None);
    }
    let target = answer.headers().get(LOCATION).and_then(|value| value.to_str().ok());
    let target = target
        .and_then(|target| from.join(target).ok())
        .ok_or_else(|| upstream(format!("{} redirects to nowhere", shown(from))))?;
    if from.scheme() == "https" && target.scheme() != "https" {
        return Err(upstream(format!("{} redirects to {}, which is not encrypted", shown(from), shown(&target))));
    }
    Ok(Some(target))
}

#[derive(Debug)]
struct PublicOnly;

impl Resolve for PublicOnly {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            let found: Vec<SocketAddr> = tokio::net::lookup_host((name.as_str(), 0)).await?.collect();
            match found.iter().find(|address| !is_public(address.ip())) {
                // One private address among public ones is how a name is made to lead inside.
                Some(_) => Err(refused(name.as_str()).to_string().into()),
                None => Ok(Box::new(found.into_iter()) as Addrs),
            }
        })
    }
}

/// Whether an address belongs to the internet at large.
pub(super) fn is_public(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => is_public_v4(ip),
        IpAddr::V6(ip) => {
            let parts = ip.segments();
            if let Some(inner) = ip.to_ipv4_mapped() {
                return is_public_v4(inner);
            }
            let [high, low] = match parts {
                // NAT64, 6to4: an IPv4 address in disguise.
                [0x64, 0xff9b, .., high, low] => [high, low],
                [0x2002, high, low, ..] => [high, low],
                // Only 2000::/3 is given out; of it 2001:db8::/32 is for documentation and 2001::/32 a tunnel.
                _ => return parts[0] & 0xe000 == 0x2000 && !(parts[0] == 0x2001 && matches!(parts[1], 0 | 0xdb8)),
            };
            is_public_v4(Ipv4Addr::from((u32::from(high) << 16) | u32::from(low)))
        }
    }
}

fn is_public_v4(ip: Ipv4Addr) -> bool {
    let [a, b, c, _] = ip.octets();
    let is_special = matches!((a, b, c), (0, ..) | (100, 64..=127, _) | (192, 0, 0) | (198, 18..=19, _) | (224.., ..));
    !(is_special || ip.is_loopback() || ip.is_private() || ip.is_link_local() || ip.is_documentation())
}

fn refused(host: &str) -> Error {
    Error::new(
        ErrorCode::NotAllowed,
        format!("{host} is an address of this host or its private network, which Berth does not fetch from"),
    )
    .hint("an administrator can add the server as a source")
}

/// Another server did not answer as it should.
pub(super) fn upstream(message: impl Into<String>) -> Error {
    Error::new(ErrorCode::Upstream, message)
}

/// An address as errors, tasks and logs tell it: everybody who may look reads them, and a query or a password may be what
/// opens the door.
pub(super) fn shown(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
    let query = if url.query().is_some() { "?\u{2026}" } else { "" };
    format!("{}://{host}{port}{}{query}", url.scheme(), url.path())
}

/// No answer, with the innermost cause: the outer ones say "error sending request" and "client error".
pub(super) fn no_answer(url: &Url, error: reqwest::Error) -> Error {
    let host = url.host_str().unwrap_or_default();
    let is_late = error.is_timeout();
    let causes = chain(&error.without_url());
    if causes.iter().any(|cause| cause.contains("which Berth does not fetch from")) {
        return refused(host);
    }
    let why = match causes.last() {
        // The resolver's own words differ from libc to libc and name no host.
        _ if causes.iter().any(|cause| cause == "dns error") => format!("the name {host} cannot be resolved"),
        _ if is_late => "no answer in time".to_owned(),
        Some(cause) => cause.split(" (os error").next().unwrap_or(cause).to_owned(),
        None => "no answer".to_owned(),
    };
    upstream(format!("{} cannot be read: {why}", shown(url))).hint("check the address and the host's connection to the internet, then try again")
}

/// The words of an error and of what caused it, the innermost last.
fn chain(error: &dyn std::error::Error) -> Vec<String> {
    std::iter::successors(Some(error), |error| error.source()).map(ToString::to_string).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_this_host_and_its_networks_are_not_public() {
        for bad in [
            "127.0.0.1",
            "10.0.0.1",
            "172.16.0.1",
            "192.168.1.1",
            "169.254.169.254",
            "100.64.0.1",
            "0.0.0.0",
            "224.0.0.1",
            "255.255.255.255",
            "198.18.0.1",
            "::",
            "::1",
            "::ffff:127.0.0.1",
            "fe80::1",
            "fd00::1",
            "ff02::1",
            "64:ff9b::7f00:1",
            "2002:7f00:1::",
            "2001:db8::1",
        ] {
            assert!(!is_public(bad.parse().unwrap()), "{bad}");
        }
        for good in ["1.1.1.1", "151.101.2.132", "2606:4700::1111", "2a04:4e42::644", "64:ff9b::101:101"] {
            assert!(is_public(good.parse().unwrap()), "{good}");
        }
    }

    #[tokio::test]
    async fn a_server_that_cannot_be_reached_is_told_by_its_innermost_cause() {
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        for (url, why) in [
            (format!("http://127.0.0.1:{free}/x"), "Connection refused"),
            ("http://nobody.invalid/x".to_owned(), "the name nobody.invalid cannot be resolved"),
        ] {
            let url = Url::parse(&url).unwrap();
            let error = Web::new().unwrap().get(&url, &Named::of([url.as_str()]), HeaderMap::new()).await.unwrap_err();
            assert_eq!(
                (error.code(), error.body.message),
                (ErrorCode::Upstream, format!("{url} cannot be read: {why}"))
            );
        }
    }

    #[test]
    fn an_address_is_told_without_what_may_be_a_secret() {
        for (url, told) in [
            ("https://example.org/x.tar.xz", "https://example.org/x.tar.xz"),
            ("http://[::1]:8090/a%20b", "http://[::1]:8090/a%20b"),
            ("https://bucket.example/x?X-Amz-Signature=secret", "https://bucket.example/x?\u{2026}"),
            ("https://anna:secret@example.org/x#secret", "https://example.org/x"),
        ] {
            assert_eq!(shown(&Url::parse(url).unwrap()), told);
        }
    }

    #[test]
    fn a_source_names_exactly_its_own_host_and_port() {
        let named = Named::of(["http://127.0.0.1:8090/images"]);
        assert!(named.includes(&Url::parse("http://127.0.0.1:8090/x").unwrap()));
        assert!(!named.includes(&Url::parse("http://127.0.0.1:8091/x").unwrap()));
        assert!(!named.includes(&Url::parse("http://localhost:8090/x").unwrap()));
        // However the number is written.
        assert!(judged(&Url::parse("http://2130706433/").unwrap()).is_err());
        assert!(judged(&Url::parse("http://[::ffff:127.0.0.1]/").unwrap()).is_err());
        assert!(judged(&Url::parse("file:///etc/passwd").unwrap()).is_err());
    }
}
