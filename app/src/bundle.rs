//! The browser half is built once per bundle: pages that people move between often share one build, and a page loads no
//! code of the others. Within a bundle the browser moves from page to page by itself; a page of another one is loaded
//! from the server, which draws it whole.

use leptos::prelude::*;
use leptos_router::NavigateOptions;
use leptos_router::hooks::{use_location, use_navigate};

use crate::api::IS_SERVER;
use crate::components::browser;

/// Pages that share one build of the browser half. A build has those whose cargo features are on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bundle {
    /// The list of containers, and one container.
    Containers,
    /// Terminal and console of a container, which load a library of their own.
    Terminal,
    /// Create, templates and sources.
    Supply,
    /// Overview, tasks, trash, account, and what comes before signing in.
    Overview,
}

impl Bundle {
    /// Its name in the build's manifest.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Containers => "containers",
            Self::Terminal => "terminal",
            Self::Supply => "supply",
            Self::Overview => "overview",
        }
    }

    /// Whether this build has its pages. The server has them all.
    #[must_use]
    pub const fn is_here(self) -> bool {
        IS_SERVER
            || match self {
                Self::Containers => cfg!(feature = "containers"),
                Self::Terminal => cfg!(feature = "terminal"),
                Self::Supply => cfg!(feature = "supply"),
                Self::Overview => cfg!(feature = "overview"),
            }
    }

    /// The bundle of the page at this path, with or without a query.
    #[must_use]
    pub fn of_path(path: &str) -> Self {
        let path = path.split(['?', '#']).next().unwrap_or_default();
        let mut parts = path.trim_start_matches('/').split('/');
        match (parts.next().unwrap_or_default(), parts.nth(1).unwrap_or_default()) {
            ("containers", "terminal" | "console") => Self::Terminal,
            ("containers", _) => Self::Containers,
            ("create" | "templates" | "sources", _) => Self::Supply,
            _ => Self::Overview,
        }
    }
}

/// A page of a bundle. Inlined, so that a page of another bundle leaves nothing in this build.
#[inline(always)]
pub fn page_of(bundle: Bundle, page: impl FnOnce() -> AnyView) -> AnyView {
    if bundle.is_here() { page() } else { view! { <Elsewhere/> }.into_any() }
}

/// Loads the address from the server, which sends the build that has its page.
#[component]
fn Elsewhere() -> impl IntoView {
    let location = use_location();
    Effect::new(move || browser::replace_with(&format!("{}{}", location.pathname.get_untracked(), location.search.get_untracked())));
}

/// Goes to a page as a link to it would.
pub fn use_go() -> impl Fn(&str) + Clone + 'static {
    let navigate = use_navigate();
    move |path: &str| {
        if Bundle::of_path(path).is_here() {
            navigate(path, NavigateOptions::default());
        } else {
            browser::go_to(path);
        }
    }
}

/// Leaves links to pages of other bundles to the browser, before the router takes them.
pub fn leave_foreign_links_to_browser() {
    browser::before_each_click_on_a_link(|link| {
        if !Bundle::of_path(&link.pathname()).is_here() {
            // The router keeps its hands off such a link.
            link.set_rel("external");
        }
    });
}

#[cfg(test)]
mod tests {
    use super::Bundle;

    #[test]
    fn every_path_has_its_bundle() {
        for (path, bundle) in [
            ("/", Bundle::Overview),
            ("/?welcome", Bundle::Overview),
            ("/create?template=images:debian/13", Bundle::Supply),
            ("/containers", Bundle::Containers),
            ("/containers?q=state:running", Bundle::Containers),
            ("/containers/web", Bundle::Containers),
            ("/containers/terminal", Bundle::Containers),
            ("/containers/web/limits", Bundle::Containers),
            ("/containers/web/terminal", Bundle::Terminal),
            ("/containers/web/console?x=1", Bundle::Terminal),
            ("/tasks/3f", Bundle::Overview),
            ("/sign-in?next=/containers", Bundle::Overview),
            ("/nowhere", Bundle::Overview),
        ] {
            assert_eq!(Bundle::of_path(path), bundle, "{path}");
        }
    }
}
