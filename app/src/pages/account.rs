//! One's own account: password, language and theme, sessions. For administrators also all accounts and the tokens.

use leptos::prelude::*;
use model::{Permission, Role};

use crate::components::page_frame::PageFrame;
use crate::format::{Locale, use_locale};
use crate::i18n::Text;
use crate::i18n::frame::{ACCOUNT, ADMINISTRATOR, OPERATOR, SIGNED_IN_AS, VIEWER};
use crate::i18n::people as text;
use crate::page_context::{use_may, use_page};

mod agent;
mod password;
pub use password::is_whole;
mod sessions;
pub mod settings;
mod tokens;
mod users;

/// The page.
#[component]
pub fn AccountPage() -> impl IntoView {
    let locale = use_locale();
    let may_administer = use_may(Permission::Administer);
    let who = use_page().who;
    let name = who.as_ref().map(|who| who.name.to_string()).unwrap_or_default();
    let state = who.map(|who| locale.fill(SIGNED_IN_AS, &[("name", who.name.as_str()), ("role", locale.t(role(who.role)))]));
    view! {
        <PageFrame title=locale.t(ACCOUNT).to_owned() state=ViewFn::from(move || state.clone())>
            <div class="account">
                <password::PasswordForm name=name.clone()/>
                <settings::SettingsForm/>
                <sessions::Sessions/>
                {may_administer.then(|| view! { <users::Users own=name/><tokens::Tokens/> })}
            </div>
        </PageFrame>
    }
}

/// The word for a role.
fn role(role: Role) -> Text {
    match role {
        Role::Viewer => VIEWER,
        Role::Operator => OPERATOR,
        Role::Administrator => ADMINISTRATOR,
    }
}

/// All roles as choices of a form.
fn role_options(locale: Locale) -> Vec<(String, String)> {
    Role::ALL
        .into_iter()
        .map(|one| (one.as_str().to_owned(), locale.t(role(one)).to_owned()))
        .collect()
}

/// What each role may do, folded.
#[component]
fn RoleHelp() -> impl IntoView {
    let locale = use_locale();
    view! {
        <details class="fold">
            <summary>{locale.t(text::ROLES)}</summary>
            <ul class="plain-list">
                {[text::ROLE_VIEWER, text::ROLE_OPERATOR, text::ROLE_ADMINISTRATOR].map(|words| view! { <li>{locale.t(words)}</li> }).collect_view()}
            </ul>
        </details>
    }
}
