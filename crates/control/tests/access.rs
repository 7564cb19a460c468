//! Who comes in and who does not: set-up, sign-in, sessions, accounts, tokens, the audit log.

#![expect(clippy::unwrap_used, reason = "in a test a panic is the message")]

use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::time::Duration;

use control::access::{Access, SignedIn};
use control::caller::Caller;
use control::clock::Clock;
use control::store::Facts;
use control::store::memory::Memory;
use control::{Error, Result};
use model::access::{Role, UserSettings};
use model::{ErrorCode, Permission, Timestamp};

const PASSWORD: &str = "correct horse battery";
const HOME: &str = "192.0.2.7";
const DAY: Duration = Duration::from_secs(86_400);

struct Rig {
    access: Arc<Access>,
    facts: Facts,
    clock: Clock,
    dir: tempfile::TempDir,
}

impl Rig {
    async fn new() -> Self {
        let clock = Clock::manual(Timestamp::from_ms(1_800_000_000_000));
        let (facts, dir) = (Facts(Arc::new(Memory::new(clock.clone()))), tempfile::tempdir().unwrap());
        let access = Access::open(facts.clone(), clock.clone(), dir.path()).await.unwrap();
        Self { access, facts, clock, dir }
    }

    /// With the first account, `anna`, signed in.
    async fn set_up() -> (Self, SignedIn) {
        let rig = Self::new().await;
        let token = rig.access.setup_token(&Caller::berth()).await.unwrap();
        let anna = rig.access.set_up(&token, "anna", PASSWORD, HOME, "Firefox").await.unwrap();
        (rig, anna)
    }

    async fn sign_in(&self, name: &str, password: &str) -> Result<SignedIn> {
        self.access.sign_in(name, password, HOME, "Firefox").await
    }

    async fn caller(&self, signed_in: &SignedIn) -> Result<Caller> {
        self.access.caller_of_session(&signed_in.secret, HOME).await
    }

    async fn all_text(&self) -> String {
        self.access.flush().await;
        let (_, entries) = self.facts.0.range(String::new(), None).await.unwrap();
        entries
            .iter()
            .map(|entry| format!("{} {}\n", entry.key, String::from_utf8_lossy(&entry.value)))
            .collect()
    }
}

fn code<T>(result: Result<T>) -> ErrorCode {
    result.err().expect("a refusal").code()
}

fn root() -> Caller {
    Caller::socket("root")
}

#[tokio::test]
async fn the_first_account_is_made_once_and_signed_in() {
    let rig = Rig::new().await;
    assert!(rig.access.needs_setup().await.unwrap());
    let token = rig.access.setup_token(&Caller::berth()).await.unwrap();
    let file = rig.dir.path().join("setup-token");
    assert_eq!(std::fs::read_to_string(&file).unwrap().trim(), token);
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    // With the right token a mistake in a field is told, and the token stays good.
    assert_eq!(code(rig.access.set_up(&token, "Anna", PASSWORD, HOME, "x").await), ErrorCode::Invalid);
    assert_eq!(code(rig.access.set_up(&token, "anna", "short", HOME, "x").await), ErrorCode::Invalid);
    let anna = rig.access.set_up(&token, "anna", PASSWORD, HOME, "Firefox\n").await.unwrap();
    assert_eq!((anna.who.name.as_str(), anna.who.role), ("anna", Role::Administrator));
    assert_eq!(rig.caller(&anna).await.unwrap(), anna.caller);
    assert!(!rig.access.needs_setup().await.unwrap());
    assert!(!file.exists());
    assert_eq!(code(rig.access.setup_token(&root()).await), ErrorCode::Conflict);
}

#[tokio::test]
async fn a_wrong_used_old_or_expired_token_gets_one_answer_before_and_after() {
    let rig = Rig::new().await;
    let refusal = async |token: &str| rig.access.set_up(token, "eve", PASSWORD, HOME, "x").await.unwrap_err();
    let mut answers: Vec<Error> = vec![refusal("").await, refusal("wrong").await];
    let old = rig.access.setup_token(&root()).await.unwrap();
    let late = rig.access.setup_token(&root()).await.unwrap();
    answers.push(refusal(&old).await);
    rig.clock.advance(Duration::from_secs(30 * 60));
    answers.push(refusal(&late).await);
    let good = rig.access.setup_token(&root()).await.unwrap();
    rig.access.set_up(&good, "anna", PASSWORD, HOME, "x").await.unwrap();
    answers.push(refusal(&good).await);
    answers.push(refusal("wrong").await);
    assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:?}");
    assert_eq!(answers[0].code(), ErrorCode::NotAllowed);
}

#[tokio::test]
async fn two_at_once_with_the_same_link_make_one_account() {
    let rig = Rig::new().await;
    let token = rig.access.setup_token(&root()).await.unwrap();
    let (one, two) = tokio::join!(
        rig.access.set_up(&token, "anna", PASSWORD, HOME, "x"),
        rig.access.set_up(&token, "bert", PASSWORD, HOME, "x")
    );
    assert_eq!(usize::from(one.is_ok()) + usize::from(two.is_ok()), 1);
    assert_eq!(code(if one.is_ok() { two } else { one }), ErrorCode::NotAllowed);
    assert_eq!(rig.access.users(&root()).await.unwrap().len(), 1);
}

#[tokio::test]
async fn only_the_right_password_signs_in_and_the_answer_does_not_tell_names() {
    let (rig, _) = Rig::set_up().await;
    let wrong = rig.sign_in("anna", "wrong horse battery").await.unwrap_err();
    assert_eq!(wrong.code(), ErrorCode::SignInRequired);
    for (name, password) in [("nobody", PASSWORD), ("Not a name!", PASSWORD), ("anna", "short"), ("", "")] {
        assert_eq!(rig.sign_in(name, password).await.unwrap_err(), wrong, "{name}");
    }
    let again = rig.sign_in("anna", PASSWORD).await.unwrap();
    assert_eq!(rig.caller(&again).await.unwrap().role, Some(Role::Administrator));
}

#[tokio::test]
async fn guessing_is_slowed_down_but_the_owner_is_not_locked_out() {
    let (rig, _) = Rig::set_up().await;
    rig.sign_in("anna", PASSWORD).await.unwrap();
    let mut slowed = 0;
    for n in 0..40 {
        let from = format!("198.51.100.{n}");
        let refused = rig.access.sign_in("anna", "short", &from, "x").await.unwrap_err();
        slowed += usize::from(refused.code() == ErrorCode::SlowDown);
    }
    assert!(slowed >= 25, "{slowed} of 40 were slowed down");
    rig.sign_in("anna", PASSWORD).await.unwrap();
    // The owner from a new place waits, at most half a minute.
    let refused = rig.access.sign_in("anna", PASSWORD, "203.0.113.5", "x").await.unwrap_err();
    assert_eq!(refused.code(), ErrorCode::SlowDown);
    assert!(refused.body.hint.unwrap().contains("try again in"));
    rig.clock.advance(Duration::from_secs(30));
    rig.access.sign_in("anna", PASSWORD, "203.0.113.5", "x").await.unwrap();
}

#[tokio::test]
async fn a_session_ends_after_a_day_idle_and_thirty_days_in_all() {
    let (rig, anna) = Rig::set_up().await;
    let mut ended = rig.access.ended();
    rig.clock.advance(DAY - Duration::from_secs(1));
    rig.caller(&anna).await.unwrap();
    for _ in 0..60 {
        rig.clock.advance(Duration::from_secs(17 * 3_600));
        if rig.caller(&anna).await.is_err() {
            break;
        }
    }
    let age = rig.clock.now().ms - 1_800_000_000_000;
    assert!((30 * 86_400_000..31 * 86_400_000).contains(&age), "{age}");
    assert_eq!(Some(ended.try_recv().unwrap()), anna.caller.session);
    let idle = rig.sign_in("anna", PASSWORD).await.unwrap();
    rig.clock.advance(DAY);
    rig.access.sweep().await.unwrap();
    assert_eq!(Some(ended.try_recv().unwrap()), idle.caller.session);
    assert_eq!(code(rig.caller(&idle).await), ErrorCode::SignInRequired);
}

#[tokio::test]
async fn looking_does_not_write_more_than_once_in_five_minutes() {
    let (rig, anna) = Rig::set_up().await;
    rig.access.flush().await;
    let rev = async || rig.facts.0.identity().await.unwrap().2;
    let before = rev().await;
    for _ in 0..299 {
        rig.clock.advance(Duration::from_secs(1));
        rig.caller(&anna).await.unwrap();
    }
    assert_eq!(rev().await, before);
    rig.clock.advance(Duration::from_secs(1));
    rig.caller(&anna).await.unwrap();
    assert_eq!(rev().await, before + 1);
    let listed = rig.access.sessions(&anna.caller).await.unwrap();
    assert_eq!(listed[0].last_seen_at, rig.clock.now());
}

#[tokio::test]
async fn people_see_and_end_their_own_sessions_only() {
    let (rig, anna) = Rig::set_up().await;
    rig.access.add_user(&anna.caller, "bert", Role::Viewer, PASSWORD).await.unwrap();
    let bert = rig.sign_in("bert", PASSWORD).await.unwrap();
    let other = rig.sign_in("anna", PASSWORD).await.unwrap();
    let own = rig.access.sessions(&other.caller).await.unwrap();
    assert_eq!(own.len(), 2);
    let current: Vec<&str> = own.iter().filter(|session| session.current).map(|session| session.id.as_str()).collect();
    assert_eq!(current, [other.caller.session.as_deref().unwrap()]);
    let foreign = rig.access.sessions(&bert.caller).await.unwrap()[0].id.clone();
    assert_eq!(code(rig.access.end_session(&anna.caller, &foreign).await), ErrorCode::NotFound);
    assert_eq!(code(rig.access.end_session(&anna.caller, "no such").await), ErrorCode::NotFound);
    let mut ended = rig.access.ended();
    rig.access.end_session(&anna.caller, other.caller.session.as_deref().unwrap()).await.unwrap();
    assert_eq!(Some(ended.try_recv().unwrap()), other.caller.session);
    assert_eq!(code(rig.caller(&other).await), ErrorCode::SignInRequired);
    rig.access.sign_out(&anna.caller).await.unwrap();
    assert_eq!(code(rig.caller(&anna).await), ErrorCode::SignInRequired);
    rig.caller(&bert).await.unwrap();
}

#[tokio::test]
async fn an_account_has_a_bounded_number_of_sessions() {
    let (rig, anna) = Rig::set_up().await;
    for _ in 0..51 {
        rig.clock.advance(Duration::from_secs(1));
        rig.sign_in("anna", PASSWORD).await.unwrap();
    }
    assert_eq!(
        rig.access
            .sessions(&Caller {
                session: None,
                ..anna.caller.clone()
            })
            .await
            .unwrap()
            .len(),
        50
    );
    assert_eq!(code(rig.caller(&anna).await), ErrorCode::SignInRequired);
}

#[tokio::test]
async fn a_new_password_needs_the_old_one_and_ends_every_session() {
    let (rig, anna) = Rig::set_up().await;
    let other = rig.sign_in("anna", PASSWORD).await.unwrap();
    let new = "another good password";
    let set = async |caller: &Caller, old: Option<&str>, new: &str| rig.access.set_password(caller, "anna", old, new).await;
    assert_eq!(set(&anna.caller, None, new).await.unwrap_err().body.field.as_deref(), Some("old"));
    assert_eq!(
        set(&anna.caller, Some("wrong horse battery"), new).await.unwrap_err().body.field.as_deref(),
        Some("old")
    );
    assert_eq!(set(&anna.caller, Some(PASSWORD), "short").await.unwrap_err().body.field.as_deref(), Some("new"));
    rig.caller(&anna).await.unwrap();
    set(&anna.caller, Some(PASSWORD), new).await.unwrap();
    assert_eq!(code(rig.caller(&anna).await), ErrorCode::SignInRequired);
    assert_eq!(code(rig.caller(&other).await), ErrorCode::SignInRequired);
    assert_eq!(code(rig.sign_in("anna", PASSWORD).await), ErrorCode::SignInRequired);
    rig.sign_in("anna", new).await.unwrap();
    // Root at the host needs no old one.
    set(&root(), None, PASSWORD).await.unwrap();
    rig.sign_in("anna", PASSWORD).await.unwrap();
}

#[tokio::test]
async fn a_viewer_sets_nobodys_password_but_their_own() {
    let (rig, anna) = Rig::set_up().await;
    rig.access.add_user(&anna.caller, "bert", Role::Viewer, PASSWORD).await.unwrap();
    let bert = rig.sign_in("bert", PASSWORD).await.unwrap().caller;
    assert_eq!(
        code(rig.access.set_password(&bert, "anna", Some(PASSWORD), "another good password").await),
        ErrorCode::NotAllowed
    );
    assert_eq!(
        code(rig.access.set_password(&bert, "nobody", Some(PASSWORD), "another good password").await),
        ErrorCode::NotAllowed
    );
    rig.access.set_password(&bert, "bert", Some(PASSWORD), "another good password").await.unwrap();
}

#[tokio::test]
async fn the_last_administrator_stays() {
    let (rig, anna) = Rig::set_up().await;
    let refused = rig.access.remove_user(&anna.caller, "anna").await.unwrap_err();
    assert!(refused.to_string().contains("last administrator"), "{refused}");
    assert_eq!(code(rig.access.set_role(&root(), "anna", Role::Viewer).await), ErrorCode::Conflict);
    rig.access.add_user(&anna.caller, "cleo", Role::Administrator, PASSWORD).await.unwrap();
    assert_eq!(
        code(rig.access.add_user(&anna.caller, "cleo", Role::Viewer, PASSWORD).await),
        ErrorCode::Conflict
    );
    let cleo = rig.sign_in("cleo", PASSWORD).await.unwrap();
    // Both at the same moment: one must stay.
    let (one, two) = tokio::join!(rig.access.remove_user(&cleo.caller, "anna"), rig.access.remove_user(&anna.caller, "cleo"));
    assert_eq!(usize::from(one.is_ok()) + usize::from(two.is_ok()), 1);
    assert_eq!(rig.access.users(&root()).await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_removed_account_or_a_changed_role_ends_what_was_open() {
    let (rig, anna) = Rig::set_up().await;
    rig.access.add_user(&anna.caller, "bert", Role::Operator, PASSWORD).await.unwrap();
    let bert = rig.sign_in("bert", PASSWORD).await.unwrap();
    rig.access.set_role(&anna.caller, "bert", Role::Viewer).await.unwrap();
    assert_eq!(code(rig.caller(&bert).await), ErrorCode::SignInRequired);
    let bert = rig.sign_in("bert", PASSWORD).await.unwrap();
    assert_eq!(bert.who.role, Role::Viewer);
    rig.access.remove_user(&anna.caller, "bert").await.unwrap();
    assert_eq!(code(rig.caller(&bert).await), ErrorCode::SignInRequired);
    assert_eq!(code(rig.access.remove_user(&anna.caller, "bert").await), ErrorCode::NotFound);
    // The same name again is somebody else.
    rig.access.add_user(&anna.caller, "bert", Role::Administrator, PASSWORD).await.unwrap();
    assert_eq!(code(rig.access.who_am_i(&bert.caller).await), ErrorCode::SignInRequired);
}

#[tokio::test]
async fn tokens_carry_a_role_and_end() {
    let (rig, anna) = Rig::set_up().await;
    let until = rig.clock.now().plus_ms(3_600_000);
    let made = rig.access.create_token(&anna.caller, "ci", Role::Operator, Some(until)).await.unwrap();
    assert!(made.token.starts_with("bth_") && made.token.len() == 47, "{}", made.token);
    let caller = rig.access.caller_of_token(&made.token, HOME).await.unwrap();
    assert_eq!((caller.name.as_str(), caller.role, caller.user), ("token:ci", Some(Role::Operator), None));
    assert_eq!(rig.access.who_am_i(&caller).await.unwrap().name.as_str(), "ci");
    assert_eq!(rig.access.tokens(&root()).await.unwrap()[0].last_used_at, Some(rig.clock.now()));
    assert_eq!(code(rig.access.create_token(&anna.caller, "ci", Role::Viewer, None).await), ErrorCode::Conflict);
    assert_eq!(
        code(rig.access.create_token(&anna.caller, "past", Role::Viewer, Some(rig.clock.now())).await),
        ErrorCode::Invalid
    );
    assert_eq!(
        code(rig.access.create_token(&caller, "more", Role::Administrator, None).await),
        ErrorCode::NotAllowed
    );
    assert_eq!(code(rig.access.caller_of_token("bth_wrong", HOME).await), ErrorCode::SignInRequired);
    rig.clock.advance(Duration::from_secs(3_600));
    assert_eq!(code(rig.access.caller_of_token(&made.token, HOME).await), ErrorCode::SignInRequired);

    let lasting = rig.access.create_token(&anna.caller, "forever", Role::Viewer, None).await.unwrap();
    let caller = rig.access.caller_of_token(&lasting.token, HOME).await.unwrap();
    let mut ended = rig.access.ended();
    rig.access.sign_out(&caller).await.unwrap();
    rig.access.caller_of_token(&lasting.token, HOME).await.unwrap();
    rig.access.revoke_token(&anna.caller, "forever").await.unwrap();
    assert_eq!(Some(ended.try_recv().unwrap()), caller.session);
    assert_eq!(code(rig.access.caller_of_token(&lasting.token, HOME).await), ErrorCode::SignInRequired);
    assert_eq!(code(rig.access.revoke_token(&anna.caller, "forever").await), ErrorCode::NotFound);
}

#[tokio::test]
async fn settings_are_kept_and_checked() {
    let (rig, anna) = Rig::set_up().await;
    let settings = UserSettings {
        language: Some("fr".into()),
        theme: Some("dark".into()),
    };
    rig.access.change_settings(&anna.caller, settings.clone()).await.unwrap();
    assert_eq!(rig.access.who_am_i(&anna.caller).await.unwrap().settings, settings);
    let bad = UserSettings {
        language: Some("xx".into()),
        theme: None,
    };
    assert_eq!(code(rig.access.change_settings(&anna.caller, bad).await), ErrorCode::Invalid);
    assert_eq!(code(rig.access.change_settings(&root(), settings).await), ErrorCode::BadRequest);
    assert_eq!(rig.access.who_am_i(&root()).await.unwrap().name.as_str(), "root");
}

#[tokio::test]
async fn the_store_and_the_audit_log_hold_no_secret() {
    let (rig, anna) = Rig::set_up().await;
    let token = rig.access.create_token(&anna.caller, "ci", Role::Viewer, None).await.unwrap().token;
    rig.sign_in("anna", "wrong horse battery").await.unwrap_err();
    rig.access.record(&anna.caller, "container.start", "web", "", true).await;
    let text = rig.all_text().await;
    for secret in [PASSWORD, "wrong horse", &token, &anna.secret] {
        assert!(!text.contains(secret), "{text}");
    }
    let audit = rig.access.audit(&anna.caller, None).await.unwrap();
    let told: Vec<(&str, &str, bool)> = audit.iter().rev().map(|row| (row.action.as_str(), row.user.as_str(), row.ok)).collect();
    let expected = [
        ("setup", "anna", true),
        ("token.create", "anna", true),
        ("session.begin", "anna", false),
        ("container.start", "anna", true),
    ];
    assert_eq!(told, expected);
    assert_eq!(audit[0].from, HOME);
}

#[tokio::test]
async fn every_operation_asks_for_its_permission() {
    let (rig, anna) = Rig::set_up().await;
    rig.access.add_user(&anna.caller, "bert", Role::Operator, PASSWORD).await.unwrap();
    let bert = rig.sign_in("bert", PASSWORD).await.unwrap().caller;
    let nobody = Caller::anonymous(HOME);
    for (caller, refusal) in [(&bert, ErrorCode::NotAllowed), (&nobody, ErrorCode::SignInRequired)] {
        assert!(caller.require(Permission::Administer).is_err());
        let access = &rig.access;
        assert_eq!(code(access.setup_token(caller).await), refusal);
        assert_eq!(code(access.users(caller).await), refusal);
        assert_eq!(code(access.add_user(caller, "eve", Role::Viewer, PASSWORD).await), refusal);
        assert_eq!(code(access.remove_user(caller, "anna").await), refusal);
        assert_eq!(code(access.set_role(caller, "bert", Role::Administrator).await), refusal);
        assert_eq!(code(access.tokens(caller).await), refusal);
        assert_eq!(code(access.create_token(caller, "x", Role::Viewer, None).await), refusal);
        assert_eq!(code(access.revoke_token(caller, "x").await), refusal);
        assert_eq!(code(access.audit(caller, None).await), refusal);
    }
    for refused in [
        rig.access.sign_out(&nobody).await,
        rig.access.who_am_i(&nobody).await.map(drop),
        rig.access.sessions(&nobody).await.map(drop),
        rig.access.end_session(&nobody, "x").await,
        rig.access.change_settings(&nobody, UserSettings::default()).await,
        rig.access.set_password(&nobody, "anna", None, PASSWORD).await,
    ] {
        assert_eq!(code(refused), ErrorCode::SignInRequired);
    }
}

#[tokio::test]
async fn an_account_made_at_the_host_closes_the_set_up() {
    let rig = Rig::new().await;
    let token = rig.access.setup_token(&root()).await.unwrap();
    rig.access.add_user(&root(), "anna", Role::Administrator, PASSWORD).await.unwrap();
    assert!(!rig.access.needs_setup().await.unwrap());
    assert_eq!(code(rig.access.set_up(&token, "eve", PASSWORD, HOME, "x").await), ErrorCode::NotAllowed);
    rig.sign_in("anna", PASSWORD).await.unwrap();
}
