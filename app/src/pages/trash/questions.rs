//! What the trash asks before something is lost, and the other name for a container whose own is taken.

use leptos::prelude::*;
use model::ContainerName;

use super::Bin;
use crate::components::button::Tone;
use crate::components::dialog::Dialog;
use crate::components::field::Field;
use crate::format::use_locale;
use crate::forms::problems::words;
use crate::i18n::upkeep as text;

/// Deleting for ever asks to type the name.
#[component]
pub fn PurgeQuestion(bin: Bin) -> impl IntoView {
    let locale = use_locale();
    let typed = RwSignal::new(String::new());
    let name = Memo::new(move |_| bin.asked.with(|asked| asked.as_ref().map(|entry| entry.name.clone()).unwrap_or_default()));
    clear_when_opened(bin.is_purging, typed);
    let title = Signal::derive(move || locale.fill(text::PURGE_NAMED, &[("name", &name.get())]));
    let lost = move || match bin.asked.with(|asked| asked.as_ref().and_then(|entry| entry.size_bytes)) {
        Some(bytes) => locale.fill(text::PURGE_TEXT_SIZE, &[("size", &locale.bytes(bytes))]),
        None => locale.t(text::PURGE_TEXT).to_owned(),
    };
    let off = Signal::derive(move || (typed.get().trim() != name.get()).then(|| locale.t(text::TYPE_FIRST).to_owned()));
    let confirm = move |()| {
        if let Some(entry) = bin.asked.get_untracked() {
            bin.purge(entry);
        }
    };
    view! {
        <Dialog open=bin.is_purging title=title confirm=title tone=Tone::Danger off=off on_confirm=confirm>
            <p>{lost}</p>
            <Field label=locale.fill(text::TYPE_NAME, &[("name", &name.get())]) name="confirm-name" value=typed autocomplete="off"/>
        </Dialog>
    }
}

/// Emptying asks to type the number.
#[component]
pub fn EmptyQuestion(bin: Bin) -> impl IntoView {
    let locale = use_locale();
    let typed = RwSignal::new(String::new());
    let count = Memo::new(move |_| bin.entries.with(|entries| entries.len() as u64));
    clear_when_opened(bin.is_emptying, typed);
    let title = Signal::derive(move || locale.count(text::EMPTY_N, count.get()));
    let off = Signal::derive(move || (typed.get().trim() != count.get().to_string()).then(|| locale.t(text::TYPE_FIRST).to_owned()));
    view! {
        <Dialog open=bin.is_emptying title=title confirm=title tone=Tone::Danger off=off on_confirm=move |()| bin.empty()>
            <p>{move || locale.count(text::EMPTY_TEXT_N, count.get())}</p>
            <Field label=locale.fill(text::TYPE_COUNT, &[("n", &count.get().to_string())]) name="confirm-count" value=typed autocomplete="off"/>
        </Dialog>
    }
}

/// Another name, when the own one was taken meanwhile.
#[component]
pub fn RestoreQuestion(bin: Bin) -> impl IntoView {
    let locale = use_locale();
    let typed = RwSignal::new(String::new());
    let name = Memo::new(move |_| bin.asked.with(|asked| asked.as_ref().map(|entry| entry.name.clone()).unwrap_or_default()));
    clear_when_opened(bin.is_renaming, typed);
    let title = Signal::derive(move || locale.fill(text::RESTORE_AS, &[("name", &name.get())]));
    let problem = Memo::new(move |_| {
        let typed = typed.get();
        let wrong = typed
            .trim()
            .parse::<ContainerName>()
            .err()
            .map(|error| words(locale, "name", &error.to_string()));
        wrong.or_else(|| (typed.trim() == name.get()).then(|| locale.fill(text::RESTORE_AS_TEXT, &[("name", &name.get())])))
    });
    // An empty field is no error yet, unless the name before was refused; the button says why it is off all the same.
    let shown = Signal::derive(move || if typed.with(String::is_empty) { bin.refused.get() } else { problem.get() });
    let confirm = move |()| {
        if let Some(entry) = bin.asked.get_untracked() {
            bin.restore(entry, Some(typed.get_untracked().trim().to_owned()));
        }
    };
    let confirm_label = Signal::derive(move || locale.t(text::RESTORE).to_owned());
    view! {
        <Dialog open=bin.is_renaming title=title confirm=confirm_label tone=Tone::Primary off=problem on_confirm=confirm>
            <p>{move || locale.fill(text::RESTORE_AS_TEXT, &[("name", &name.get())])}</p>
            <Field label=locale.t(text::NEW_NAME) name="as_name" value=typed error=shown autocomplete="off"/>
        </Dialog>
    }
}

/// The next question begins with an empty field. It is cleared when one opens: while it closes, its text is still read.
fn clear_when_opened(open: RwSignal<bool>, typed: RwSignal<String>) {
    Effect::new(move || {
        if open.get() {
            typed.set(String::new());
        }
    });
}
