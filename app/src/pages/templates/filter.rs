//! What of the templates is shown: words, a source, only what is here. All of it stands in the URL.

use std::str::FromStr;

use crate::format::lower_case;
use leptos::prelude::*;
use leptos_router::NavigateOptions;
use leptos_router::hooks::query_signal_with_options;
use model::template::Template;

use crate::components::field::{Choice, Field, Tick};
use crate::format::use_locale;
use crate::i18n::supply as text;

/// Whether every word stands somewhere in what is shown of a template.
#[must_use]
pub fn matches(template: &Template, words: &str) -> bool {
    let shown = lower_case(&format!(
        "{} {} {} {} {} {}",
        template.name, template.os, template.release, template.variant, template.arch, template.reference
    ));
    lower_case(words).split_whitespace().all(|word| shown.contains(word))
}

/// The four ways to narrow the list, and to widen it.
#[derive(Clone, Copy, Debug)]
pub struct Filter {
    words: RwSignal<String>,
    /// Empty = all of them.
    source: RwSignal<String>,
    is_here: RwSignal<bool>,
    /// Also what this host cannot use.
    pub unusable: RwSignal<bool>,
}

impl Filter {
    /// As the URL says, and from then on both ways.
    pub fn new() -> Self {
        Self {
            words: in_url("q"),
            source: in_url("source"),
            is_here: in_url("here"),
            unusable: in_url("unusable"),
        }
    }

    /// Whether the list is narrowed.
    pub fn is_narrow(self) -> bool {
        self.is_here.get() || self.source.with(|source| !source.is_empty()) || self.words.with(|words| !words.trim().is_empty())
    }

    /// Shows everything again.
    pub fn clear(self) {
        self.words.set(String::new());
        self.source.set(String::new());
        self.is_here.set(false);
    }

    /// Whether a template is shown.
    pub fn keeps(self, template: &Template) -> bool {
        let is_of_source = self
            .source
            .with(|source| source.is_empty() || template.reference.source().as_str() == source.as_str());
        is_of_source && (template.downloaded || !self.is_here.get()) && self.words.with(|words| matches(template, words))
    }

    /// What was asked for, in words.
    pub fn shown(self) -> String {
        let (words, source) = (self.words.get(), self.source.get());
        [words.trim(), source.as_str()]
            .into_iter()
            .filter(|part| !part.is_empty())
            .collect::<Vec<_>>()
            .join(" · ")
    }
}

/// A value that lives in the URL as well; its default is left out there.
fn in_url<T>(key: &'static str) -> RwSignal<T>
where
    T: Clone + Default + PartialEq + FromStr + ToString + Send + Sync + 'static,
{
    let quiet = NavigateOptions {
        replace: true,
        scroll: false,
        ..NavigateOptions::default()
    };
    let (found, write) = query_signal_with_options::<T>(key, quiet);
    let value = RwSignal::new(found.get_untracked().unwrap_or_default());
    Effect::new(move |before: Option<T>| {
        let now = value.get();
        if before.is_some_and(|before| before != now) {
            write.set(Some(now.clone()).filter(|now| *now != T::default()));
        }
        now
    });
    // A link to this page with another filter. While the person uses the filter, the URL follows it and not the other way round.
    Effect::new(move |before: Option<T>| {
        let now = found.get().unwrap_or_default();
        if before.is_some_and(|before| before != now) && value.with_untracked(|value| *value != now) && !is_in_use() {
            value.set(now.clone());
        }
        now
    });
    value
}

fn is_in_use() -> bool {
    let focused = document().active_element();
    focused.is_some_and(|element| element.closest(".template-filter").is_ok_and(|filter| filter.is_some()))
}

#[component]
pub fn FilterBar(filter: Filter, sources: Vec<String>) -> impl IntoView {
    let locale = use_locale();
    let all = (String::new(), locale.t(text::ALL_SOURCES).to_owned());
    let choices = Signal::derive(move || {
        // One that the URL names is shown even where it offers nothing.
        let asked = filter.source.get();
        let is_new = !asked.is_empty() && !sources.contains(&asked);
        let named = sources.iter().cloned().chain(is_new.then_some(asked));
        std::iter::once(all.clone()).chain(named.map(|name| (name.clone(), name))).collect::<Vec<_>>()
    });
    view! {
        <div class="template-filter" role="search">
            <Field label=locale.t(text::SEARCH) name="q" kind="search" value=filter.words hint=locale.t(text::SEARCH_HINT) autocomplete="off"/>
            <Choice label=locale.t(text::SOURCE) name="source" value=filter.source options=choices/>
            <Tick label=locale.t(text::ONLY_HERE) name="here" value=filter.is_here/>
            <Tick label=locale.t(text::ALSO_UNUSABLE) name="unusable" value=filter.unusable/>
        </div>
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn template(downloaded: bool) -> Template {
        serde_json::from_value(serde_json::json!({
            "ref": "images:debian/13", "name": "Debian 13", "os": "Debian", "release": "trixie", "arch": "amd64", "variant": "default",
            "size_bytes": 1, "digest": null, "downloaded": downloaded, "newer_available": false, "created_at": null
        }))
        .unwrap()
    }

    #[test]
    fn every_word_must_fit_somewhere() {
        let template = template(false);
        assert!(matches(&template, "deb TRIXIE") && matches(&template, ""));
        assert!(!matches(&template, "debian arm64"));
    }

    #[test]
    fn each_way_narrows_and_clearing_widens() {
        let owner = Owner::new();
        owner.set();
        let filter = Filter {
            words: RwSignal::new("trixie".to_owned()),
            source: RwSignal::new("images".to_owned()),
            is_here: RwSignal::new(true),
            unusable: RwSignal::new(false),
        };
        assert!(filter.keeps(&template(true)) && !filter.keeps(&template(false)));
        assert_eq!(filter.shown(), "trixie · images");
        filter.source.set("mirror".to_owned());
        assert!(!filter.keeps(&template(true)));
        filter.clear();
        assert!(!filter.is_narrow() && filter.keeps(&template(false)));
    }
}
