//! Giving a container another name.

use leptos::prelude::*;
use leptos::task::spawn_local;
use model::ContainerName;

use crate::api::containers as functions;
use crate::bundle::use_go;
use crate::components::button::Tone;
use crate::components::dialog::Dialog;
use crate::components::field::Field;
use crate::format::use_locale;
use crate::forms::problems::broken;
use crate::i18n::reasons::answer;
use crate::i18n::{containers as text, rules};
use crate::live::{Row, use_live};

/// Another name: asked for in a dialog that stays open while the server refuses it.
#[component]
pub fn RenameQuestion(row: Row, open: RwSignal<bool>) -> impl IntoView {
    let (locale, live) = (use_locale(), use_live());
    let name = row.summary.with_untracked(|summary| summary.name.to_string());
    let (typed, refused) = (RwSignal::new(name.clone()), RwSignal::new(None::<String>));
    let go = use_go();
    begin_anew(open, typed, refused, name.clone());
    let ruled = Memo::new(move |_| {
        let problem = typed.with(|typed| typed.trim().parse::<ContainerName>().err());
        problem.map(|error| broken(locale, rules::NAME, &error.to_string()))
    });
    let (old, title) = (name.clone(), locale.fill(text::RENAME_TITLE, &[("name", &name)]));
    let off = Signal::derive(move || {
        let is_same = typed.with(|typed| typed.trim() == old);
        ruled.get().or_else(|| is_same.then(|| locale.t(text::NAME_SAME).to_owned()))
    });
    let error = Signal::derive(move || ruled.get().or_else(|| refused.get()));
    let rename = move |()| {
        let (name, go, new) = (name.clone(), go.clone(), typed.get_untracked().trim().to_owned());
        refused.set(None);
        spawn_local(async move {
            match functions::rename(name, new.clone()).await {
                Ok(summary) => {
                    live.seed_container(summary);
                    go(&format!("/containers/{new}"));
                }
                Err(error) => {
                    refused.try_set(Some(answer(locale, &error)));
                    open.try_set(true);
                }
            }
        });
    };
    view! {
        <Dialog open=open title=title confirm=locale.t(text::RENAME).to_owned() off=off tone=Tone::Primary on_confirm=rename>
            <Field label=locale.t(text::NEW_NAME) name="new-name" value=typed error=error autocomplete="off"/>
            <p class="muted">{locale.t(text::RENAME_TEXT)}</p>
        </Dialog>
    }
}

/// A refusal opens the dialog again with what was typed; who closed it and comes back finds the present name.
fn begin_anew(open: RwSignal<bool>, typed: RwSignal<String>, refused: RwSignal<Option<String>>, name: String) {
    Effect::new(move |was_open: Option<bool>| {
        let is_open = open.get();
        if !is_open {
            refused.set(None);
        } else if was_open == Some(false) && refused.with_untracked(Option::is_none) {
            typed.set(name.clone());
        }
        is_open
    });
}
