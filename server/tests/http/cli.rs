//! The command line as a process, against a console on the in-memory engine: exit codes, what is printed, JSON shapes.

use std::collections::BTreeSet;
use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixListener;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::console::{Console, PASSWORD, tar};

impl Console {
    /// Runs `berth` with this console's socket.
    pub fn berth(&self, line: &str) -> Output {
        self.berth_with(line, b"")
    }

    fn berth_with(&self, line: &str, input: &[u8]) -> Output {
        berth(&self.folder.path().join("run"), line, input)
    }

    /// What a command that has to succeed prints.
    fn out(&self, line: &str) -> String {
        let output = self.berth(line);
        assert_eq!(code(&output), 0, "berth {line}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    fn document(&self, line: &str) -> Value {
        serde_json::from_str(&self.out(&format!("{line} --output json"))).unwrap()
    }

    /// A template and a running container `web`.
    fn filled() -> Self {
        Self::filled_with(&[])
    }

    fn filled_with(flags: &[&str]) -> Self {
        let console = Self::start_with(flags);
        let archive = console.folder.path().join("tiny.tar");
        std::fs::write(&archive, tar()).unwrap();
        console.out(&format!("template import {} --name tiny", archive.display()));
        console.out("create web --template local:tiny --start");
        console
    }
}

fn berth(run_dir: &std::path::Path, line: &str, input: &[u8]) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_berth"))
        .arg("--run-dir")
        .arg(run_dir)
        .args(line.split_whitespace())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A command that reads no input may have ended already.
    child.stdin.take().unwrap().write_all(input).ok();
    child.wait_with_output().unwrap()
}

fn code(output: &Output) -> i32 {
    output.status.code().expect("no signal")
}

/// One line on standard error, that begins with the program's name.
fn complaint(output: &Output) -> String {
    let text = String::from_utf8(output.stderr.clone()).unwrap();
    assert!(text.starts_with("berth: ") && text.lines().count() == 1, "{text}");
    text
}

fn keys(value: &Value) -> BTreeSet<&str> {
    value
        .as_object()
        .unwrap_or_else(|| panic!("no object: {value}"))
        .keys()
        .map(String::as_str)
        .collect()
}

/// More fields may be there.
fn has(value: &Value, wanted: &str) {
    let (found, wanted): (BTreeSet<&str>, BTreeSet<&str>) = (keys(value), wanted.split_whitespace().collect());
    let missing: Vec<_> = wanted.difference(&found).collect();
    assert!(missing.is_empty(), "{missing:?} missing in {value}");
}

/// A console that answers everything with one refusal.
fn refusing(status: &str, body: &str) -> (tempfile::TempDir, std::thread::JoinHandle<()>) {
    let folder = tempfile::tempdir().unwrap();
    let listener = UnixListener::bind(folder.path().join("berth.sock")).unwrap();
    let answer = format!(
        "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    );
    let thread = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut request = [0; 4096];
        assert!(stream.read(&mut request).unwrap() > 0);
        stream.write_all(answer.as_bytes()).unwrap();
    });
    (folder, thread)
}

#[test]
fn exit_codes_are_those_of_the_interface() {
    let console = Console::filled();
    for (line, expected) in [
        ("list", 0),
        ("version", 0),
        ("list --no-such-flag", 2),
        ("create 1234 --template local:tiny", 2),
        ("set web memory=much", 2),
        ("show absent", 3),
        ("start absent", 3),
        ("console absent", 3),
        ("logs absent", 3),
        ("template remove local:absent", 3),
        ("start web", 4),
        ("delete web", 4),
        ("create web --template local:tiny", 4),
        ("create big --template local:tiny --disk 1G", 6),
        ("exec absent -- true", 125),
        ("exec web --no-such-flag -- true", 125),
        ("exec web -- exit 0", 0),
        ("exec web -- exit 3", 3),
        ("exec web -- exit 127", 127),
        ("stop web", 0),
        ("exec web -- true", 125),
        ("console web", 0),
        ("stop web", 4),
    ] {
        let output = console.berth(line);
        assert_eq!(code(&output), expected, "berth {line}: {output:?}");
        if expected != 0 && expected != 2 && !line.contains("-- exit") && !line.contains("--no-such") {
            complaint(&output);
        }
    }
    let nowhere = berth(std::path::Path::new("/nonexistent"), "list", b"");
    assert_eq!(code(&nowhere), 1);
    assert!(complaint(&nowhere).contains("berth serve"));
}

#[test]
fn what_is_not_allowed_and_what_cannot_be_have_codes_of_their_own() {
    for (status, word, expected) in [
        ("403 Forbidden", "not_allowed", 5),
        ("401 Unauthorized", "sign_in_required", 5),
        ("501 Not Implemented", "unsupported", 6),
        ("412 Precondition Failed", "stale", 4),
        ("500 Internal Server Error", "failed", 1),
        ("429 Too Many Requests", "slow_down", 1),
    ] {
        let body = format!(r#"{{"error":{{"code":"{word}","message":"no","hint":"do something else"}}}}"#);
        let (folder, thread) = refusing(status, &body);
        let output = berth(folder.path(), "list", b"");
        thread.join().unwrap();
        assert_eq!(code(&output), expected, "{status}");
        assert_eq!(complaint(&output), "berth: no (do something else)\n");
    }
}

#[test]
fn quiet_prints_only_what_was_asked_for() {
    let console = Console::filled();
    assert_eq!(console.out("list --quiet"), "web\n");
    let token = console.out("token create ci --quiet");
    assert!(token.starts_with("bth_") && token.lines().count() == 1, "{token}");
    let loud = console.out("token create other --role operator");
    assert!(loud.starts_with("bth_") && loud.contains("operator"), "{loud}");
    let add = console.berth_with("user add bert --role viewer --password-stdin --quiet", PASSWORD.as_bytes());
    assert_eq!((code(&add), add.stdout.len()), (0, 0));
    assert_eq!(console.out("stop web --quiet"), "");
}

#[test]
fn a_role_is_set() {
    let console = Console::filled();
    let add = |name: &str, role: &str| {
        let output = console.berth_with(&format!("user add {name} --role {role} --password-stdin"), PASSWORD.as_bytes());
        assert_eq!(code(&output), 0, "{output:?}");
    };
    add("anna", "administrator");
    add("bert", "viewer");
    assert!(console.out("user set bert --role operator").contains("operator"));
    let users = console.document("user list");
    assert!(
        users
            .as_array()
            .unwrap()
            .iter()
            .any(|user| user["name"] == "bert" && user["role"] == "operator"),
        "{users}"
    );
    let last = console.berth("user set anna --role viewer");
    assert_eq!(code(&last), 4, "{last:?}");
    assert_eq!(code(&console.berth("user set carl --role viewer")), 3);
    assert_eq!(code(&console.berth("user set bert")), 2);
}

#[test]
fn a_network_is_added_joined_and_removed() {
    let console = Console::filled();
    let added = console.document("network add bt-http1 --subnet 10.213.252.1/22");
    assert_eq!((&added["bridge"], &added["ipv4"]), (&"bt-http1".into(), &"10.213.252.1/22".into()));
    console.out("set web nic= nic=bridge=bt-http1");
    let listed = console.out("network list");
    assert!(
        listed.lines().any(|line| line.starts_with("bt-http1 ") && line.contains("10.213.252.1/22")),
        "{listed}"
    );
    let refused = console.berth("network remove bt-http1");
    assert_eq!(code(&refused), 4);
    assert!(complaint(&refused).contains("`web` joins bt-http1"));
    let refused = console.berth("network add bt-http2 --subnet 10.213.252.0/22");
    assert_eq!(code(&refused), 2);
    console.out("set web nic=ip=dhcp");
    console.out("restart web --kill --timeout 0");
    console.out("network remove bt-http1");
    assert_eq!(code(&console.berth("network remove bt-http1")), 3);
}

#[test]
fn detached_commands_print_the_task() {
    let console = Console::filled();
    let id = console.out("stop web --detach");
    assert_eq!(id.trim().len(), 36, "{id}");
    console.out(&format!("task follow {id}"));
    let task = console.document(&format!("task show {id}"));
    assert_eq!((&task["state"], &task["kind"]), (&"done".into(), &"container.stop".into()));
}

#[test]
fn bytes_pass_through_a_command_unchanged() {
    let console = Console::filled();
    let bytes: Vec<u8> = (0..=255).cycle().take(600_000).collect();
    let output = console.berth_with("exec web -- cat", &bytes);
    assert_eq!(code(&output), 0);
    assert!(output.stdout == bytes, "{} of {} bytes", output.stdout.len(), bytes.len());
}

#[test]
fn logs_begin_where_they_are_asked_to() {
    let console = Console::filled();
    assert_eq!(console.out("logs web"), "fake login: ");
    assert_eq!(console.out("logs web --since 2023-11-14T22:13:20Z"), "fake login: ");
    assert_eq!(console.out("logs web --since 15m"), "");
    assert_eq!(code(&console.berth("logs web --since yesterday")), 2);
}

#[test]
fn documents_have_the_fields_of_the_interface() {
    let console = Console::filled();
    let list = console.document("list");
    has(
        &list[0],
        "id name state pid template ipv4 ipv6 unprivileged autostart tags created_at started_at limits",
    );
    has(&list[0]["template"], "ref digest");
    has(
        &list[0]["limits"],
        "cpus cpu_weight cpuset memory_bytes memory_high_bytes swap_bytes pids io_read_bps io_write_bps disk_bytes",
    );
    // Counted once a second.
    let deadline = Instant::now() + Duration::from_secs(20);
    let stats = loop {
        let stats = console.document("stats");
        if stats[0].is_object() {
            break stats;
        }
        assert!(Instant::now() < deadline, "{stats}");
    };
    let stats = &stats[0];
    has(stats, "name at cpu memory pids io net pressure disk");
    has(&stats["cpu"], "usage_usec user_usec system_usec throttled_usec nr_throttled");
    has(
        &stats["memory"],
        "current_bytes used_bytes limit_bytes anon_bytes file_bytes shmem_bytes kernel_bytes swap_bytes oom_kills",
    );
    has(&stats["pids"], "current limit");
    has(&stats["io"], "read_bytes write_bytes read_ops write_ops");
    for kind in ["cpu", "memory", "io"] {
        has(&stats["pressure"][kind], "some_usec full_usec");
    }
    has(
        &console.document("template list")[0],
        "ref name os release arch variant size_bytes digest downloaded newer_available created_at",
    );
    let task = &console.document("task list")[0];
    has(task, "id kind target state progress user created_at ended_at error");
    has(&task["progress"], "done total unit phase");
    console.out("delete web --force");
    has(&console.document("trash list")[0], "id name size_bytes deleted_at deleted_by expires_at");
}

#[test]
fn a_failed_task_and_a_refusal_tell_code_message_and_hint() {
    let console = Console::filled();
    let failed = console.berth("template import http://192.0.2.1:1/x.tar --name far");
    assert_ne!(code(&failed), 0);
    complaint(&failed);
    let tasks = console.document("task list");
    let task = tasks.as_array().unwrap().iter().find(|task| task["state"] == "failed").expect("a failed task");
    has(&task["error"], "code message");
}

#[test]
fn a_damaged_store_is_rescued_while_no_console_runs() {
    let console = Console::start();
    let refused = console.berth(&format!("rescue --state-dir {}", console.folder.path().join("state").display()));
    assert_eq!(code(&refused), 4, "a console has it");
    assert!(complaint(&refused).contains("already uses"));
    let folder = tempfile::tempdir().unwrap();
    for place in ["containers", "trash"] {
        std::fs::create_dir(folder.path().join(place)).unwrap();
    }
    let store = folder.path().join("berth.db");
    std::fs::write(&store, "torn").unwrap();
    let rescue = |flags: &str| {
        let output = console.berth(&format!("rescue --state-dir {} --output json {flags}", folder.path().display()));
        assert_eq!(code(&output), 0, "{output:?}");
        serde_json::from_slice::<Value>(&output.stdout).unwrap()
    };
    let shown = rescue("");
    assert!(shown["kept"].is_null() && shown["lost"].as_str().unwrap().contains("accounts"), "{shown}");
    assert_eq!(std::fs::read(&store).unwrap(), b"torn");
    let done = rescue("--apply");
    assert_eq!(std::fs::read(done["kept"].as_str().unwrap()).unwrap(), b"torn");
    assert!(std::fs::read(&store).unwrap().starts_with(b"SQLite format 3"));
}

#[test]
fn folders_of_the_host_come_in_where_they_are_released() {
    let console = Console::filled();
    let refused = console.berth("create shares --template local:tiny --mount /srv/share:/data");
    assert_eq!(code(&refused), 5);
    let told = complaint(&refused);
    assert!(told.contains("/srv/share") && told.contains("--mount-root"), "{told}");
    drop(console);
    let console = Console::filled_with(&["--mount-root", "/nonexistent/share"]);
    console.out("create shares --template local:tiny --mount /nonexistent/share/a:/data:ro --mount tmpfs:/cache:size=1M");
    let mounts = || console.document("show shares")["spec"]["mounts"].clone();
    let folder = serde_json::json!({ "source": "/nonexistent/share/a", "target": "/data", "read_only": true });
    let memory = serde_json::json!({ "source": "tmpfs", "target": "/cache", "read_only": false, "size_bytes": 1 << 20 });
    assert_eq!(mounts(), serde_json::json!([folder, memory]));
    console.out("set shares mount=/nonexistent/share/a:/data:ro");
    assert_eq!(mounts(), serde_json::json!([folder]));
    for (line, expected) in [
        ("set shares mount=/srv:/data", 5),
        ("set shares mount=/nonexistent/share:/proc", 2),
        ("set web mount=tmpfs:/cache", 0),
        ("set web mount=none", 4),
    ] {
        assert_eq!(code(&console.berth(line)), expected, "{line}");
    }
    assert_eq!(mounts(), serde_json::json!([folder]));
    console.out("set shares mount=none");
    assert_eq!(mounts(), serde_json::json!([]));
}

#[test]
fn a_host_where_nothing_is_left_over_needs_no_doctor() {
    let console = Console::start();
    for flags in ["", "--fix"] {
        let clean = console.berth(&format!("doctor --output json {flags}"));
        assert_eq!((code(&clean), String::from_utf8_lossy(&clean.stdout).trim()), (0, "[]"), "{clean:?}");
    }
    let audit = String::from_utf8(console.berth("audit").stdout).unwrap();
    assert_eq!(audit.matches("host.repair").count(), 1, "{audit}");
}
