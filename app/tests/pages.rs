//! Pages as the server sends them: what they say and to whom, and the rules that every page keeps.

#![expect(clippy::unwrap_used, reason = "in a test a panic is the message")]

use axum::http::StatusCode;
use model::Role;
use model::container::UpdateRequest;
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
        // These stand inside their label.
        let is_wrapped = matches!(attribute(control, "type"), Some("checkbox" | "radio" | "search"));
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

#[tokio::test]
async fn who_comes_without_the_link_is_told_how_to_get_it_and_sends_nothing_plainly() {
    let world = World::new().await;
    for language in ["en", "fr"] {
        let (status, html) = world.stranger("/setup", language).await;
        assert_eq!(status, StatusCode::OK);
        check_rules("/setup", &html);
        let html = body(&html);
        assert!(html.contains("`berth setup-link`") && html.contains("name=\"token\""), "{language}");
        assert!(!html.contains("type=\"password\""), "{language}: nothing to fill in before there is a link");
        let (_, sign_in) = world.stranger("/sign-in?next=/tasks", language).await;
        check_rules("/sign-in", &sign_in);
        let sign_in = body(&sign_in);
        assert!(sign_in.contains("`berth setup-link`") && sign_in.contains("href=\"/setup\""), "{language}");
    }
    assert_eq!(world.redirect(&world.admin, "/setup").await.as_deref(), Some("/"));
}

/// Texts of the buttons that can be pressed, with the names of those that show an icon alone.
fn buttons(html: &str) -> Vec<String> {
    let starts = html.split("<button").skip(1).filter_map(|rest| rest.split_once('>'));
    let live = starts.filter(|(tag, _)| !tag.contains(" disabled") && !tag.contains("aria-disabled=\"true\""));
    live.map(|(tag, rest)| {
        let mut text = String::new();
        let mut inside = rest.split("</button>").next().unwrap_or_default();
        while let Some((before, after)) = inside.split_once('<') {
            text.push_str(before);
            inside = after.split_once('>').map_or("", |(_, after)| after);
        }
        format!("{} {text}{inside}", attribute(tag, "aria-label").unwrap_or_default())
    })
    .collect()
}

#[tokio::test]
async fn who_may_only_look_is_offered_nothing_to_change() {
    let world = World::new().await;
    let viewer = world.sign_in("vera", Role::Viewer).await;
    let task = world.create("web").await;
    world.create("old").await;
    world.delete("old").await;
    let own = [
        "/fn/session/sign_out",
        "/fn/session/settings",
        "/fn/account/password",
        "/fn/account/end_session",
    ];
    let deeds = [
        "Start",
        "Stop",
        "Restart",
        "Kill",
        "Freeze",
        "Unfreeze",
        "Delete",
        "Rename",
        "Create",
        "Download",
        "Remove",
        "Restore",
        "Empty",
        "Refresh",
        "Add",
        "Apply",
        "Cancel task",
        "Bring in",
        "Upload",
        "New terminal",
    ];
    for path in PAGES.into_iter().chain([format!("/tasks/{}", task.id).as_str(), "/containers/web/console"]) {
        let (status, html) = world.page(&viewer, path, "en").await;
        assert_eq!(status, StatusCode::OK, "{path}");
        let html = body(&html);
        // The limits are shown in a form whose fields are all off.
        let is_locked = tags(&html, "fieldset").iter().any(|tag| tag.contains("disabled"));
        for form in tags(&html, "form") {
            let is_harmless = attribute(form, "method") == Some("get") || attribute(form, "action").is_some_and(|action| own.contains(&action));
            assert!(is_harmless || is_locked, "{path}: {form}");
        }
        for button in buttons(&html) {
            assert!(!deeds.iter().any(|deed| button.contains(deed)), "{path}: {button}");
        }
        assert!(!html.contains("href=\"/create"), "{path}");
    }
    // The same walk finds what others may press.
    let (_, html) = world.page(&world.admin, "/containers/web", "en").await;
    assert!(buttons(&body(&html)).iter().any(|button| button.contains("Start")));
}

#[tokio::test]
async fn who_is_signed_in_goes_on_from_the_sign_in_page() {
    let world = World::new().await;
    for (path, target) in [("/sign-in?next=/tasks", "/tasks"), ("/sign-in?next=//evil", "/"), ("/sign-in", "/")] {
        assert_eq!(world.redirect(&world.admin, path).await.as_deref(), Some(target), "{path}");
    }
    let (status, html) = world.stranger("/sign-in", "fr").await;
    assert_eq!(status, StatusCode::OK);
    assert!(html.contains("name=\"language\"") && html.contains("name=\"theme\"") && html.contains(">Français<"));
}

#[tokio::test]
async fn a_source_that_could_not_be_read_needs_attention_until_it_can() {
    let world = World::new().await;
    let told = "The last refresh of the source “images” failed.";
    let mut sources = world.control.templates.sources(&world.admin.caller).await.unwrap();
    let images = sources.iter_mut().find(|source| source.name.as_str() == "images").unwrap();
    for (error, is_told) in [(None, false), (Some("no route to host"), true), (None, false)] {
        images.last_error = error.map(str::to_owned);
        world.control.facts.change().put("source/images", &*images).commit().await.unwrap().unwrap();
        let (_, html) = world.page(&world.admin, "/", "en").await;
        let html = body(&html);
        let way = html.split_once(told).map(|(_, rest)| rest.split("</li>").next().unwrap_or_default());
        assert_eq!(way.is_some_and(|way| way.contains("href=\"/sources\"")), is_told, "{error:?}");
    }
}

#[tokio::test]
async fn graphs_of_what_does_not_run_promise_no_values() {
    let world = World::new().await;
    world.create("web").await;
    for (language, told, promise) in [
        ("en", "Values come when it runs", "First values in 2 s"),
        ("fr", "Les valeurs viennent quand il tourne", "Premières valeurs dans 2 s"),
    ] {
        let (_, html) = world.page(&world.admin, "/containers/web", language).await;
        let html = body(&html);
        assert!(html.contains(told) && !html.contains(promise), "{html}");
    }
}

#[tokio::test]
async fn the_first_answer_holds_the_newest_values() {
    let world = World::new().await;
    world.create("web").await;
    world.start("web").await;
    world.sample("web").await;
    let (_, html) = world.page(&world.admin, "/containers", "en").await;
    let memory = html.split("cell-memory number").nth(2).and_then(|cell| cell.split("</td>").next()).unwrap();
    assert!(memory.contains("iB"), "{memory}");
    let (_, html) = world.page(&world.admin, "/containers/web", "en").await;
    let meters = body(&html);
    let memory = meters.split("class=\"waterline\"").nth(2).and_then(|part| part.split("</div>").next()).unwrap();
    assert!(memory.contains("iB") && !memory.contains("Not known yet"), "{memory}");
}

#[tokio::test]
async fn limits_hold_at_once_and_a_field_says_when_it_does_not() {
    let world = World::new().await;
    world.create("web").await;
    world.start("web").await;
    for (language, at_once, later) in [
        ("en", "Changes hold at once.", "at next start"),
        ("fr", "Les modifications prennent effet immédiatement.", "au prochain démarrage"),
    ] {
        let (_, html) = world.page(&world.admin, "/containers/web/limits", language).await;
        assert_eq!((html.matches(at_once).count(), html.matches(later).count()), (1, 0), "{html}");
    }
    world.crash("web").await;
    let set = vec![("memory".into(), "256M".into())];
    let update = world.control.containers.update(&world.admin.caller, "web", UpdateRequest { set }, None);
    update.await.unwrap();
    let (_, html) = world.page(&world.admin, "/containers/web/limits", "en").await;
    let html = body(&html);
    let fields: Vec<&str> = html
        .split("class=\"limit-field\"")
        .skip(1)
        .filter(|field| field.contains("at next start"))
        .collect();
    assert_eq!(fields.len(), 1, "{html}");
    assert!(fields.iter().all(|field| field.contains("id=\"memory\"")), "{fields:?}");
}

#[tokio::test]
async fn a_creation_that_failed_is_told_at_the_address_of_the_container() {
    let world = World::new().await;
    let task = world.create_from("web", "local:absent").await;
    assert_eq!(task.state, TaskState::Failed);
    let (status, html) = world.page(&world.admin, "/containers/web", "en").await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    let why = task.error.unwrap().message;
    assert!(
        html.contains("The container was not created") && html.contains(why.split('`').next().unwrap()),
        "{html}"
    );
    let (_, html) = world.page(&world.admin, "/containers/other", "en").await;
    assert!(!html.contains("The container was not created"));
}

#[tokio::test]
async fn french_pages_give_reasons_in_french() {
    let world = World::new().await;
    world.create("web").await;
    let (_, html) = world.page(&world.admin, "/containers/web", "fr").await;
    assert!(html.contains("Le conteneur est arrêté") && !html.contains("the container is stopped"));
    let (_, html) = world.page(&world.admin, "/sources", "fr").await;
    assert!(html.contains("(dans une version ultérieure)"));
}

#[tokio::test]
async fn forms_that_need_the_script_wait_for_it() {
    let world = World::new().await;
    for (path, html) in [
        ("/setup", world.stranger("/setup", "en").await.1),
        ("/create", world.page(&world.admin, "/create", "en").await.1),
        ("/templates", world.page(&world.admin, "/templates", "en").await.1),
    ] {
        let html = body(&html);
        let sends = tags(&html, "button").into_iter().filter(|tag| attribute(tag, "type") == Some("submit"));
        // The rail's buttons are forms of their own, which need no script.
        let own = sends.filter(|tag| tag.contains("disabled")).count();
        assert!(own > 0, "{path}");
        for form in tags(&html, "form") {
            assert_eq!(
                attribute(form, "method"),
                Some("post"),
                "{path}: {form} would write what was typed into the address"
            );
        }
    }
}

#[tokio::test]
async fn templates_are_narrowed_by_the_address_and_say_why_none_is_left() {
    let world = World::new().await;
    let row = "<bdi>local:test</bdi>";
    for (query, is_shown) in [
        ("", true),
        ("?q=debian+amd64", true),
        ("?q=alpine", false),
        ("?source=local&here=true", true),
        ("?source=images", false),
    ] {
        let (status, html) = world.page(&world.admin, &format!("/templates{query}"), "en").await;
        assert_eq!(status, StatusCode::OK);
        assert_eq!(html.contains(row), is_shown, "{query}");
        assert_eq!(html.contains("Clear filters"), !is_shown, "{query}");
    }
    let viewer = world.sign_in("vera", Role::Viewer).await;
    let (_, html) = world.page(&viewer, "/templates", "en").await;
    assert!(html.contains(row) && !html.contains("Bring in a template") && !html.contains("Remove ") && !html.contains("href=\"/create?"));
}

#[tokio::test]
async fn the_create_form_begins_with_everything_filled_in() {
    let world = World::new().await;
    let (_, html) = world.page(&world.admin, "/create?template=local%3Atest", "en").await;
    let html = body(&html);
    let name = tags(&html, "input").into_iter().find(|tag| attribute(tag, "id") == Some("name")).unwrap();
    assert!(attribute(name, "value").is_some_and(|name| !name.is_empty()), "{name}");
    assert!(html.contains("<bdi>local:test</bdi>") && html.contains("is here already"));
    assert!(html.contains("berth create ") && html.contains("--template local:test") && html.contains("--start"));
    assert!(html.contains("POST /api/v1/containers"));
}
