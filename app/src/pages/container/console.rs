//! The container's own console: boot messages from the first line, also before and after it runs.

use leptos::prelude::*;

use model::container::Action;

use super::Subject;
use super::terminal::SessionState;
use crate::components::button::Button;
use crate::components::page_frame::Empty;
use crate::components::terminal::{Session, TerminalPane};
use crate::format::use_locale;
use crate::i18n::containers as text;
use crate::pages::actions::refusal;

/// The tab.
#[component]
pub fn ConsoleTab(subject: Subject) -> impl IntoView {
    let (locale, summary) = (use_locale(), subject.row.summary.clone());
    let off = Memo::new(move |_| summary.with(|summary| refusal(locale, summary, Action::Console)));
    move || match off.get() {
        Some(why) => view! { <Empty title=why/> }.into_any(),
        None => view! { <Console name=subject.name.clone()/> }.into_any(),
    }
}

#[component]
fn Console(name: String) -> impl IntoView {
    let locale = use_locale();
    let session = RwSignal::new(Session::default());
    let round = RwSignal::new(0_u32);
    let is_over = move || matches!(session.get(), Session::Ended(..) | Session::Refused(..));
    let again = move |()| {
        session.set(Session::Opening);
        round.update(|round| *round += 1);
    };
    view! {
        <div class="pane-head">
            <p class="muted">{locale.t(text::CONSOLE_HINT)}</p>
            <SessionState session=session/>
            {move || is_over().then(|| view! { <Button label=locale.t(text::OPEN_AGAIN).to_owned() on_press=again/> })}
        </div>
        {move || {
            round.track();
            let socket = format!("/ws/containers/{}/console", name);
            let label = locale.fill(text::TERMINAL_LABEL, &[("name", &name)]);
            view! { <TerminalPane socket=socket label=label session=session/> }
        }}
    }
}
