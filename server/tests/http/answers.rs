//! Answers are what the OpenAPI document says, and errors have one shape.

use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::console::{Console, PASSWORD};

#[tokio::test]
async fn answers_are_what_the_document_says() {
    let console = Console::start();
    console.set_up().await;
    let cookie = console.cookie().await;
    let token = console.token(&cookie, "administrator").await;
    console.fill(&token).await;
    let document = console.json(&token, "/api/v1/openapi.json").await;
    assert!(document["openapi"].as_str().unwrap().starts_with("3.1"));
    let mut checked = 0;
    for (path, item) in document["paths"].as_object().unwrap() {
        let schema = &item["get"]["responses"]["200"]["content"]["application/json"]["schema"];
        if schema.is_null() || path.contains("{ref}") || path.contains("{id}") {
            continue;
        }
        let mut whole = document.clone();
        whole.as_object_mut().unwrap().extend(schema.as_object().unwrap().clone());
        let validator = jsonschema::validator_for(&whole).unwrap();
        // A token has no session and no account of its own.
        let request = console.ask("GET", &path.replace("{name}", "web"));
        let answer = request.header("cookie", &cookie).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK, "{path}");
        let value: Value = answer.json().await.unwrap();
        let problems: Vec<String> = validator.iter_errors(&value).map(|error| format!("{}: {error}", error.instance_path)).collect();
        assert!(problems.is_empty(), "{path}: {problems:?}\n{value}");
        checked += 1;
    }
    assert!(checked >= 12, "only {checked} answers were compared");
}

#[tokio::test]
async fn errors_have_one_shape_and_name_the_field() {
    let console = Console::start();
    console.set_up().await;
    let token = console.token(&console.cookie().await, "administrator").await;
    let refused = |body: Value| console.ask("POST", "/api/v1/containers").bearer_auth(&token).json(&body).send();
    let answer = refused(json!({ "name": "1234", "template": "local:x" })).await.unwrap();
    assert_eq!(answer.status(), StatusCode::UNPROCESSABLE_ENTITY);
    let body: Value = answer.json().await.unwrap();
    assert_eq!(body["error"]["field"], "name", "{body}");
    let absent = console.ask("GET", "/api/v1/containers/absent").bearer_auth(&token).send().await.unwrap();
    assert_eq!(absent.status(), StatusCode::NOT_FOUND);
    assert_eq!(absent.json::<Value>().await.unwrap()["error"]["code"], "not_found");
    let nowhere = console.ask("GET", "/api/v1/nowhere").bearer_auth(&token).send().await.unwrap();
    assert_eq!(nowhere.status(), StatusCode::NOT_FOUND);
    assert!(nowhere.json::<Value>().await.unwrap()["error"]["message"].is_string());
}

#[tokio::test]
async fn a_password_is_refused_by_the_name_of_its_field() {
    let (console, token) = Console::start_with_token().await;
    let cookie = console.cookie().await;
    let put = |body: Value| {
        let request = console.ask("PUT", "/api/v1/users/anna/password").header("cookie", &cookie);
        request.header("origin", &console.url).json(&body).send()
    };
    let short = put(json!({ "old": PASSWORD, "password": "short" })).await.unwrap();
    assert_eq!(short.status(), StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(short.json::<Value>().await.unwrap()["error"]["field"], "password");
    let wrong = put(json!({ "old": "not it at all", "password": "long enough it is" })).await.unwrap();
    assert_eq!(wrong.json::<Value>().await.unwrap()["error"]["field"], "old");
    let role = console
        .ask("PATCH", "/api/v1/users/anna")
        .bearer_auth(&token)
        .json(&json!({ "role": "viewer" }))
        .send()
        .await
        .unwrap();
    assert_eq!(role.status(), StatusCode::CONFLICT, "the last administrator");
}

#[tokio::test]
async fn a_role_is_changed() {
    let (console, token) = Console::start_with_token().await;
    console.add_user(&console.cookie().await, "bert", "viewer").await;
    let request = console.ask("PATCH", "/api/v1/users/bert").bearer_auth(&token);
    let answer = request.json(&json!({ "role": "operator" })).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    let user: Value = answer.json().await.unwrap();
    assert_eq!((&user["name"], &user["role"]), (&json!("bert"), &json!("operator")));
    let listed = console.json(&token, "/api/v1/users").await;
    assert!(listed.as_array().unwrap().contains(&user), "{listed}");
}
