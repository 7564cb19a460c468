//! Templates built from a distribution's packages by the engine's confined helper.

use model::engine::BuildRequest;
use model::template::LocalTemplate;
use sha2::{Digest as _, Sha256};
use tokio::io::AsyncReadExt as _;

use super::Templates;
use super::download::Pinned;
use super::fetch::Fetched;
use super::gauge::Gauge;
use super::offer::host_arch;
use super::part::{absent, digest_of, disk};
use super::simplestreams::natural;
use super::source::base_url;
use super::unpack::{check_room, line_pipe, while_listening};
use super::web::{Named, Web};
use crate::engine;
use crate::error::Result;

/// What a build takes at its height: the tree, the packages, the archive, and the layer.
const BUILD_BYTES: u64 = 1536 << 20;

/// What a system container needs to boot, get an address and show its processes.
const INCLUDE: [&str; 5] = ["systemd-sysv", "dbus", "iproute2", "procps", "iputils-ping"];

/// What is built.
#[derive(Clone, Copy, Debug)]
pub(super) struct Suite<'a> {
    pub(super) suite: &'a str,
    pub(super) distribution: &'a str,
    /// None while it is not released.
    pub(super) version: Option<&'a str>,
}

/// The packages of a suite. Its resolver became a package of its own; before, it came with systemd.
fn packages(suite: Suite<'_>) -> Vec<String> {
    let first_with_package = if suite.distribution == "ubuntu" { vec![22, 10] } else { vec![12] };
    let has_package = suite.version.is_none_or(|version| natural(version) >= first_with_package);
    let resolver = has_package.then_some("systemd-resolved");
    INCLUDE.into_iter().chain(resolver).map(str::to_owned).collect()
}

impl Templates {
    /// Builds a suite, and takes what comes out as any other archive.
    ///
    /// # Errors
    /// The mirror's name leads nowhere it may, the build fails (its log says why), or somebody cancelled.
    pub(super) async fn build(&self, gauge: &Gauge<'_>, pinned: &Pinned, wanted: Suite<'_>) -> Result<LocalTemplate> {
        check_room(&self.folder, BUILD_BYTES)?;
        gauge.phase("build", None, Vec::new());
        let base = base_url(&pinned.source.url)?;
        let named = Named::of([pinned.source.url.as_str()]);
        let request = BuildRequest {
            suite: wanted.suite.to_owned(),
            arch: host_arch().to_owned(),
            mirror: pinned.source.url.clone(),
            allow: Web::addresses(&base, &named).await?,
            include: packages(wanted),
            distribution: wanted.distribution.to_owned(),
        };
        let path = self.folder.join(format!("build-{}.tar", uuid::Uuid::new_v4().simple()));
        let outcome = self.build_into(gauge, pinned, request, &path).await;
        absent(&path).await?;
        outcome
    }

    async fn build_into(&self, gauge: &Gauge<'_>, pinned: &Pinned, request: BuildRequest, path: &std::path::Path) -> Result<LocalTemplate> {
        let output = std::fs::File::create_new(path).map_err(|error| disk(path, &error))?;
        let (lines, log) = line_pipe()?;
        let work = engine::call(&self.engine, move |engine| engine.build(&request, output.into(), log));
        while_listening(gauge, work, lines, |line| gauge.context().log(&line)).await?;
        let (mut file, mut hasher, mut size) = (tokio::fs::File::open(path).await.map_err(|error| disk(path, &error))?, Sha256::new(), 0);
        let mut buffer = vec![0; 1 << 20];
        loop {
            let got = file.read(&mut buffer).await.map_err(|error| disk(path, &error))?;
            if got == 0 {
                break;
            }
            size += got as u64;
            hasher.update(buffer.get(..got).unwrap_or_default());
        }
        let sha256 = digest_of(hasher)?;
        let file = Fetched {
            path: path.to_owned(),
            size,
            sha256: sha256.clone(),
            combined: None,
        };
        let unpacked = self.layer(gauge, &file, &sha256, &pinned.reference.to_string()).await?;
        self.record(gauge.context(), pinned, &sha256, size, "release signature", unpacked).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_resolver_is_asked_for_where_it_is_a_package() {
        for (distribution, version, wanted) in [
            ("debian", Some("11"), false),
            ("debian", Some("12"), true),
            ("debian", Some("13"), true),
            ("debian", None, true),
            ("ubuntu", Some("22.04"), false),
            ("ubuntu", Some("22.10"), true),
            ("ubuntu", Some("24.04"), true),
        ] {
            let suite = Suite {
                suite: "x",
                distribution,
                version,
            };
            let packages = packages(suite);
            assert_eq!(
                packages.iter().any(|package| package == "systemd-resolved"),
                wanted,
                "{distribution} {version:?}"
            );
        }
    }
}
