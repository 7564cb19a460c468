//! Whether what was unpacked is a root file system, and where in it the root lies: archives may wrap everything in one
//! folder (formats.md section 8).

use super::archive::Account;
use super::tree::Tree;
use crate::error::{Error, Result};

const INITS: [&str; 6] = [
    "sbin/init",
    "usr/sbin/init",
    "usr/lib/systemd/systemd",
    "lib/systemd/systemd",
    "init",
    "s6-init",
];
const SHELLS: [&str; 5] = ["bin/sh", "usr/bin/sh", "bin/bash", "usr/bin/bash", "bin/busybox"];
/// Names that a refusal shows.
const SHOWN: usize = 8;

/// The folder at the top that is the root, when the top itself is not.
///
/// # Errors
/// It cannot be read.
pub fn wrapper(tree: &Tree) -> Result<Option<String>> {
    if is_root(tree) {
        return Ok(None);
    }
    let mut roots = tree.names()?.into_iter().filter(|name| tree.below(name).is_some_and(|below| is_root(&below)));
    // Two of them are two trees, of which none is meant.
    Ok(roots.next().filter(|_| roots.next().is_none()))
}

fn is_root(tree: &Tree) -> bool {
    tree.has("etc") && ["bin", "sbin", "usr"].iter().any(|name| tree.has(name))
}

/// Refuses what no container could start from.
///
/// # Errors
/// Says what was looked for and what was found.
pub fn require(root: &Tree, account: &Account<'_>) -> Result<()> {
    let (least, found) = (account.least_entries(), account.unpacked.entries);
    if least == 0 {
        return Ok(());
    }
    if found < least {
        return Err(refusal(
            account,
            &format!("it has {found} entries, and a root file system has at least {least}"),
        ));
    }
    if INITS.iter().chain(&SHELLS).any(|path| root.has(path)) {
        return Ok(());
    }
    let mut names = root.names()?;
    names.sort_unstable();
    let more = if names.len() > SHOWN { " ..." } else { "" };
    names.truncate(SHOWN);
    let names: Vec<String> = names.iter().map(|name| name.escape_debug().to_string()).collect();
    Err(refusal(
        account,
        &format!(
            "no init ({}) and no shell ({}) is in it; at its top are: {}{more}",
            INITS.join(", "),
            SHELLS.join(", "),
            names.join(", ")
        ),
    ))
}

fn refusal(account: &Account<'_>, why: &str) -> Error {
    account.refusal(&format!("it is no root file system: {why}"))
}
