//! The arrows of ARCHITECTURE.md, as cargo sees them.

use std::collections::BTreeSet;
use std::process::Command;

/// Names of all packages below one, with these features.
fn tree(arguments: &[&str]) -> BTreeSet<String> {
    let output = Command::new(env!("CARGO"))
        .args(["tree", "--edges", "normal", "--prefix", "none", "--format", "{p}"])
        .args(arguments)
        .output();
    let output = output.expect("cargo runs");
    assert!(output.status.success(), "cargo tree {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout)
        .lines()
        .filter_map(|line| line.split_whitespace().next().map(str::to_owned))
        .collect()
}

fn assert_without(tree: &BTreeSet<String>, names: &[&str]) {
    let found: Vec<&&str> = names.iter().filter(|name| tree.contains(**name)).collect();
    assert!(found.is_empty(), "{found:?} may not be there");
}

#[test]
fn the_browser_holds_nothing_of_the_server() {
    let tree = tree(&[
        "-p",
        "app",
        "--no-default-features",
        "--features",
        "hydrate",
        "--target",
        "wasm32-unknown-unknown",
    ]);
    assert!(tree.contains("leptos") && tree.contains("model"));
    assert_without(
        &tree,
        &[
            "tokio", "axum", "nix", "rustix", "control", "runtime", "french", "rusqlite", "reqwest", "server",
        ],
    );
}

#[test]
fn the_shim_is_small() {
    let tree = tree(&["-p", "berth-shim"]);
    assert!(tree.contains("runtime"));
    assert_without(&tree, &["tokio", "cgroups-rs", "control", "axum", "rusqlite", "reqwest", "tar", "app"]);
}

#[test]
fn model_and_runtime_know_no_console() {
    assert_without(&tree(&["-p", "model"]), &["tokio", "axum", "runtime", "control", "rustix", "nix", "libc"]);
    let runtime = tree(&["-p", "runtime"]);
    // Its later versions speak D-Bus.
    assert!(runtime.contains("cgroups-rs"));
    assert_without(&runtime, &["tokio", "axum", "control", "rusqlite", "reqwest", "leptos", "app", "zbus"]);
}

#[test]
fn control_knows_no_pages_and_no_http_server() {
    assert_without(&tree(&["-p", "control"]), &["leptos", "axum", "app", "server", "rtnetlink"]);
}
