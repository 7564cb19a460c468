//! The French of what the console says by itself: refusals, ways out, findings about the host, lines of a task's log. The
//! REST API and the command line speak English; a page in French gets its sentences through here, on the server.
//!
//! Invariant: nothing is lost. A text without French stays as it is.

use serde_json::Value;

mod catalogue;
mod pattern;

pub use catalogue::{headline, patterns};

/// Fields of an answer that hold sentences of the console.
const SAID: [&str; 10] = [
    "message",
    "hint",
    "found",
    "fix",
    "note",
    "unusable",
    "verified",
    "last_error",
    "problem",
    "reason",
];
/// Fields that hold names, of which a few are sentences: `all sources`.
const NAMED: [&str; 2] = ["target", "used_by"];

/// The text in French; as it is, where it has none.
#[must_use]
pub fn said(text: &str) -> String {
    pattern::french(text).unwrap_or_else(|| text.to_owned())
}

/// Puts every sentence of an answer into French. An error whose own words have none keeps them, behind what kind of error
/// it is.
pub fn answer(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            let kind = fields.get("code").and_then(Value::as_str).and_then(headline);
            for (name, value) in fields {
                if SAID.contains(&name.as_str()) {
                    speak(value, kind.filter(|_| name == "message"));
                } else if NAMED.contains(&name.as_str()) {
                    rename(value);
                } else {
                    answer(value);
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(answer),
        _ => {}
    }
}

/// Puts a field that holds sentences into French.
fn speak(value: &mut Value, kind: Option<&str>) {
    match value {
        Value::String(text) => match (pattern::french(text), kind) {
            (Some(french), _) => *text = french,
            (None, Some(kind)) => *text = format!("{kind}\u{202f}: {text}"),
            (None, None) => {}
        },
        other => answer(other),
    }
}

/// A single word is somebody's name.
fn rename(value: &mut Value) {
    match value {
        Value::String(text) if text.contains(' ') => *text = said(text),
        Value::Array(items) => items.iter_mut().for_each(rename),
        _ => {}
    }
}

/// The log of a task in French: each line begins with its time, and what programs printed stays as it is.
#[must_use]
pub fn log(text: &str) -> String {
    let mut french = String::with_capacity(text.len() + text.len() / 4);
    for line in text.split_inclusive('\n') {
        let (whole, end) = line.strip_suffix('\n').map_or((line, ""), |whole| (whole, "\n"));
        match whole.split_once(' ').and_then(|(at, rest)| Some((at, pattern::french(rest)?))) {
            Some((at, rest)) => french.push_str(&format!("{at} {rest}")),
            None => french.push_str(whole),
        }
        french.push_str(end);
    }
    french
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_sentence_is_put_into_french_with_what_varies_in_it() {
        assert_eq!(said("there is no container `web`"), "le conteneur `web` n’existe pas");
        assert_eq!(
            said("a container needs at least 16M of memory"),
            "il faut au moins 16M de mémoire à un conteneur"
        );
        assert_eq!(said("`berth check` lists what nobody wrote"), "`berth check` lists what nobody wrote");
    }

    #[test]
    fn a_refusal_names_its_container() {
        assert_eq!(
            said("`web` is frozen; unfreeze it first, or kill it"),
            "`web` est gelé\u{202f}; dégelez-le d’abord, ou forcez l’arrêt"
        );
        assert_eq!(said("`web` is stopped already"), "`web` est déjà arrêté");
        assert_eq!(
            said("`web` is deleting, which does not allow this"),
            "`web` est en cours de suppression, ce qui ne le permet pas"
        );
    }

    #[test]
    fn what_varies_may_be_a_sentence_itself() {
        assert_eq!(
            said("check the host: the kernel has no overlay file system"),
            "examiner l’hôte\u{202f}: le noyau n’a pas de système de fichiers overlay"
        );
        assert_eq!(
            said("mount the overlay: fsconfig(CREATE) = Permission denied (os error 13)"),
            "monter l’overlay\u{202f}: fsconfig(CREATE) = permission refusée (erreur système 13)"
        );
        assert_eq!(said("start the container: Zorg is angry"), "démarrer le conteneur\u{202f}: Zorg is angry");
        assert_eq!(
            said("unpack the archive: the entry \"a/b\" is refused: it leads out of the archive"),
            "décompresser l’archive\u{202f}: l’entrée \"a/b\" est refusée\u{202f}: elle mène hors de l’archive"
        );
        assert_eq!(said("local:tiny stands under web, db (trash)"), "local:tiny sert de base à web, db (corbeille)");
        assert_eq!(
            said("https://x.org/ cannot be read: client error (Connect): tcp connect error: Connection refused (os error 111)"),
            "https://x.org/ ne peut pas être lu\u{202f}: pas de connexion\u{202f}: échec de la connexion TCP\u{202f}: connexion refusée (erreur système 111)"
        );
    }

    #[test]
    fn a_text_that_goes_on_and_on_does_no_harm() {
        let text = "start the container: ".repeat(190);
        assert!(said(&text).starts_with("démarrer le conteneur\u{202f}: "));
        let text = "a: b; c = d, ".repeat(300);
        assert_eq!(said(&text), text);
    }

    #[test]
    fn a_name_is_not_a_sentence() {
        assert_eq!(said("there is no container `done`"), "le conteneur `done` n’existe pas");
        assert_eq!(
            said("there is a container `the kernel has it` already"),
            "un conteneur `the kernel has it` existe déjà"
        );
    }

    #[test]
    fn an_answer_is_french_where_it_speaks_and_nowhere_else() {
        let mut value = json!({
            "error": {"code": "not_found", "message": "there is no container `x`", "hint": "`berth list` names all containers"},
            "name": "it runs already",
            "checks": [{"name": "overlay", "found": "the kernel has it", "fix": null}],
            "used_by": ["web", "done", "db (trash)"],
            "tasks": [{"target": "all sources"}, {"target": "done"}],
        });
        answer(&mut value);
        assert_eq!(
            value,
            json!({
                "error": {"code": "not_found", "message": "le conteneur `x` n’existe pas", "hint": "`berth list` nomme tous les conteneurs"},
                "name": "it runs already",
                "checks": [{"name": "overlay", "found": "le noyau l’a", "fix": null}],
                "used_by": ["web", "done", "db (corbeille)"],
                "tasks": [{"target": "toutes les sources"}, {"target": "done"}],
            })
        );
    }

    #[test]
    fn an_error_in_foreign_words_says_its_kind_first() {
        let mut value = json!({"code": "conflict", "message": "zorg", "hint": "zorg"});
        answer(&mut value);
        assert_eq!(
            value,
            json!({"code": "conflict", "message": "l’état actuel ne le permet pas\u{202f}: zorg", "hint": "zorg"})
        );
    }

    #[test]
    fn lines_of_a_log_keep_their_times_and_foreign_words() {
        let text = "2026-11-24T08:00:00Z it is unpacked already\n2026-11-24T08:00:01Z I: Retrieving libc6\n2026-11-24T08:00:02Z done\n";
        assert_eq!(
            log(text),
            "2026-11-24T08:00:00Z c’est déjà décompressé\n2026-11-24T08:00:01Z I: Retrieving libc6\n2026-11-24T08:00:02Z terminé\n"
        );
    }
}
