//! Installs what is missing, each step with its reason; a second run finds everything there and does nothing.

use std::path::Path;
use std::process::Command;

use anyhow::bail;

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
        reason: "fetches the two terminal libraries by their lock file",
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

/// How the browser half is compiled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WasmCompiler {
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
    npm_packages(Path::new("app"), "terminal libraries of the browser")?;
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
    let install = ["install", "--yes", "--quiet", "--quiet", "--no-install-recommends"];
    run(command("apt-get", install).args(packages).env("DEBIAN_FRONTEND", "noninteractive"))
}

/// The compiler that can make the browser half here, if there is one yet.
pub fn wasm_compiler() -> Option<WasmCompiler> {
    let installed = Command::new("rustup").args(["target", "list", "--installed"]).output();
    let has_target = installed.is_ok_and(|output| String::from_utf8_lossy(&output.stdout).lines().any(|line| line == "wasm32-unknown-unknown"));
    if has_target {
        return Some(WasmCompiler::Rustup);
    }
    let debian = Path::new("/usr/bin/rustc").exists() && which("wasm-ld").is_some() && debian_source_is_there();
    debian.then_some(WasmCompiler::Debian)
}

fn debian_source_is_there() -> bool {
    let sysroot = Command::new("/usr/bin/rustc").args(["--print", "sysroot"]).output();
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
    announce("rustup's servers do not answer; install Debian's compiler with its library source instead: rustc-web rust-web-src lld");
    apt_install(&["rustc-web", "rust-web-src", "lld"])?;
    if wasm_compiler().is_none() {
        bail!("no compiler for wasm32 was found after the installation; `rustup target add wasm32-unknown-unknown` gives one where rustup's servers answer");
    }
    Ok(())
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
