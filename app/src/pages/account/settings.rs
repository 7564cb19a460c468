//! Language and theme, stored with the account and in a cookie for the pages before sign-in.

use leptos::prelude::*;
use leptos::task::spawn_local;

use crate::api::session;
use crate::components::browser;
use crate::components::button::Tone;
use crate::components::field::Choice;
use crate::components::toast::use_toasts;
use crate::format::{Locale, use_locale};
use crate::i18n::frame::{LANGUAGE, SAVE, THEME};
use crate::i18n::people as text;
use crate::page_context::{LANGUAGE_COOKIE, THEME_COOKIE, use_page};

/// The languages, each by its own name.
#[must_use]
pub fn languages() -> [(String, String); 2] {
    [("en", text::ENGLISH.en), ("fr", text::FRENCH.fr)].map(|(key, name)| (key.to_owned(), name.to_owned()))
}

/// The themes, the system's choice first.
#[must_use]
pub fn themes(locale: Locale) -> Vec<(String, String)> {
    let option = |value: &str, words| (value.to_owned(), locale.t(words).to_owned());
    vec![option("", text::AS_SYSTEM), option("light", text::LIGHT), option("dark", text::DARK)]
}

/// The form. The page is loaded anew with what was chosen, since the server writes all texts.
#[component]
pub fn SettingsForm() -> impl IntoView {
    let (locale, toasts) = (use_locale(), use_toasts());
    let stored = use_page().who.map(|who| who.settings).unwrap_or_default();
    let (language, theme) = (
        RwSignal::new(stored.language.unwrap_or_default()),
        RwSignal::new(stored.theme.unwrap_or_default()),
    );
    let mut languages = vec![(String::new(), locale.t(text::AS_BROWSER).to_owned())];
    languages.extend(self::languages());
    let submit = move |event: web_sys::SubmitEvent| {
        event.prevent_default();
        let (language, theme) = (language.get_untracked(), theme.get_untracked());
        spawn_local(async move {
            match session::change_settings(Some(language.clone()), Some(theme.clone())).await {
                Ok(()) => {
                    browser::set_cookie(LANGUAGE_COOKIE, &language);
                    browser::set_cookie(THEME_COOKIE, &theme);
                    browser::reload();
                }
                Err(error) => toasts.refused(&error),
            }
        });
    };
    view! {
        <section class="card">
            <h2>{locale.t(text::SETTINGS)}</h2>
            <form class="form" method="post" action="/fn/session/settings" on:submit=submit>
                <div class="fields">
                    <Choice label=locale.t(LANGUAGE) name="language" value=language options=languages/>
                    <Choice label=locale.t(THEME) name="theme" value=theme options=themes(locale)/>
                </div>
                <button class=Tone::Plain.class()>{locale.t(SAVE)}</button>
            </form>
        </section>
    }
}
