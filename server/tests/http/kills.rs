//! What a console that is killed has answered for is on the disk.

use crate::console::Console;

#[tokio::test]
async fn whatever_was_answered_stands_in_the_audit_log_of_the_next_console() {
    let mut console = Console::start();
    console.set_up().await;
    let cookie = console.cookie().await;
    for (n, name) in ["eve", "bob", "joe"].into_iter().enumerate() {
        console.add_user(&cookie, name, "viewer").await;
        console.kill_and_start_again();
        let rows = console.berth("audit --output json").stdout;
        let rows: Vec<serde_json::Value> = serde_json::from_slice(&rows).unwrap();
        let added = rows.iter().filter(|row| row["action"] == "user.add");
        let mut names: Vec<&str> = added.map(|row| row["target"].as_str().unwrap()).collect();
        names.reverse();
        assert_eq!(names, ["eve", "bob", "joe"][..=n]);
    }
}
