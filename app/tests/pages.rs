//! Pages as the server sends them: what they say and to whom, and the rules that every page keeps.

#![expect(clippy::unwrap_used, reason = "in a test a panic is the message")]

use axum::http::StatusCode;
use model::Role;
use model::task::TaskState;

#[path = "pages/world.rs"]
mod world;

use world::World;

/// Every page but those whose content needs a real container.
const PAGES: [&str; 14] = [
    "/",
    "/containers",
    "/containers/web",
    "/containers/web/limits",
    "/containers/web/network",
    "/containers/web/terminal",
    "/create",
    "/templates",
    "/tasks",
    "/tasks?show=running",
    "/tasks?show=failed",
    "/trash",
    "/sources",
    "/account",
];

/// The part of the document that is drawn, without scripts.
fn body(html: &str) -> String {
    let mut rest = html.split_once("<body>").map_or(html, |(_, body)| body);
    let mut out = String::new();
    while let Some((before, after)) = rest.split_once("<script") {
        out.push_str(before);
        rest = after.split_once("</script>").map_or("", |(_, after)| after);
    }
    out + rest
}

/// Tags of this name with their attributes.
fn tags<'a>(html: &'a str, name: &str) -> Vec<&'a str> {
    let open = format!("<{name}");
    let starts = html.match_indices(&open).map(|(at, _)| &html[at + open.len()..]);
    starts
        .filter(|rest| rest.starts_with([' ', '>', '/']))
        .map(|rest| rest.split('>').next().unwrap_or_default())
        .collect()
}

fn attribute<'a>(tag: &'a str, name: &str) -> Option<&'a str> {
    let value = tag.split_once(&format!(" {name}=\""))?.1;
    value.split('"').next()
}

/// One heading, names for all controls, unique ids, nothing inline.
fn check_rules(path: &str, html: &str) {
    let html = body(html);
    assert_eq!(tags(&html, "h1").len(), 1, "{path}: one h1");
    assert!(!html.contains(" style=\""), "{path}: inline style");
    for handler in [" onclick=", " onload=", " onsubmit=", " onchange=", " oninput="] {
        assert!(!html.contains(handler), "{path}: {handler}");
    }
    let labels: Vec<&str> = tags(&html, "label").into_iter().filter_map(|tag| attribute(tag, "for")).collect();
    let ids: Vec<&str> = html.split(" id=\"").skip(1).filter_map(|rest| rest.split('"').next()).collect();
    for id in &ids {
        assert_eq!(ids.iter().filter(|other| *other == id).count(), 1, "{path}: id {id} is not unique");
    }
    for control in tags(&html, "input").into_iter().chain(tags(&html, "select")) {
        let is_hidden = attribute(control, "type") == Some("hidden") || control.contains(" hidden");
        let is_wrapped = attribute(control, "type") == Some("checkbox") || attribute(control, "type") == Some("search");
        let is_named = control.contains("aria-label=") || attribute(control, "id").is_some_and(|id| labels.contains(&id));
        assert!(is_hidden || is_wrapped || is_named, "{path}: no label for {control}");
    }
}

#[tokio::test]
async fn every_page_keeps_the_rules_in_both_languages_and_for_every_role() {
    let world = World::new().await;
    let created = world.create("web").await;
    assert_eq!(created.state, TaskState::Done, "{:?}", created.error);
    world.create("old").await;
    world.delete("old").await;
    let people = [
        world.admin.clone(),
        world.sign_in("olga", Role::Operator).await,
        world.sign_in("vera", Role::Viewer).await,
    ];
    let task = format!("/tasks/{}", created.id);
    for who in &people {
        for language in ["en", "fr"] {
            for path in PAGES.into_iter().chain([task.as_str()]) {
                let (status, html) = world.page(who, path, language).await;
                assert_eq!(status, StatusCode::OK, "{path}");
                assert!(html.contains(&format!("lang=\"{language}\"")), "{path}");
                assert!(!html.contains("class=\"error-note\""), "{path}: {html}");
                check_rules(path, &html);
            }
        }
    }
}

#[tokio::test]
async fn tasks_are_listed_filtered_and_shown_with_their_log() {
    let world = World::new().await;
    let (_, html) = world.page(&world.admin, "/tasks", "en").await;
    assert!(html.contains("Nothing was done yet"));
    let task = world.create("web").await;
    let (_, html) = world.page(&world.admin, "/tasks", "en").await;
    assert!(html.contains(&format!("href=\"/tasks/{}\"", task.id)));
    let (_, html) = world.page(&world.admin, "/tasks?show=failed", "en").await;
    assert!(html.contains("No task failed") && !html.contains(&format!("href=\"/tasks/{}\"", task.id)));
    let (_, html) = world.page(&world.admin, &format!("/tasks/{}", task.id), "en").await;
    assert!(html.contains("Create: web") && html.contains("href=\"/containers/web\""));
}

#[tokio::test]
async fn what_is_absent_answers_404_in_the_same_frame() {
    let world = World::new().await;
    for path in ["/tasks/00000000-0000-4000-8000-000000000000", "/tasks/nonsense", "/no/such/page"] {
        let (status, html) = world.page(&world.admin, path, "en").await;
        assert_eq!(status, StatusCode::NOT_FOUND, "{path}");
        check_rules(path, &html);
    }
}

#[tokio::test]
async fn the_trash_offers_only_what_the_visitor_may_do() {
    let world = World::new().await;
    let viewer = world.sign_in("vera", Role::Viewer).await;
    let (_, html) = world.page(&viewer, "/trash", "en").await;
    assert!(html.contains("The trash is empty"));
    world.create("web").await;
    world.delete("web").await;
    let (_, html) = world.page(&world.admin, "/trash", "en").await;
    assert!(html.contains("action=\"/fn/trash/restore\"") && html.contains("Delete web for ever") && html.contains("Empty the trash"));
    let (_, html) = world.page(&viewer, "/trash", "en").await;
    assert!(html.contains("<bdi>web</bdi>") && !html.contains("/fn/trash/restore") && !html.contains("Delete web for ever"));
}

#[tokio::test]
async fn accounts_and_tokens_are_for_administrators() {
    let world = World::new().await;
    let viewer = world.sign_in("vera", Role::Viewer).await;
    world
        .control
        .access
        .create_token(&world.admin.caller, "ci", Role::Operator, None)
        .await
        .unwrap();
    let (_, html) = world.page(&world.admin, "/account", "en").await;
    assert!(html.contains("<bdi>vera</bdi>") && html.contains("<bdi>ci</bdi>") && html.contains("Firefox on Linux"));
    let (_, html) = world.page(&viewer, "/account", "en").await;
    assert!(html.contains("/fn/account/password") && html.contains("/fn/account/end_session"));
    assert!(!html.contains("/fn/account/add_user") && !html.contains("<bdi>ci</bdi>"));
}
