//! Every sentence of the console with its French. What varies is a `{hole}`; a `{=hole}` takes one word only, where the
//! sentence has so few words of its own that it would fit others too.

/// Declares sentences: `texts! { "it runs" => "il est en marche"; }`.
macro_rules! texts {
    ($($english:literal => $french:literal;)*) => {
        pub(super) const TEXTS: &[(&str, &str)] = &[$(($english, $french)),*];
    };
}

mod console;
mod containers;
mod firewall;
mod host;
mod model;
mod mounts;
mod net;
mod run;
mod system;
mod templates;
mod unpack;
mod web;

/// What kind of error a code of the REST API stands for.
const HEADLINES: &[(&str, &str)] = &[
    ("bad_request", "la requête est incorrecte"),
    ("sign_in_required", "personne n’est connecté"),
    ("not_allowed", "votre rôle ne permet pas cette action"),
    ("not_found", "l’objet n’existe pas"),
    ("timeout", "le délai est dépassé"),
    ("conflict", "l’état actuel ne le permet pas"),
    ("stale", "l’objet a été modifié entre-temps"),
    ("too_large", "c’est trop volumineux"),
    ("wrong_host", "l’adresse de la console n’est pas l’une des siennes"),
    ("invalid", "une valeur n’est pas possible"),
    ("slow_down", "trop de tentatives"),
    ("headers_too_large", "la requête est incorrecte"),
    ("unsupported", "cet hôte ou cette version ne sait pas le faire"),
    ("no_space", "il n’y a plus de place"),
    ("failed", "une étape a échoué sur l’hôte"),
    ("upstream", "un autre serveur n’a pas répondu comme il le devrait"),
];

/// All sentences, English first.
pub fn patterns() -> impl Iterator<Item = (&'static str, &'static str)> {
    let all = [
        console::TEXTS,
        containers::TEXTS,
        firewall::TEXTS,
        host::TEXTS,
        model::TEXTS,
        mounts::TEXTS,
        net::TEXTS,
        run::TEXTS,
        system::TEXTS,
        templates::TEXTS,
        unpack::TEXTS,
        web::TEXTS,
    ];
    all.into_iter().flatten().copied()
}

/// The kind of an error in French, by the code of the REST API.
#[must_use]
pub fn headline(code: &str) -> Option<&'static str> {
    HEADLINES.iter().find(|(known, _)| *known == code).map(|(_, french)| *french)
}
