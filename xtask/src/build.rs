//! Builds the one binary: the browser half, its styles and the shim first, then `berth`, which carries them all.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, anyhow};
use sha2::{Digest, Sha256};

use crate::setup::{WasmCompiler, wasm_compiler};
use crate::shell::{announce, cargo, root, run};

/// Speed of the build or of the result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Profile {
    Dev,
    Release,
}

impl Profile {
    pub fn from_release(release: bool) -> Self {
        if release { Self::Release } else { Self::Dev }
    }

    fn folder(self) -> &'static str {
        match self {
            Self::Dev => "debug",
            Self::Release => "release",
        }
    }

    fn wasm(self) -> &'static str {
        match self {
            Self::Dev => "wasm-dev",
            Self::Release => "wasm-release",
        }
    }
}

const TARGET: &str = "x86_64-unknown-linux-gnu";

/// Builds everything and gives the binary's path.
///
/// # Errors
/// Names the command or file that failed.
pub fn build(profile: Profile) -> anyhow::Result<PathBuf> {
    announce("build the shim (static, carried inside berth)");
    let shim = shim()?;
    announce("build the browser half");
    let site = site(profile)?;
    announce("build berth");
    binary(profile, &site, &shim)
}

/// Builds `berth` around a site and a shim and gives its path.
///
/// # Errors
/// The build failed.
pub fn binary(profile: Profile, site: &Path, shim: &Path) -> anyhow::Result<PathBuf> {
    let mut command = cargo();
    command
        .args(["build", "--package", "server", "--bin", "berth"])
        .env("BERTH_SITE_DIR", site)
        .env("BERTH_SHIM_PATH", shim);
    if profile == Profile::Release {
        command.arg("--release");
    }
    run(&mut command)?;
    Ok(target().join(profile.folder()).join("berth"))
}

/// Cargo's target folder.
pub fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from)
}

/// Builds the shim and gives its path.
///
/// # Errors
/// Names the command that failed.
pub fn shim() -> anyhow::Result<PathBuf> {
    let folder = target().join("shim");
    // An explicit --target keeps the flag away from build scripts and needs no further target.
    let flags = "-C target-feature=+crt-static -C relocation-model=static";
    run(cargo()
        .args(["build", "--package", "berth-shim", "--profile", "shim", "--target", TARGET, "--target-dir"])
        .arg(&folder)
        .env("RUSTFLAGS", flags))?;
    Ok(folder.join(TARGET).join("shim/berth-shim"))
}

/// Builds wasm, script and styles into a folder of hashed, compressed files with a manifest.
///
/// # Errors
/// Names the command or file that failed.
pub fn site(profile: Profile) -> anyhow::Result<PathBuf> {
    let wasm = wasm(profile)?;
    let bindgen = target().join("wasm/bindgen");
    std::fs::create_dir_all(&bindgen)?;
    let mut generator = wasm_bindgen_cli_support::Bindgen::new();
    generator
        .input_path(&wasm)
        .web(true)?
        .typescript(false)
        .remove_name_section(true)
        .remove_producers_section(true)
        .out_name("berth");
    generator.generate(&bindgen).context("wasm-bindgen")?;

    let mut files = BTreeMap::new();
    files.insert("pkg/berth.js".to_owned(), std::fs::read(bindgen.join("berth.js"))?);
    files.insert("pkg/berth_bg.wasm".to_owned(), std::fs::read(bindgen.join("berth_bg.wasm"))?);
    files.insert("pkg/berth.css".to_owned(), styles()?.into_bytes());
    collect(Path::new("public"), "static", &mut files)?;
    for (name, path) in TERMINAL_FILES {
        let path = Path::new("app/node_modules").join(path);
        files.insert(format!("static/{name}"), std::fs::read(&path).with_context(|| path.display().to_string())?);
    }
    write_site(&files, profile)
}

/// The two terminal libraries, loaded on terminal pages only.
const TERMINAL_FILES: [(&str, &str); 3] = [
    ("xterm.mjs", "@xterm/xterm/lib/xterm.mjs"),
    ("xterm.css", "@xterm/xterm/css/xterm.css"),
    ("addon-fit.mjs", "@xterm/addon-fit/lib/addon-fit.mjs"),
];

fn wasm(profile: Profile) -> anyhow::Result<PathBuf> {
    let compiler = wasm_compiler().ok_or_else(|| anyhow!("no compiler for wasm32; run `cargo xtask setup`"))?;
    let folder = target().join("wasm");
    let mut command = cargo();
    command.args([
        "build",
        "--package",
        "app",
        "--lib",
        "--no-default-features",
        "--features",
        "hydrate",
        "--target",
        "wasm32-unknown-unknown",
    ]);
    command.args(["--profile", profile.wasm(), "--target-dir"]).arg(&folder);
    if compiler == WasmCompiler::Debian {
        with_debian_compiler(&mut command);
    }
    run(&mut command)?;
    Ok(folder.join("wasm32-unknown-unknown").join(profile.wasm()).join("app.wasm"))
}

/// Debian's rustc builds the standard library for wasm32 from its source package.
pub fn with_debian_compiler(command: &mut Command) {
    command
        .env("RUSTC", "/usr/bin/rustc")
        .env("RUSTC_BOOTSTRAP", "1")
        .env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER", "wasm-ld");
    command.arg("-Zbuild-std=std,panic_abort");
}

fn styles() -> anyhow::Result<String> {
    let options = grass::Options::default().style(grass::OutputStyle::Compressed).load_path("style");
    grass::from_path("style/main.scss", &options).map_err(|error| anyhow!("style: {error}"))
}

fn collect(folder: &Path, prefix: &str, files: &mut BTreeMap<String, Vec<u8>>) -> anyhow::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let name = format!("{prefix}/{}", entry.file_name().to_string_lossy());
        if entry.file_type()?.is_dir() {
            collect(&entry.path(), &name, files)?;
        } else {
            files.insert(name, std::fs::read(entry.path())?);
        }
    }
    Ok(())
}

/// Puts a hash into each name, so that caches may keep a file for ever.
fn hashed_name(name: &str, content: &[u8]) -> String {
    let digest = Sha256::digest(content);
    let hash: String = digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    match name.rsplit_once('.') {
        Some((stem, extension)) => format!("{stem}.{hash}.{extension}"),
        None => format!("{name}.{hash}"),
    }
}

fn write_site(files: &BTreeMap<String, Vec<u8>>, profile: Profile) -> anyhow::Result<PathBuf> {
    let site = target().join("site").join(profile.folder());
    let fresh = site.with_extension("new");
    if fresh.exists() {
        std::fs::remove_dir_all(&fresh)?;
    }
    let mut names = BTreeMap::new();
    for (name, content) in files {
        let hashed = hashed_name(name, content);
        let path = fresh.join(&hashed);
        std::fs::create_dir_all(path.parent().context("a site file has a folder")?)?;
        std::fs::write(&path, content)?;
        compress(&path, content, &site.join(&hashed), profile)?;
        names.insert(name.clone(), hashed);
    }
    let manifest = serde_json::json!({
        "js": names["pkg/berth.js"], "wasm": names["pkg/berth_bg.wasm"], "css": names["pkg/berth.css"], "files": names,
    });
    std::fs::write(fresh.join("manifest.json"), serde_json::to_vec_pretty(&manifest)?)?;
    if std::fs::read(site.join("manifest.json")).unwrap_or_default() == std::fs::read(fresh.join("manifest.json"))? {
        std::fs::remove_dir_all(&fresh)?;
        return Ok(site);
    }
    if site.exists() {
        std::fs::remove_dir_all(&site)?;
    }
    std::fs::rename(&fresh, &site)?;
    Ok(site)
}

/// Writes the `.br` and `.zst` variants, taken from the last build where the content is the same.
fn compress(path: &Path, content: &[u8], last: &Path, profile: Profile) -> anyhow::Result<()> {
    let variant = |path: &Path, extension: &str| PathBuf::from(format!("{}.{extension}", path.display()));
    for extension in ["br", "zst"] {
        let (old, new) = (variant(last, extension), variant(path, extension));
        if old.exists() {
            std::fs::copy(&old, &new)?;
            continue;
        }
        let quality = if profile == Profile::Release { (11, 19) } else { (5, 3) };
        let packed = match extension {
            "br" => brotli_bytes(content, quality.0)?,
            _ => zstd::encode_all(content, quality.1)?,
        };
        std::fs::write(&new, packed)?;
    }
    Ok(())
}

fn brotli_bytes(content: &[u8], quality: u32) -> anyhow::Result<Vec<u8>> {
    let mut writer = brotli::CompressorWriter::new(Vec::new(), 1 << 16, quality, 22);
    writer.write_all(content)?;
    writer.flush()?;
    Ok(writer.into_inner())
}

#[cfg(test)]
mod tests {
    use super::hashed_name;

    #[test]
    fn the_hash_follows_the_content_and_keeps_the_extension() {
        let first = hashed_name("pkg/berth.js", b"a");
        assert!(first.starts_with("pkg/berth.") && first.ends_with(".js"), "{first}");
        assert_ne!(first, hashed_name("pkg/berth.js", b"b"));
        assert_eq!(first, hashed_name("pkg/berth.js", b"a"));
    }
}
