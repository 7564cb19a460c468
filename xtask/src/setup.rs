//! Installs what is missing, each step with its reason; a second run finds everything there and does nothing.

use std::path::Path;
use std::process::Command;

use anyhow::{anyhow, bail};

use crate::shell::{announce, command, is_root, run, succeeds, which};

/// For what the machine is set up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scope {
    Build,
    Run,
    Tests,
}

/// A Debian package with the program that proves it is there.
struct Package {
    name: &'static str,
    /// A program in PATH or an absolute file.
    proof: &'static str,
    scope: Scope,
    reason: &'static str,
}

const PACKAGES: &[Package] = &[
    Package {
        name: "gcc",
        proof: "cc",
        scope: Scope::Build,
        reason: "compiles SQLite and the compressors",
    },
    Package {
        name: "npm",
        proof: "npm",
        scope: Scope::Build,
        reason: "fetches the two terminal libraries, and what makes scripts small, by their lock file",
    },
    Package {
        name: "nftables",
        proof: "nft",
        scope: Scope::Run,
        reason: "address translation and spoof filters of containers",
    },
    Package {
        name: "dnsmasq-base",
        proof: "dnsmasq",
        scope: Scope::Run,
        reason: "addresses and names of containers",
    },
    Package {
        name: "lxcfs",
        proof: "lxcfs",
        scope: Scope::Run,
        reason: "containers see their own memory, CPUs and load",
    },
    Package {
        name: "mmdebstrap",
        proof: "mmdebstrap",
        scope: Scope::Run,
        reason: "builds templates from Debian and Ubuntu mirrors",
    },
    Package {
        name: "gpgv",
        proof: "gpgv",
        scope: Scope::Run,
        reason: "checks that a mirror is signed by its distribution",
    },
    Package {
        name: "debian-archive-keyring",
        proof: "/usr/share/keyrings/debian-archive-keyring.gpg",
        scope: Scope::Run,
        reason: "the keys that Debian's mirrors are signed with",
    },
    Package {
        name: "iproute2",
        proof: "ip",
        scope: Scope::Tests,
        reason: "tests look at links and namespaces",
    },
    Package {
        name: "iptables",
        proof: "iptables",
        scope: Scope::Tests,
        reason: "tests make a host on which Docker filters traffic",
    },
    Package {
        name: "chromium",
        proof: "chromium",
        scope: Scope::Tests,
        reason: "the browser tests drive a real browser",
    },
    Package {
        name: "busybox-static",
        proof: "busybox",
        scope: Scope::Tests,
        reason: "the smallest real root file system",
    },
    Package {
        name: "squashfs-tools",
        proof: "mksquashfs",
        scope: Scope::Tests,
        reason: "tests make squashfs templates",
    },
    Package {
        name: "strace",
        proof: "strace",
        scope: Scope::Tests,
        reason: "tests inject faults into system calls",
    },
    Package {
        name: "cpio",
        proof: "cpio",
        scope: Scope::Tests,
        reason: "packs the virtual machine's initramfs",
    },
    Package {
        name: "qemu-system-x86",
        proof: "qemu-system-x86_64",
        scope: Scope::Tests,
        reason: "the virtual machine with pure cgroup v2",
    },
    Package {
        name: "e2fsprogs",
        proof: "mkfs.ext4",
        scope: Scope::Tests,
        reason: "the virtual machine's disk",
    },
    Package {
        name: "zstd",
        proof: "zstd",
        scope: Scope::Tests,
        reason: "tests make zstd archives",
    },
    Package {
        name: "xz-utils",
        proof: "xz",
        scope: Scope::Tests,
        reason: "tests make xz archives",
    },
    Package {
        name: "bzip2",
        proof: "bzip2",
        scope: Scope::Tests,
        reason: "tests make bzip2 archives",
    },
];

pub const DEBIAN_RUSTC: &str = "/usr/bin/rustc";

/// Who compiles the browser half.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compiler {
    /// rustup's toolchain with its wasm32 target.
    Rustup,
    /// Debian's rustc with its library source, where rustup's servers do not answer.
    Debian,
}

/// Installs what is missing for the scope.
///
/// # Errors
/// Something is missing and cannot be installed; the message says what and why it is needed.
pub fn set_up(scope: Scope) -> anyhow::Result<()> {
    install_packages(scope)?;
    install_wasm()?;
    npm_packages(Path::new("app"), "terminal libraries of the browser, and what makes scripts small")?;
    if scope >= Scope::Tests {
        npm_packages(Path::new("end2end"), "driver and accessibility rules of the browser tests")?;
    }
    Ok(())
}

fn install_packages(scope: Scope) -> anyhow::Result<()> {
    let missing: Vec<&Package> = PACKAGES.iter().filter(|package| package.scope <= scope && !is_there(package.proof)).collect();
    for package in &missing {
        announce(&format!("install {}: {}", package.name, package.reason));
    }
    apt_install(&missing.iter().map(|package| package.name).collect::<Vec<_>>())
}

fn is_there(proof: &str) -> bool {
    if proof.starts_with('/') {
        Path::new(proof).exists()
    } else {
        which(proof).is_some()
    }
}

fn apt_install(packages: &[&str]) -> anyhow::Result<()> {
    if packages.is_empty() {
        return Ok(());
    }
    let list = packages.join(" ");
    if which("apt-get").is_none() {
        bail!("install these with this system's package manager, then run this again: {list}");
    }
    if !is_root() {
        bail!("installing packages needs root; run `sudo apt-get install {list}`, then run this again");
    }
    run(&mut command("apt-get", ["update", "--quiet", "--quiet"]))?;
    // Without a terminal of its own dpkg counts no percents.
    let install = ["install", "--yes", "--quiet", "--quiet", "--no-install-recommends", "-o", "Dpkg::Use-Pty=0"];
    run(command("apt-get", install).args(packages).env("DEBIAN_FRONTEND", "noninteractive"))
}

/// The compiler that can make the browser half here, if there is one yet.
pub fn wasm_compiler() -> Option<Compiler> {
    let installed = Command::new("rustup").args(["target", "list", "--installed"]).output();
    let has_target = installed.is_ok_and(|output| String::from_utf8_lossy(&output.stdout).lines().any(|line| line == "wasm32-unknown-unknown"));
    if has_target {
        return Some(Compiler::Rustup);
    }
    is_debian_complete().then_some(Compiler::Debian)
}

/// The compiler that can also make the standard library for the browser, out of its source.
fn library_compiler() -> Option<Compiler> {
    if wasm_compiler() == Some(Compiler::Rustup) && has_library_source("rustc") {
        return Some(Compiler::Rustup);
    }
    is_debian_complete().then_some(Compiler::Debian)
}

fn is_debian_complete() -> bool {
    Path::new(DEBIAN_RUSTC).exists() && which("wasm-ld").is_some() && has_library_source(DEBIAN_RUSTC)
}

fn has_library_source(rustc: &str) -> bool {
    let sysroot = Command::new(rustc).args(["--print", "sysroot"]).output();
    sysroot.is_ok_and(|output| {
        let sysroot = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        Path::new(&sysroot).join("lib/rustlib/src/rust/library/std/Cargo.toml").exists()
    })
}

fn install_wasm() -> anyhow::Result<()> {
    if wasm_compiler().is_some() {
        return Ok(());
    }
    announce("add the wasm32 target by rustup: the browser half is WebAssembly (30 s at most)");
    // Where rustup's servers are out of reach the call hangs instead of failing.
    if succeeds(&mut command("timeout", ["30", "rustup", "target", "add", "wasm32-unknown-unknown"])) {
        return Ok(());
    }
    install_debian_compiler()?;
    if wasm_compiler().is_none() {
        bail!("no compiler for wasm32 was found after the installation; `rustup target add wasm32-unknown-unknown` gives one where rustup's servers answer");
    }
    Ok(())
}

/// Installs the source of the standard library, which a release build makes small for the browser.
///
/// # Errors
/// It is missing and cannot be installed.
pub fn install_library_source() -> anyhow::Result<Compiler> {
    if let Some(compiler) = library_compiler() {
        return Ok(compiler);
    }
    announce("add the source of Rust's standard library by rustup: a release makes a smaller one of its own for the browser (30 s at most)");
    if !succeeds(&mut command("timeout", ["30", "rustup", "component", "add", "rust-src"])) {
        install_debian_compiler()?;
    }
    library_compiler().ok_or_else(|| {
        anyhow!(
            "the source of Rust's standard library was not found after the installation; `rustup component add rust-src` gives it where rustup's servers answer"
        )
    })
}

fn install_debian_compiler() -> anyhow::Result<()> {
    announce("rustup's servers do not answer; install Debian's compiler with its library source instead: rustc-web rust-web-src lld");
    apt_install(&["rustc-web", "rust-web-src", "lld"])
}

fn npm_packages(folder: &Path, what: &str) -> anyhow::Result<()> {
    let lock = folder.join("package-lock.json");
    let stamp = folder.join("node_modules/.berth-lock");
    if std::fs::read(&lock)? == std::fs::read(&stamp).unwrap_or_default() {
        return Ok(());
    }
    announce(&format!("npm ci in {}: {what}", folder.display()));
    run(command("npm", ["ci", "--no-audit", "--no-fund", "--ignore-scripts"]).current_dir(folder))?;
    std::fs::copy(&lock, &stamp)?;
    Ok(())
}
