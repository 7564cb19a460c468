//! The icons, drawn inline in the text's colour: 16 px, 1.5 px lines, always beside a word or with a name on the button.

use leptos::prelude::*;

/// One of the pictures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Icon {
    Overview,
    Containers,
    Tasks,
    Templates,
    Sources,
    Trash,
    Account,
    More,
    Play,
    Stop,
    Kill,
    Restart,
    Rename,
    Freeze,
    Terminal,
    Delete,
    Plus,
    Copy,
    Search,
    Up,
    Down,
    Close,
    Warning,
    Check,
    Download,
    SignOut,
    Menu,
    Chevron,
}

impl Icon {
    fn path(self) -> &'static str {
        match self {
            Self::Overview => "M2 9.5h4l1.5-6 2.5 9 1.5-3H14",
            Self::Containers => "M2.5 5 8 2l5.5 3v6L8 14l-5.5-3zM2.5 5 8 8l5.5-3M8 8v6",
            Self::Tasks => "M2.5 4h2M2.5 8h2M2.5 12h2M7 4h6.5M7 8h6.5M7 12h6.5",
            Self::Templates => "M3 2.5h7l3 3v8H3zM10 2.5v3h3M5.5 9h5M5.5 11.5h5",
            Self::Sources => "M8 2.5v7M5 6.5l3 3 3-3M2.5 11v2.5h11V11",
            Self::Trash | Self::Delete => "M3 4.5h10M6.5 4.5v-2h3v2M4.5 4.5l.5 9h6l.5-9M7 7v4M9 7v4",
            Self::Account => "M8 8a2.75 2.75 0 1 0 0-5.5A2.75 2.75 0 0 0 8 8zM2.75 13.5c.5-2.5 2.5-3.5 5.25-3.5s4.75 1 5.25 3.5",
            Self::More => "M3.5 8h.01M8 8h.01M12.5 8h.01",
            Self::Play => "M5 3l8 5-8 5z",
            Self::Stop => "M4 4h8v8H4z",
            Self::Kill => "M8 1.5l2 4 4.5.5-3.3 3 1 4.5L8 11.3 3.8 13.5l1-4.5-3.3-3 4.5-.5z",
            Self::Restart => "M13 8a5 5 0 1 1-1.6-3.7M13 2v3h-3",
            Self::Rename => "M2.5 13.5h11M4 11V8.5l6-6 2.5 2.5-6 6z",
            Self::Freeze => "M5 3v10M11 3v10",
            Self::Terminal => "M2 3h12v10H2zM4.5 6l2 2-2 2M8.5 10.5h3",
            Self::Plus => "M8 3v10M3 8h10",
            Self::Copy => "M5.5 5.5h8v8h-8zM3 10.5h-.5v-8h8V3",
            Self::Search => "M7 11.5a4.5 4.5 0 1 0 0-9 4.5 4.5 0 0 0 0 9zM10.5 10.5l3.5 3.5",
            Self::Up => "M4 10l4-4 4 4",
            Self::Down => "M4 6l4 4 4-4",
            Self::Close => "M4 4l8 8M12 4l-8 8",
            Self::Warning => "M8 2.5l6 11H2zM8 7v3M8 11.8v.01",
            Self::Check => "M3 8.5l3.5 3.5L13 5",
            Self::Download => "M8 2.5v8M4.5 7 8 10.5 11.5 7M2.5 13.5h11",
            Self::SignOut => "M6 2.5H3v11h3M7 8h7M11 5l3 3-3 3",
            Self::Menu => "M2.5 4h11M2.5 8h11M2.5 12h11",
            Self::Chevron => "M6 4l4 4-4 4",
        }
    }
}

/// Draws one; hidden from screen readers, since its words stand beside it.
#[component]
pub fn Glyph(icon: Icon) -> impl IntoView {
    view! {
        <svg class="icon" viewBox="0 0 16 16" width="16" height="16" aria-hidden="true" focusable="false">
            <path d=icon.path()></path>
        </svg>
    }
}
