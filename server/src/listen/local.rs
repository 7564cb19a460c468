//! The local socket `<run-dir>/berth.sock`: its file lets in root and group `berth`, and every connection is judged
//! again by its credentials (unix(7), SO_PEERCRED).

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use model::error::{ErrorBody, ErrorCode};
use tokio::io::AsyncWriteExt as _;
use tokio::net::{UnixListener, UnixStream};

use crate::console::Peer;

const GROUP: &str = "berth";

/// Makes the socket. A file left over by an earlier run is replaced: the lock on the state directory tells that no other
/// console of this instance lives.
///
/// # Errors
/// The folder or the socket cannot be made.
pub fn bind(path: &Path) -> std::io::Result<UnixListener> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    // Made without access for others from the first moment; the group is let in below.
    let before = rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o177));
    let listener = UnixListener::bind(path);
    rustix::process::umask(before);
    let listener = listener?;
    if let Some(group) = group_of(&read("/etc/group")) {
        std::os::unix::fs::chown(path, None, Some(group.id))?;
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o660))?;
    }
    Ok(listener)
}

/// Who is at the other end; `None` = not an administrator.
pub(super) fn judge(stream: &UnixStream) -> Option<Peer> {
    let peer = stream.peer_cred().ok()?;
    let user = user_name(&read("/etc/passwd"), peer.uid());
    let is_own = peer.uid() == rustix::process::geteuid().as_raw();
    let group = group_of(&read("/etc/group"));
    let is_member = group.is_some_and(|group| group.id == peer.gid() || group.members.contains(&user));
    (peer.uid() == 0 || is_own || is_member).then_some(Peer::Socket { user })
}

/// Answers 403 to whatever is asked, so that the command line can say why.
pub(super) async fn refuse(mut stream: UnixStream) {
    let body = ErrorBody::new(ErrorCode::NotAllowed, "the local socket is for root and group berth").hint("use sudo, or join the group");
    let body = serde_json::json!({ "error": body }).to_string();
    let answer = format!(
        "HTTP/1.1 403 Forbidden\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    );
    // The peer may have left already; there is nobody else to tell.
    drop(stream.write_all(answer.as_bytes()).await);
    drop(stream.shutdown().await);
}

fn read(path: &str) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}

#[derive(Debug, PartialEq, Eq)]
struct Group {
    id: u32,
    members: Vec<String>,
}

/// group(5): `name:password:id:member,member`
fn group_of(text: &str) -> Option<Group> {
    let fields: Vec<&str> = text
        .lines()
        .map(|line| line.split(':').collect::<Vec<_>>())
        .find(|fields| fields.first() == Some(&GROUP))?;
    Some(Group {
        id: fields.get(2)?.parse().ok()?,
        members: fields
            .get(3)
            .into_iter()
            .flat_map(|list| list.split(','))
            .filter(|name| !name.is_empty())
            .map(str::to_owned)
            .collect(),
    })
}

/// passwd(5): `name:password:uid:...`
fn user_name(text: &str, uid: u32) -> String {
    let found = text.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(uid)).then(|| name.to_owned())
    });
    found.unwrap_or_else(|| format!("uid {uid}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_of_the_group_are_known_by_name() {
        let group = group_of("root:x:0:\nberth:x:991:ada,bob\n").unwrap();
        assert_eq!((group.id, group.members), (991, vec!["ada".to_owned(), "bob".to_owned()]));
        assert_eq!(group_of("berthold:x:5:\n"), None);
    }

    #[test]
    fn a_user_without_an_entry_keeps_the_number() {
        assert_eq!(user_name("root:x:0:0::/root:/bin/sh\n", 0), "root");
        assert_eq!(user_name("root:x:0:0::/root:/bin/sh\n", 7), "uid 7");
    }
}
