//! A page in French gets what the console says in French: by server function, REST, stream, socket and the first paint.
//! Programs get English.

use std::time::Duration;

use reqwest::{RequestBuilder, StatusCode};
use serde_json::{Value, json};

use crate::console::Console;

const ENGLISH: &str = "127.0.0.1 is an address of this host or its private network, which Berth does not fetch from";
const FRENCH: &str = "127.0.0.1 est une adresse de cet hôte ou de son réseau privé, où Berth ne va rien chercher";

/// A task that failed for a reason in words, as a program is told it.
async fn failed(console: &Console, token: &str) -> Value {
    let import = console.ask("POST", "/api/v1/templates/import").bearer_auth(token);
    let begun = import.json(&json!({"url": "http://127.0.0.1:9/x.tar", "name": "far"})).send().await.unwrap();
    let task = console.end_of(token, begun).await;
    assert_eq!(task["error"]["message"], ENGLISH, "{task}");
    task
}

fn of_a_page(request: RequestBuilder, console: &Console, cookie: &str) -> RequestBuilder {
    request.header("cookie", format!("{cookie}; berth_language=fr")).header("origin", &console.url)
}

fn form(request: RequestBuilder, fields: String) -> RequestBuilder {
    request.header("content-type", "application/x-www-form-urlencoded").body(fields)
}

async fn answer(request: RequestBuilder) -> (StatusCode, Option<String>, Value) {
    let answer = request.send().await.unwrap();
    let language = answer.headers().get("content-language").map(|value| value.to_str().unwrap().to_owned());
    (answer.status(), language, answer.json().await.unwrap())
}

#[tokio::test]
async fn a_page_reads_french_and_a_program_english() {
    let (console, token) = Console::start_with_token().await;
    let cookie = console.cookie().await;
    let page = |method: &str, path: &str| of_a_page(console.ask(method, path), &console, &cookie);

    let (status, language, refused) = answer(page("GET", "/api/v1/containers/absent")).await;
    assert_eq!((status, language.as_deref()), (StatusCode::NOT_FOUND, Some("fr")));
    assert_eq!(refused["error"]["message"], "le conteneur `absent` n’existe pas");
    assert_eq!(refused["error"]["hint"], "`berth list` nomme tous les conteneurs");
    let (_, _, host) = answer(page("GET", "/api/v1/host")).await;
    assert_eq!(
        host["checks"][1],
        json!({"name": "overlay", "level": "good", "found": "le noyau l’a", "fix": null})
    );
    let (_, _, host) = answer(page("POST", "/fn/host/report")).await;
    assert_eq!(host["checks"][1]["found"], "le noyau l’a");
    // What no handler sees speaks too.
    let (_, _, nowhere) = answer(page("POST", "/fn/nowhere")).await;
    assert_eq!(nowhere["error"]["message"], "il n’y a rien à cette adresse");

    for path in ["/api/v1/containers/absent", "/api/v1/host"] {
        let request = console.ask("GET", path).header("accept-language", "fr").bearer_auth(&token);
        let (_, language, said) = answer(request).await;
        assert_eq!(language, None);
        let said = said.to_string();
        assert!(said.contains("there is no container `absent`") || said.contains("the kernel has it"), "{said}");
    }
    let (_, language, refused) = answer(console.ask("GET", "/api/v1/containers/absent").header("cookie", &cookie)).await;
    assert_eq!(language.as_deref(), Some("en"));
    assert_eq!(refused["error"]["message"], "there is no container `absent`");
}

#[tokio::test]
async fn the_language_of_the_account_comes_first() {
    let (console, _) = Console::start_with_token().await;
    let cookie = console.cookie().await;
    let settings = console
        .ask("POST", "/fn/session/settings")
        .header("cookie", &cookie)
        .header("origin", &console.url);
    let stored = form(settings, "language=fr&theme=".into()).send().await.unwrap();
    assert_eq!(stored.status(), StatusCode::OK);
    let request = console.ask("GET", "/api/v1/containers/absent");
    let (_, language, _) = answer(request.header("cookie", format!("{cookie}; berth_language=en"))).await;
    assert_eq!(language.as_deref(), Some("fr"));
}

#[tokio::test]
async fn the_first_paint_and_a_form_without_script_are_french() {
    let (console, token) = Console::start_with_token().await;
    let cookie = console.cookie().await;
    let task = failed(&console, &token).await;
    let path = format!("/tasks/{}", task["id"].as_str().unwrap());
    let page = of_a_page(console.ask("GET", &path), &console, &cookie).send().await.unwrap();
    let page = page.text().await.unwrap();
    assert!(page.contains(FRENCH) && !page.contains(ENGLISH), "{page}");

    let post = console
        .ask("POST", "/fn/session/sign_in")
        .header("cookie", "berth_language=fr")
        .header("origin", &console.url)
        .header("referer", format!("{}/sign-in", console.url))
        .header("accept", "text/html");
    // The client follows to where it is sent back.
    let page = form(post, "name=anna&password=wrong".into()).send().await.unwrap();
    assert!(page.url().as_str().contains("__err="), "{}", page.url());
    let page = page.text().await.unwrap();
    assert!(!page.contains("the name or the password"), "{page}");
    // The client brings no cookie where it is sent; the refusal is in the address, in French.
    assert!(page.contains("le nom ou le mot de passe est incorrect"), "{page}");
}

#[tokio::test]
async fn a_stream_and_the_log_of_a_task_are_french() {
    let (console, token) = Console::start_with_token().await;
    let cookie = console.cookie().await;
    let page = |method: &str, path: &str| of_a_page(console.ask(method, path), &console, &cookie);
    let mut stream = page("GET", "/api/v1/events").send().await.unwrap();
    assert_eq!(stream.headers()["content-language"], "fr");

    let task = failed(&console, &token).await;
    let mut heard = String::new();
    let until_told = async {
        while !heard.contains(FRENCH) {
            heard += &String::from_utf8_lossy(&stream.chunk().await.unwrap().unwrap());
        }
    };
    tokio::time::timeout(Duration::from_secs(10), until_told)
        .await
        .unwrap_or_else(|_| panic!("{heard}"));
    assert!(heard.contains("un administrateur peut ajouter le serveur comme source"), "{heard}");
    assert!(!heard.contains(ENGLISH), "{heard}");

    let log = form(page("POST", "/fn/tasks/log"), format!("id={}", task["id"].as_str().unwrap()));
    let log = log.send().await.unwrap();
    let log: String = log.json().await.unwrap();
    assert!(log.contains(FRENCH) && log.trim_end().ends_with("échec"), "{log}");
}
