//! A simplestreams tree with real Debian root file systems, made once per machine from Debian's packages: what the
//! browser tests and the benchmark serve on loopback, because no image server is reachable from every test machine.
//! Beside it, in no index, guests that only the rootful tests boot.

use std::path::{Path, PathBuf};

use anyhow::Context;
use serde_json::json;
use sha2::{Digest, Sha256};

use crate::shell::{announce, command, run};

const CACHE: &str = "/var/cache/berth-test";
const RECIPE: &str = "images-1";
/// What a system container of Debian needs to boot, get an address and show its processes.
const INCLUDE: &str = "systemd-sysv,dbus,iproute2,procps,iputils-ping";
/// Debian with OpenRC in place of systemd; which program is init the test decides.
const OPENRC: &str = "guests-1/openrc.tar.xz";
const OPENRC_INCLUDE: &str = "openrc,initscripts,busybox-static,iproute2,procps";

struct Release {
    version: &'static str,
    codename: &'static str,
    /// Debian 12 comes as squashfs too, as image servers offer it.
    squashfs: bool,
}

const RELEASES: [Release; 2] = [
    Release {
        version: "12",
        codename: "bookworm",
        squashfs: true,
    },
    Release {
        version: "13",
        codename: "trixie",
        squashfs: false,
    },
];

/// Makes the tree if it is not there yet and gives its folder.
///
/// # Errors
/// Names the program that failed.
pub fn tree() -> anyhow::Result<PathBuf> {
    let folder = Path::new(CACHE).join(RECIPE);
    if !folder.join("streams/v1/index.json").exists() {
        index(&folder)?;
    }
    if !folder.join(OPENRC).exists() {
        openrc(&folder)?;
    }
    Ok(folder)
}

/// Debian 12 with OpenRC. `rc_sys` is what its image for containers says: without it the services of real disks would run.
fn openrc(tree: &Path) -> anyhow::Result<()> {
    announce("make a guest with OpenRC from Debian packages (once per machine, about 1 min)");
    let archive = tree.join(OPENRC);
    let folder = archive.parent().context("the archive has a folder")?;
    std::fs::create_dir_all(folder)?;
    let (root, fresh) = (folder.join("root"), archive.with_extension("new"));
    if root.exists() {
        std::fs::remove_dir_all(&root)?;
    }
    let include = format!("--include={OPENRC_INCLUDE}");
    let system = r#"--customize-hook=echo 'rc_sys="lxc"' >> "$1/etc/rc.conf" && : > "$1/etc/fstab""#;
    run(command(
        "mmdebstrap",
        ["--variant=minbase", "--format=directory", "--quiet", &include, system, "bookworm"],
    )
    .arg(&root))?;
    pack(&root, &fresh)?;
    std::fs::remove_dir_all(&root)?;
    Ok(std::fs::rename(&fresh, &archive)?)
}

fn pack(root: &Path, archive: &Path) -> anyhow::Result<()> {
    run(command(
        "tar",
        ["--create", "--numeric-owner", "--xattrs", "--use-compress-program", "xz -T0 -1", "--file"],
    )
    .arg(archive)
    .arg("--directory")
    .arg(root)
    .arg("."))
}

fn index(folder: &Path) -> anyhow::Result<()> {
    announce("make Debian 12 and 13 templates from Debian packages (once per machine, about 3 min)");
    let fresh = Path::new(CACHE).join(format!("{RECIPE}.new"));
    if fresh.exists() {
        std::fs::remove_dir_all(&fresh)?;
    }
    let products: serde_json::Map<String, serde_json::Value> = RELEASES.iter().map(|release| product(&fresh, release)).collect::<anyhow::Result<_>>()?;
    let streams = fresh.join("streams/v1");
    std::fs::create_dir_all(&streams)?;
    let names: Vec<&String> = products.keys().collect();
    let index = json!({"format": "index:1.0", "index": {"images": {"datatype": "image-downloads", "format": "products:1.0", "path": "streams/v1/images.json", "products": names}}});
    let images = json!({"content_id": "images", "datatype": "image-downloads", "format": "products:1.0", "products": products});
    std::fs::write(streams.join("images.json"), serde_json::to_vec(&images)?)?;
    std::fs::write(streams.join("index.json"), serde_json::to_vec(&index)?)?;
    Ok(std::fs::rename(&fresh, folder)?)
}

fn product(tree: &Path, release: &Release) -> anyhow::Result<(String, serde_json::Value)> {
    let serial = "20261101_05:24";
    let path = format!("images/debian/{}/amd64/default/{serial}", release.codename);
    let folder = tree.join(&path);
    std::fs::create_dir_all(&folder)?;
    // Not below the serial: apt takes a colon in its folder amiss.
    let root = tree.join("root");
    root_file_system(release, &root)?;
    let metadata = metadata(&folder, release, serial)?;
    let mut items = serde_json::Map::new();
    let mut meta = json!({"ftype": "incus.tar.xz", "path": format!("{path}/incus.tar.xz"), "size": metadata.len(), "sha256": hex(&Sha256::digest(&metadata))});
    let archive = folder.join("rootfs.tar.xz");
    pack(&root, &archive)?;
    items.insert(
        "root.tar.xz".into(),
        item(&mut meta, "combined_rootxz_sha256", "root.tar.xz", &metadata, &archive, &path)?,
    );
    if release.squashfs {
        let image = folder.join("rootfs.squashfs");
        run(command("mksquashfs", [&root, &image]).args(["-comp", "zstd", "-Xcompression-level", "3", "-noappend", "-quiet", "-no-progress"]))?;
        items.insert(
            "root.squashfs".into(),
            item(&mut meta, "combined_squashfs_sha256", "squashfs", &metadata, &image, &path)?,
        );
    }
    items.insert("incus.tar.xz".into(), meta);
    std::fs::remove_dir_all(&root)?;
    let aliases = format!("debian/{0}/default,debian/{0},debian/{1}/default,debian/{1}", release.version, release.codename);
    let product = json!({
        "arch": "amd64", "os": "Debian", "release": release.codename, "release_title": release.version, "variant": "default", "aliases": aliases,
        "requirements": {}, "versions": {serial: {"items": items}},
    });
    Ok((format!("debian:{}:amd64:default", release.codename), product))
}

fn root_file_system(release: &Release, root: &Path) -> anyhow::Result<()> {
    let include = format!("--include={INCLUDE}");
    // What image servers do too: networkd asks for an address on eth0, the machine id is made at first boot.
    let network = r#"--customize-hook=mkdir -p "$1/etc/systemd/network" && printf '[Match]\nName=eth0\n[Network]\nDHCP=yes\n[DHCPv4]\nUseDomains=true\n' > "$1/etc/systemd/network/eth0.network" && ln -sf /lib/systemd/system/systemd-networkd.service "$1/etc/systemd/system/multi-user.target.wants/systemd-networkd.service" && echo uninitialized > "$1/etc/machine-id" && echo 'debian' > "$1/etc/hostname""#;
    run(command(
        "mmdebstrap",
        ["--variant=minbase", "--format=directory", "--quiet", &include, network, release.codename],
    )
    .arg(root))
}

fn metadata(folder: &Path, release: &Release, serial: &str) -> anyhow::Result<Vec<u8>> {
    let text = format!(
        "architecture: x86_64\ncreation_date: 1793510640\nproperties:\n  os: Debian\n  release: {}\n  variant: default\n  serial: {serial}\n  description: Debian {} amd64\ntemplates: {{}}\n",
        release.codename, release.codename
    );
    std::fs::write(folder.join("metadata.yaml"), text)?;
    let archive = folder.join("incus.tar.xz");
    run(command("tar", ["--create", "--xz", "--file"])
        .arg(&archive)
        .arg("--directory")
        .arg(folder)
        .arg("metadata.yaml"))?;
    std::fs::remove_file(folder.join("metadata.yaml"))?;
    std::fs::read(&archive).context("the metadata archive was just made")
}

fn item(meta: &mut serde_json::Value, combined: &str, ftype: &str, metadata: &[u8], file: &Path, path: &str) -> anyhow::Result<serde_json::Value> {
    let content = std::fs::read(file)?;
    let mut both = Sha256::new();
    both.update(metadata);
    both.update(&content);
    meta[combined] = hex(&both.finalize()).into();
    let name = file.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    Ok(json!({"ftype": ftype, "path": format!("{path}/{name}"), "size": content.len(), "sha256": hex(&Sha256::digest(&content))}))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
