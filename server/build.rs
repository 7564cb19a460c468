//! Carries the browser half and the shim inside the binary. `cargo xtask build` makes both first and names them by
//! `BERTH_SITE_DIR` and `BERTH_SHIM_PATH`; without them (a plain `cargo check` or `cargo test`) nothing is embedded and
//! pages come without script.

use std::fmt::Write as _;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-env-changed=BERTH_SITE_DIR");
    println!("cargo:rerun-if-env-changed=BERTH_SHIM_PATH");
    let out = PathBuf::from(std::env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    let mut source = String::new();
    site(&mut source);
    shim(&mut source);
    std::fs::write(out.join("embedded.rs"), source).expect("cargo's OUT_DIR can be written");
}

fn site(source: &mut String) {
    let folder = std::env::var_os("BERTH_SITE_DIR").map(PathBuf::from);
    let manifest = folder.as_deref().map(read_manifest).unwrap_or_default();
    writeln!(source, "pub(super) static FILES: &[File] = &[").expect("a String takes every text");
    if let Some(folder) = &folder {
        let mut paths = Vec::new();
        collect(folder, folder, &mut paths);
        paths.sort();
        for path in paths {
            file(source, folder, &path);
        }
    }
    let version = std::env::var("CARGO_PKG_VERSION").unwrap_or_default();
    // The manifest names every file by the hash of its content, so its own hash changes with each of them.
    let mut hasher = DefaultHasher::new();
    manifest.hash(&mut hasher);
    writeln!(source, "];\npub(super) static MANIFEST: &str = {manifest:?};").expect("a String takes every text");
    writeln!(
        source,
        "pub(super) static BUILD: &str = \"{version}+{:012x}\";",
        hasher.finish() & 0xffff_ffff_ffff
    )
    .expect("a String takes every text");
}

fn read_manifest(folder: &Path) -> String {
    let path = folder.join("manifest.json");
    println!("cargo:rerun-if-changed={}", path.display());
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}; BERTH_SITE_DIR must be a folder made by `cargo xtask build`", path.display()))
}

fn collect(root: &Path, folder: &Path, paths: &mut Vec<String>) {
    for entry in std::fs::read_dir(folder)
        .unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
        .flatten()
    {
        let path = entry.path();
        if path.is_dir() {
            collect(root, &path, paths);
        } else if let Some(name) = path.strip_prefix(root).ok().and_then(Path::to_str) {
            let is_variant = name.ends_with(".br") || name.ends_with(".zst");
            if !is_variant && name != "manifest.json" {
                paths.push(name.to_owned());
            }
        }
    }
}

fn file(source: &mut String, folder: &Path, name: &str) {
    let plain = folder.join(name);
    let variant = |extension: &str| {
        let path = PathBuf::from(format!("{}.{extension}", plain.display()));
        if path.exists() {
            format!("Some(include_bytes!({path:?}))")
        } else {
            "None".to_owned()
        }
    };
    writeln!(
        source,
        "File {{ path: {name:?}, content_type: {:?}, plain: include_bytes!({plain:?}), brotli: {}, zstd: {} }},",
        content_type(name),
        variant("br"),
        variant("zst")
    )
    .expect("a String takes every text");
}

fn content_type(name: &str) -> &'static str {
    match name.rsplit('.').next().unwrap_or_default() {
        "js" | "mjs" => "text/javascript; charset=utf-8",
        "wasm" => "application/wasm",
        "css" => "text/css; charset=utf-8",
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "ico" => "image/vnd.microsoft.icon",
        "webp" => "image/webp",
        "woff2" => "font/woff2",
        "json" => "application/json",
        "webmanifest" => "application/manifest+json",
        "txt" => "text/plain; charset=utf-8",
        "html" => "text/html; charset=utf-8",
        _ => "application/octet-stream",
    }
}

fn shim(source: &mut String) {
    let bytes = std::env::var_os("BERTH_SHIM_PATH").map_or_else(
        || "&[]".to_owned(),
        |path| {
            let path = PathBuf::from(path);
            println!("cargo:rerun-if-changed={}", path.display());
            format!("include_bytes!({path:?})")
        },
    );
    writeln!(source, "pub(super) static SHIM: &[u8] = {bytes};").expect("a String takes every text");
}
