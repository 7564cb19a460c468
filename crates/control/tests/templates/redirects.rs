//! Where a download may lead (trust rule D38). The listener that must not be reached is asked whether anybody knocked.

use model::ErrorCode;
use model::task::{Task, TaskState};

use super::server::{Answer, Mode, Server};
use super::world::{Build, INDEX, ROOT, World, anna};

/// A port of this host that nobody named.
struct Forbidden(std::net::TcpListener);

impl Forbidden {
    fn new() -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        Self(listener)
    }

    fn port(&self) -> u16 {
        self.0.local_addr().unwrap().port()
    }

    /// A connection that was begun and given up would still wait here.
    fn assert_untouched(&self, what: &str) {
        let knocked = self.0.accept().map(|(_, from)| from).map_err(|error| error.kind());
        assert_eq!(knocked, Err(std::io::ErrorKind::WouldBlock), "{what}");
    }

    /// Every way to write its address that a server could think of.
    fn addresses(&self) -> Vec<String> {
        let hosts = [
            "127.0.0.1",
            "127.1",
            "2130706433",
            "0x7f000001",
            "0.0.0.0",
            "localhost",
            "[::1]",
            "[::ffff:127.0.0.1]",
            "[64:ff9b::7f00:1]",
            "[2002:7f00:1::]",
        ];
        hosts.iter().map(|host| format!("http://{host}:{}/secret", self.port())).collect()
    }
}

fn to(target: impl Into<String>) -> Answer {
    Answer::whole(b"").with(Mode::Redirect(target.into()))
}

fn refusal(task: &Task) -> (TaskState, ErrorCode, &str) {
    let error = task.error.as_ref().unwrap();
    (task.state, error.code, &error.message)
}

/// A chain of so many redirects that ends at the root.
fn chain(server: &Server, hops: usize) {
    server.serve(ROOT, [to(server.url("hop/1"))]);
    for hop in 1..hops {
        server.serve(&format!("hop/{hop}"), [to(server.url(&format!("hop/{}", hop + 1)))]);
    }
    server.serve(&format!("hop/{hops}"), [Answer::whole(&Build::first().root)]);
}

#[tokio::test]
async fn five_redirects_are_followed_on_the_named_host() {
    let world = World::new().await;
    chain(&world.server, 5);
    assert_eq!(world.download().await.state, TaskState::Done);
    assert_eq!(world.server.asked("hop/5").len(), 1);
}

#[tokio::test(start_paused = true)]
async fn six_redirects_are_too_many() {
    let world = World::new().await;
    super::world::fine_clock();
    chain(&world.server, 6);
    let task = world.download_late().await;
    let (state, code, message) = refusal(&task);
    assert_eq!((state, code), (TaskState::Failed, ErrorCode::Upstream));
    assert!(message.contains("redirects again"), "{message}");
    assert!(world.server.asked("hop/6").is_empty());
    world.assert_nothing_left().await;
}

#[tokio::test]
async fn no_redirect_leads_to_a_file() {
    let world = World::new().await;
    for target in ["file:///etc/passwd", "ftp://192.0.2.1/x", "data:text/plain,x", "gopher://127.0.0.1:70/x"] {
        world.server.serve(ROOT, [to(target)]);
        let task = world.download().await;
        let (state, _, message) = refusal(&task);
        assert_eq!(state, TaskState::Failed);
        assert!(message.contains("neither http nor https"), "{target}: {message}");
        world.assert_nothing_left().await;
    }
}

#[tokio::test]
async fn no_redirect_leads_to_this_host_however_it_is_written() {
    let (world, forbidden) = (World::new().await, Forbidden::new());
    for target in forbidden.addresses() {
        world.server.serve(ROOT, [to(&target)]);
        let task = world.download().await;
        let (state, code, message) = refusal(&task);
        assert_eq!((state, code), (TaskState::Failed, ErrorCode::NotAllowed), "{target}: {message}");
        forbidden.assert_untouched(&target);
        world.assert_nothing_left().await;
    }
}

#[tokio::test]
async fn no_redirect_leads_into_a_private_network() {
    let world = World::new().await;
    for host in ["10.0.0.1", "169.254.169.254", "192.168.1.1", "[fe80::1]", "[fd00::1]", "100.64.0.1"] {
        world.server.serve(ROOT, [to(format!("http://{host}/latest/meta-data"))]);
        let task = world.download().await;
        assert_eq!(refusal(&task).1, ErrorCode::NotAllowed, "{host}: {}", refusal(&task).2);
    }
}

#[tokio::test]
async fn a_second_source_is_no_grace_for_redirects_of_the_first() {
    let world = World::new().await;
    let other = Server::start().await;
    Build::first().publish(&other);
    world.add_source("other", &other.url("")).await;
    world.server.serve(ROOT, [to(other.url(ROOT))]);
    let task = world.download().await;
    assert_eq!(refusal(&task).1, ErrorCode::NotAllowed, "{}", refusal(&task).2);
    assert!(other.asked(ROOT).is_empty());
}

#[tokio::test]
async fn an_index_is_held_to_the_same_rule() {
    let (world, forbidden) = (World::new().await, Forbidden::new());
    for target in forbidden.addresses() {
        world.server.serve(INDEX, [to(&target)]);
        let task = world.refresh().await;
        assert_eq!(refusal(&task).1, ErrorCode::NotAllowed, "{target}: {}", refusal(&task).2);
        forbidden.assert_untouched(&target);
    }
    assert!(world.source().await.last_error.is_some());
}

#[tokio::test]
async fn an_import_is_held_to_the_same_rule_from_its_first_address() {
    let (world, forbidden) = (World::new().await, Forbidden::new());
    world.server.serve("away", [to(format!("http://localhost:{}/x", forbidden.port()))]);
    let mut addresses = forbidden.addresses();
    addresses.push(world.server.url("away"));
    for address in addresses {
        let task = world.control.templates.import_url(&anna(), &address, Some("mine"), None, None).await.unwrap();
        let task = world.end(&task).await;
        assert_eq!(refusal(&task).1, ErrorCode::NotAllowed, "{address}: {}", refusal(&task).2);
        forbidden.assert_untouched(&address);
    }
    for address in ["file:///etc/passwd", "ftp://192.0.2.1/x", "/etc/passwd", "http://"] {
        let refused = world
            .control
            .templates
            .import_url(&anna(), address, Some("mine"), None, None)
            .await
            .unwrap_err();
        assert_eq!(refused.code(), ErrorCode::Invalid, "{address}");
        assert_eq!(refused.body.field.as_deref(), Some("url"));
    }
    assert_eq!(world.files(), Vec::<String>::new());
}
