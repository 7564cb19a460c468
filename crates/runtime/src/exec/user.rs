//! Who a command runs as, from the guest's own account files: hostile text with limits.

use std::fs::File;
use std::io::Read as _;

use rustix::fs::{CWD, Mode, OFlags, openat};

use crate::error::{At, Error, Result};

/// An account file longer than this is none.
const MAX_BYTES: u64 = 1 << 20;
const MAX_GROUPS: usize = 256;

/// A user inside the container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    pub name: String,
    pub uid: u32,
    pub gid: u32,
    pub groups: Vec<u32>,
    pub home: String,
    pub shell: String,
}

/// Finds `USER`, `UID`, `USER:GROUP` or `UID:GID` in the account files of this root.
///
/// # Errors
/// The user or group is unknown, or a number is out of range.
pub fn find(wanted: &str) -> Result<Account> {
    parse(wanted, &read("/etc/passwd"), &read("/etc/group"))
}

fn read(path: &str) -> String {
    // Not blocking: a fifo of that name must not hang us.
    let file = openat(CWD, path, OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC, Mode::empty());
    let mut bytes = Vec::new();
    if let Ok(file) = file {
        // What cannot be read has no accounts in it.
        drop(File::from(file).take(MAX_BYTES).read_to_end(&mut bytes));
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// A plain decimal number: no sign, no leading zero, and never the id that means "unchanged" (CVE-2026-30892).
fn id(text: &str) -> Option<u32> {
    let plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    plain.then(|| text.parse().ok()).flatten().filter(|id| *id != u32::MAX)
}

fn parse(wanted: &str, passwd: &str, group: &str) -> Result<Account> {
    let step = "find the user inside the container";
    let unknown = |what: &str, name: &str| {
        Error::invalid(step, format!("the container has no {what} `{name}`")).hint("name one of /etc/passwd or /etc/group inside, or a number")
    };
    let (user, wanted_group) = wanted.split_once(':').map_or((wanted, None), |(user, group)| (user, Some(group)));
    let is_number = user.bytes().all(|byte| byte.is_ascii_digit() || byte == b'+');
    let entry = passwd
        .lines()
        .filter_map(entry_of)
        .find(|account| if is_number { id(user) == Some(account.uid) } else { account.name == user });
    let mut account = match (entry, is_number) {
        (Some(account), _) => account,
        (None, true) => numbered(id(user).ok_or_else(|| unknown("user", user))?),
        (None, false) if user == "root" => numbered(0),
        (None, false) => return Err(unknown("user", user)),
    };
    match wanted_group {
        Some(name) => account.gid = group_id(name, group).ok_or_else(|| unknown("group", name))?,
        None => account.groups = memberships(&account.name, group),
    }
    Ok(account)
}

fn numbered(uid: u32) -> Account {
    let home = if uid == 0 { "/root" } else { "/" };
    let name = if uid == 0 { "root".to_owned() } else { uid.to_string() };
    Account {
        name,
        uid,
        gid: 0,
        groups: Vec::new(),
        home: home.into(),
        shell: String::new(),
    }
}

fn entry_of(line: &str) -> Option<Account> {
    let fields: Vec<&str> = line.split(':').collect();
    let [name, _, uid, gid, _, home, shell, ..] = fields.as_slice() else {
        return None;
    };
    Some(Account {
        name: (*name).to_owned(),
        uid: id(uid)?,
        gid: id(gid)?,
        groups: Vec::new(),
        home: (*home).to_owned(),
        shell: (*shell).to_owned(),
    })
}

fn group_id(wanted: &str, group: &str) -> Option<u32> {
    if wanted.bytes().all(|byte| byte.is_ascii_digit() || byte == b'+') {
        return id(wanted);
    }
    group.lines().find_map(|line| {
        let mut fields = line.split(':');
        (fields.next() == Some(wanted)).then(|| id(fields.nth(1)?)).flatten()
    })
}

fn memberships(name: &str, group: &str) -> Vec<u32> {
    let of_line = |line: &str| {
        let fields: Vec<&str> = line.split(':').collect();
        let [_, _, gid, members, ..] = fields.as_slice() else { return None };
        members.split(',').any(|member| member == name).then(|| id(gid)).flatten()
    };
    group.lines().filter_map(of_line).take(MAX_GROUPS).collect()
}

impl Account {
    /// Changes this process's ids to the account's; what was root's privilege is gone.
    ///
    /// # Errors
    /// An id is not mapped in the container's user namespace.
    pub fn become_it(&self) -> Result<()> {
        let step = "become the user";
        let groups: Vec<rustix::thread::Gid> = std::iter::once(self.gid)
            .chain(self.groups.iter().copied())
            .map(rustix::thread::Gid::from_raw)
            .collect();
        rustix::thread::set_thread_groups(&groups).at(step, "setgroups()")?;
        let (user, group) = (rustix::thread::Uid::from_raw(self.uid), rustix::thread::Gid::from_raw(self.gid));
        rustix::thread::set_thread_res_gid(group, group, group).at(step, &format!("setresgid({})", self.gid))?;
        rustix::thread::set_thread_res_uid(user, user, user).at(step, &format!("setresuid({})", self.uid))
    }

    /// The account's shell if it is there, else the first of bash, ash, sh.
    #[must_use]
    pub fn login_shell(&self) -> String {
        let is_there = |path: &str| rustix::fs::access(path, rustix::fs::Access::EXEC_OK).is_ok();
        let own = Some(self.shell.as_str()).filter(|shell| shell.starts_with('/') && is_there(shell));
        let known = ["/bin/bash", "/bin/ash", "/bin/sh"].into_iter().find(|shell| is_there(shell));
        own.or(known).unwrap_or("/bin/sh").to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/bash\nwww:x:33:33::/var/www:/bin/sh\n1000:x:5:5::/:\nbroken\nbad:x:-1:0::/:\n";
    const GROUP: &str = "root:x:0:\ndocker:x:99:www,other\nempty:x:98:\n";

    #[test]
    fn names_and_numbers_mean_what_they_say() {
        assert_eq!(parse("www", PASSWD, GROUP).unwrap().groups, [99]);
        assert_eq!(parse("33", PASSWD, GROUP).unwrap().home, "/var/www");
        assert_eq!(parse("1", PASSWD, GROUP).unwrap().uid, 1);
        assert_eq!(parse("33:docker", PASSWD, GROUP).unwrap().gid, 99);
        assert_eq!(parse("root", "", "").unwrap().uid, 0);
    }

    #[test]
    fn a_user_whose_name_is_a_number_is_not_mistaken_for_it() {
        assert_eq!(parse("1000", PASSWD, GROUP).unwrap().uid, 1000);
    }

    #[test]
    fn odd_numbers_are_refused_and_never_root() {
        for odd in ["0001", "+1", "1:", "4294967295", "-1", "", "nobody", "www:nogroup", "99999999999"] {
            assert!(parse(odd, PASSWD, GROUP).is_err(), "{odd:?}");
        }
    }
}
