//! A button. When it is off it says why, in the tooltip and to screen readers.

use leptos::prelude::*;

use super::icon::{Glyph, Icon};

/// How much it asks for attention.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Tone {
    /// At most one per view.
    Primary,
    #[default]
    Plain,
    /// Outlined; filled in the dialog that confirms.
    Danger,
    /// Text only.
    Quiet,
}

impl Tone {
    /// The class of a button or a link that looks like one.
    #[must_use]
    pub fn class(self) -> &'static str {
        match self {
            Self::Primary => "button button--primary",
            Self::Plain => "button",
            Self::Danger => "button button--danger",
            Self::Quiet => "button button--quiet",
        }
    }
}

/// A button with a word, and perhaps an icon before it.
#[component]
pub fn Button(
    #[prop(into)] label: Signal<String>,
    #[prop(optional)] tone: Tone,
    #[prop(optional, into)] icon: Option<Icon>,
    /// Why it is off; `None` = it is on.
    #[prop(optional, into)]
    off: Signal<Option<String>>,
    /// Shows the icon alone; the word becomes its name.
    #[prop(optional)]
    compact: bool,
    #[prop(into)] on_press: Callback<()>,
) -> impl IntoView {
    let press = move |_| {
        if off.with_untracked(Option::is_none) {
            on_press.run(());
        }
    };
    let name = move || compact.then(|| label.get());
    let title = move || off.get().or_else(|| compact.then(|| label.get()));
    view! {
        <button type="button" class=tone.class() class:button--compact=compact on:click=press aria-label=name title=title
            aria-disabled=move || off.with(Option::is_some).then_some("true")
            aria-description=move || off.get()>
            {icon.map(|icon| view! { <Glyph icon=icon/> })}
            {(!compact).then(|| view! { <span>{move || label.get()}</span> })}
        </button>
    }
}

/// A link that looks like a button.
#[component]
pub fn LinkButton(
    #[prop(into)] href: String,
    #[prop(into)] label: String,
    #[prop(optional)] tone: Tone,
    #[prop(optional, into)] icon: Option<Icon>,
) -> impl IntoView {
    view! {
        <a href=href class=tone.class()>
            {icon.map(|icon| view! { <Glyph icon=icon/> })}
            <span>{label}</span>
        </a>
    }
}
