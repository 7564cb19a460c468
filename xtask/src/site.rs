//! Builds the browser half into a folder of hashed, compressed files with a manifest.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, anyhow, bail};
use sha2::{Digest, Sha256};

use crate::build::{Profile, target};
use crate::setup::{self, Compiler};
use crate::shell::{cargo, command, root, run};
use crate::shrink::shrink;

/// The bundles of app/src/bundle.rs: each is a cargo feature and one build of the browser half.
const BUNDLES: [&str; 4] = ["containers", "overview", "supply", "terminal"];
/// A build that has every page.
pub const ALL_PAGES: &str = "containers,overview,supply,terminal,panic-words";

const WASM: &str = "wasm32-unknown-unknown";
/// The standard library made small: a panic ends the page at once, without words that nobody reads, and nothing is
/// inlined before the whole program is known. `erase_components` stands here again because these flags replace those of
/// .cargo/config.toml.
const SMALL: &str = "--cfg erase_components -Zunstable-options -Cpanic=immediate-abort -Zlocation-detail=none -Zfmt-debug=none -Zinline-mir=no";
const OWN_LIBRARY: &str = "-Zbuild-std=std,panic_abort";
const SMALL_LIBRARY: &str = "-Zbuild-std-features=optimize_for_size";

/// One build of the browser half: its module and its script.
struct Code {
    wasm: Vec<u8>,
    script: String,
}

/// Builds modules, scripts and styles.
///
/// # Errors
/// Names the command or file that failed.
pub fn site(profile: Profile) -> anyhow::Result<PathBuf> {
    let mut files = BTreeMap::new();
    match profile {
        Profile::Dev => {
            let code = all_pages()?;
            for bundle in BUNDLES {
                add(&mut files, bundle, &code);
            }
        }
        Profile::Release => {
            let compiler = setup::install_library_source()?;
            for bundle in BUNDLES {
                add(&mut files, bundle, &small(bundle, compiler)?);
            }
        }
    }
    files.insert("pkg/berth.css".to_owned(), styles()?.into_bytes());
    collect(Path::new("public"), "static", &mut files)?;
    for (name, path) in TERMINAL_FILES {
        let path = Path::new("app/node_modules").join(path);
        files.insert(format!("static/{name}"), std::fs::read(&path).with_context(|| path.display().to_string())?);
    }
    if profile == Profile::Release {
        for (_, script) in files.iter_mut().filter(|(name, _)| name.ends_with("js")) {
            *script = minified(script)?;
        }
    }
    write_site(&files, profile)
}

/// A script without what only people need, licences apart.
fn minified(script: &[u8]) -> anyhow::Result<Vec<u8>> {
    let mut terser = command(
        "node",
        [
            "app/node_modules/terser/bin/terser",
            "--module",
            "--mangle",
            "--comments",
            "some",
            "--compress",
            "passes=3,ecma=2020",
        ],
    );
    let mut child = terser
        .current_dir(root())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .context("node cannot be started")?;
    // It reads all before it writes.
    child.stdin.take().context("its input is piped")?.write_all(script)?;
    let output = child.wait_with_output()?;
    if !output.status.success() {
        bail!("terser failed ({})", output.status);
    }
    Ok(output.stdout)
}

/// The two terminal libraries, loaded on terminal pages only.
const TERMINAL_FILES: [(&str, &str); 3] = [
    ("xterm.mjs", "@xterm/xterm/lib/xterm.mjs"),
    ("xterm.css", "@xterm/xterm/css/xterm.css"),
    ("addon-fit.mjs", "@xterm/addon-fit/lib/addon-fit.mjs"),
];

fn add(files: &mut BTreeMap<String, Vec<u8>>, bundle: &str, code: &Code) {
    files.insert(format!("pkg/{bundle}.wasm"), code.wasm.clone());
    files.insert(format!("pkg/{bundle}.js"), code.script.clone().into_bytes());
}

/// Every page in one build, made fast.
fn all_pages() -> anyhow::Result<Code> {
    let compiler = setup::wasm_compiler().ok_or_else(|| anyhow!("no compiler for wasm32; run `cargo xtask setup`"))?;
    let mut build = cargo_for_wasm(compiler, "wasm-dev", ALL_PAGES);
    if compiler == Compiler::Debian {
        build.arg(OWN_LIBRARY);
    }
    run(&mut build)?;
    bind("wasm-dev")
}

/// The pages of one bundle, made small.
fn small(bundle: &str, compiler: Compiler) -> anyhow::Result<Code> {
    let mut build = cargo_for_wasm(compiler, "wasm-release", bundle);
    build.args([OWN_LIBRARY, SMALL_LIBRARY]);
    build.env("RUSTC_BOOTSTRAP", "1").env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_RUSTFLAGS", SMALL);
    run(&mut build)?;
    let code = bind("wasm-release")?;
    let (wasm, script) = shrink(&code.wasm, &code.script)?;
    Ok(Code { wasm, script })
}

fn cargo_for_wasm(compiler: Compiler, profile: &str, features: &str) -> std::process::Command {
    let mut command = cargo();
    command.args([
        "build",
        "--package",
        "app",
        "--lib",
        "--no-default-features",
        "--features",
        features,
        "--target",
        WASM,
    ]);
    command.args(["--profile", profile, "--target-dir"]).arg(folder());
    if compiler == Compiler::Debian {
        command
            .env("RUSTC", setup::DEBIAN_RUSTC)
            .env("RUSTC_BOOTSTRAP", "1")
            .env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER", "wasm-ld");
    }
    command
}

fn folder() -> PathBuf {
    target().join("wasm")
}

/// Makes the module and the script that a browser loads.
fn bind(profile: &str) -> anyhow::Result<Code> {
    let made = folder().join("bindgen");
    std::fs::create_dir_all(&made)?;
    let mut generator = wasm_bindgen_cli_support::Bindgen::new();
    generator
        .input_path(folder().join(WASM).join(profile).join("app.wasm"))
        .web(true)?
        .typescript(false)
        .remove_name_section(true)
        .remove_producers_section(true)
        .out_name("berth");
    generator.generate(&made).context("wasm-bindgen")?;
    Ok(Code {
        wasm: std::fs::read(made.join("berth_bg.wasm"))?,
        script: std::fs::read_to_string(made.join("berth.js"))?,
    })
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
    let code = |bundle: &str| serde_json::json!({"js": names[&format!("pkg/{bundle}.js")], "wasm": names[&format!("pkg/{bundle}.wasm")]});
    let bundles: BTreeMap<&str, serde_json::Value> = BUNDLES.iter().map(|bundle| (*bundle, code(bundle))).collect();
    let manifest = serde_json::json!({"bundles": bundles, "css": names["pkg/berth.css"], "files": names});
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
