//! What stands around every page: skip link, side rail or bottom bar, live badge, account, banners, messages.

use leptos::prelude::*;
use leptos_router::hooks::use_location;
use leptos_router::location::Location;
use model::Role;

use super::announcer::LiveRegion;
use super::browser;
use super::button::Button;
use super::icon::{Glyph, Icon};
use super::menu::Fold;
use super::toast::{ToastList, use_toasts};
use crate::api::session::{SIGN_OUT_PATH, sign_out};
use crate::format::use_locale;
use crate::forms::sign_in::sign_in_for;
use crate::i18n::Text;
use crate::i18n::account::SIGN_IN;
use crate::i18n::frame as text;
use crate::live::{Badge, use_live};
use crate::page_context::use_page;

struct Entry {
    href: &'static str,
    label: Text,
    icon: Icon,
}

const fn entry(href: &'static str, label: Text, icon: Icon) -> Entry {
    Entry { href, label, icon }
}

const RUN: &[Entry] = &[
    entry("/", text::OVERVIEW, Icon::Overview),
    entry("/containers", text::CONTAINERS, Icon::Containers),
    entry("/tasks", text::TASKS, Icon::Tasks),
];
const SUPPLY: &[Entry] = &[
    entry("/templates", text::TEMPLATES, Icon::Templates),
    entry("/sources", text::SOURCES, Icon::Sources),
];
const KEEP: &[Entry] = &[entry("/trash", text::TRASH, Icon::Trash), entry("/account", text::ACCOUNT, Icon::Account)];

/// The frame; visitors who are not signed in see the content alone.
#[component]
pub fn Frame(children: Children) -> impl IntoView {
    let locale = use_locale();
    let is_signed_in = use_page().who.is_some();
    view! {
        <a class="skip-link" href="#content">{locale.t(text::SKIP)}</a>
        <div class="frame" data-signed-in=is_signed_in.to_string()>
            {is_signed_in.then(|| view! { <Rail/><TopBar/> })}
            <main id="content" class="content" tabindex="-1">
                <Banners/>
                {children()}
            </main>
            {is_signed_in.then(|| view! { <BottomBar/> })}
        </div>
        <ToastList/>
        <LiveRegion/>
    }
}

#[component]
fn Rail() -> impl IntoView {
    let locale = use_locale();
    view! {
        <nav class="rail" aria-label=locale.t(text::NAVIGATION)>
            <a class="rail__brand" href="/"><BrandMark/><span>"Berth"</span></a>
            <Group label=text::RUN entries=RUN/>
            <Group label=text::SUPPLY entries=SUPPLY/>
            <Group label=text::KEEP entries=KEEP/>
        </nav>
    }
}

#[component]
fn BrandMark() -> impl IntoView {
    view! {
        <svg class="brand-mark" viewBox="0 0 24 24" width="24" height="24" aria-hidden="true">
            <path d="M3 9h18v7a5 5 0 0 1-5 5H8a5 5 0 0 1-5-5z"></path>
            <path d="M3 15c3-2 6 2 9 0s6 2 9 0M12 3v6"></path>
        </svg>
    }
}

#[component]
fn Group(label: Text, entries: &'static [Entry]) -> impl IntoView {
    let locale = use_locale();
    view! {
        <div class="rail__group">
            <h2>{locale.t(label)}</h2>
            <ul>{entries.iter().map(|entry| view! { <li><NavLink entry=entry/></li> }).collect_view()}</ul>
        </div>
    }
}

#[component]
fn NavLink(entry: &'static Entry) -> impl IntoView {
    let locale = use_locale();
    let path = use_location().pathname;
    let current = move || path.with(|path| is_under(path, entry.href)).then_some("page");
    view! {
        <a href=entry.href aria-current=current title=locale.t(entry.label)>
            <Glyph icon=entry.icon/>
            <span>{locale.t(entry.label)}</span>
        </a>
    }
}

fn is_under(path: &str, href: &str) -> bool {
    path == href || (href != "/" && path.strip_prefix(href).is_some_and(|rest| rest.starts_with('/')))
}

#[component]
fn TopBar() -> impl IntoView {
    let locale = use_locale();
    let page = use_page();
    let (name, role) = page.who.map(|who| (who.name.to_string(), who.role)).unwrap_or((String::new(), Role::Viewer));
    let role = locale.t(match role {
        Role::Viewer => text::VIEWER,
        Role::Operator => text::OPERATOR,
        Role::Administrator => text::ADMINISTRATOR,
    });
    let about = locale.fill(text::SIGNED_IN_AS, &[("name", &name), ("role", role)]);
    view! {
        <header class="top-bar">
            <a class="top-bar__brand" href="/"><BrandMark/><span>"Berth"</span></a>
            <LiveBadge/>
            <span class="top-bar__who" title=about><bdi>{name}</bdi></span>
            <SignOutButton/>
        </header>
    }
}

/// A plain form, so that it works without script too; with script the page is left at once.
#[component]
fn SignOutButton() -> impl IntoView {
    let locale = use_locale();
    let toasts = use_toasts();
    let action = Action::new(move |(): &()| async move {
        match sign_out().await {
            Ok(()) => browser::go_to("/sign-in"),
            Err(error) if error.code() == model::ErrorCode::SignInRequired => browser::go_to("/sign-in"),
            Err(error) => toasts.refused(&error),
        }
    });
    let submit = move |event: web_sys::SubmitEvent| {
        event.prevent_default();
        action.dispatch(());
    };
    view! {
        <form method="post" action=SIGN_OUT_PATH on:submit=submit>
            <button class="button button--quiet" title=locale.t(text::SIGN_OUT)>
                <Glyph icon=Icon::SignOut/>
                <span>{locale.t(text::SIGN_OUT)}</span>
            </button>
        </form>
    }
}

/// Live, delayed, reconnecting or paused.
#[component]
fn LiveBadge() -> impl IntoView {
    let locale = use_locale();
    let badge = use_live().badge;
    let words = move || match badge.get() {
        Badge::Connecting => locale.t(text::CONNECTING).to_owned(),
        Badge::Live => locale.t(text::LIVE).to_owned(),
        Badge::Delayed(seconds) => locale.fill(text::DELAYED, &[("time", &locale.duration(i64::from(seconds) * 1000))]),
        Badge::Reconnecting(tries) => locale.fill(text::RECONNECTING, &[("n", &tries.to_string())]),
        Badge::Paused => locale.t(text::PAUSED).to_owned(),
        Badge::SignedOut => locale.t(text::SIGNED_OUT_ELSEWHERE).to_owned(),
    };
    let state = move || match badge.get() {
        Badge::Live => "live",
        Badge::Connecting | Badge::Paused => "waiting",
        _ => "lost",
    };
    let hint = move || locale.t(if badge.get().is_fresh() { text::LIVE_HINT } else { text::OFFLINE_HINT });
    view! { <span class="live-badge" data-state=state title=hint>{words}</span> }
}

/// A new version, a lost connection, an ended session.
#[component]
fn Banners() -> impl IntoView {
    let locale = use_locale();
    let live = use_live();
    let is_long_lost = Memo::new(move |_| matches!(live.badge.get(), Badge::Reconnecting(tries) if tries >= 3));
    let Location { pathname, search, .. } = use_location();
    let banner = move |text: Text, is_danger: bool| {
        let class = if is_danger { "banner banner--danger" } else { "banner" };
        view! { <div class=class role="status"><span>{locale.t(text)}</span><Button label=locale.t(text::RELOAD).to_owned() on_press=move |()| browser::reload()/></div> }
    };
    // The page still knows who was signed in, so the way to sign in is not the router's.
    let sign_in = move || {
        let href = sign_in_for(&pathname.get(), &search.get());
        view! {
            <div class="banner banner--danger" role="status">
                <span>{locale.t(text::SIGNED_OUT_ELSEWHERE)}</span>
                <a class="button" href=href rel="external">{locale.t(SIGN_IN)}</a>
            </div>
        }
    };
    view! {
        {move || live.is_outdated.get().then(|| banner(text::NEW_VERSION, false))}
        {move || is_long_lost.get().then(|| banner(text::LOST, true))}
        {move || (live.badge.get() == Badge::SignedOut).then(sign_in)}
    }
}

/// The four most used places and the rest behind "More", on a phone.
#[component]
fn BottomBar() -> impl IntoView {
    let locale = use_locale();
    let fold = Fold::new();
    let main = || RUN.iter().chain(SUPPLY.iter().take(1));
    let rest = || SUPPLY.iter().skip(1).chain(KEEP);
    view! {
        <nav class="bottom-bar" aria-label=locale.t(text::NAVIGATION)>
            {main().map(|entry| view! { <NavLink entry=entry/> }).collect_view()}
            <details class="menu bottom-bar__more" node_ref=fold.element on:keydown=move |event| fold.on_key(&event) on:focusout=move |event| fold.on_blur(&event)>
                <summary><Glyph icon=Icon::More/><span>{locale.t(text::MORE)}</span></summary>
                <div class="menu__list" on:click=move |_| fold.close()>{rest().map(|entry| view! { <NavLink entry=entry/> }).collect_view()}</div>
            </details>
        </nav>
    }
}

#[cfg(test)]
mod tests {
    use super::is_under;

    #[test]
    fn a_page_lights_its_own_entry_only() {
        assert!(is_under("/containers/web", "/containers"));
        assert!(!is_under("/containers", "/"));
        assert!(!is_under("/containersx", "/containers"));
    }
}
