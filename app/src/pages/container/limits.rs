//! The limits, editable while it runs. Each field says what is used now, if it runs, and when its value holds only from the
//! next start on; when somebody else changed the container meanwhile, what was typed stays and the other fields take the
//! newest values.

use leptos::prelude::*;
use model::container::UpdateRequest;
use model::{ErrorCode, Permission};

use super::Subject;
use crate::api::containers as functions;
use crate::api::detail::Detail;
use crate::components::browser;
use crate::components::button::Tone;
use crate::components::chart::data::Unit;
use crate::components::error_note::ErrorNote;
use crate::components::field::Field;
use crate::components::toast::use_toasts;
use crate::format::use_locale;
use crate::forms::limits::{KEYS, changes, error_of, placeholder, text_of, value_of};
use crate::forms::problems;
use crate::i18n::Text;
use crate::i18n::containers as text;
use crate::i18n::frame::NOT_ALLOWED;
use crate::live::metrics::{Feed, FeedData};
use crate::live::{Live, use_live};
use crate::map::Map;
use crate::page_context::use_may;

/// What the form holds.
#[derive(Clone, Copy)]
struct Form {
    typed: StoredValue<Map<&'static str, RwSignal<String>>>,
    /// What the fields were filled from: a field that differs from it was touched.
    filled: StoredValue<model::Limits>,
    /// What the server said about a field.
    refused: RwSignal<Option<(String, String)>>,
    /// Somebody else was faster.
    is_stale: RwSignal<bool>,
    failed: RwSignal<Option<crate::api::ApiError>>,
}

impl Form {
    fn new(limits: &model::Limits) -> Self {
        let field = |key: &&'static str| (*key, RwSignal::new(text_of(limits, key)));
        Self {
            typed: StoredValue::new(KEYS.iter().map(field).collect()),
            filled: StoredValue::new(limits.clone()),
            refused: RwSignal::new(None),
            is_stale: RwSignal::new(false),
            failed: RwSignal::new(None),
        }
    }

    fn field(self, key: &str) -> RwSignal<String> {
        self.typed.with_value(|typed| typed.get(key).copied()).unwrap_or_default()
    }

    /// Fills the fields that nobody touched from newer limits; else they would be taken for changes.
    fn follow(self, limits: &model::Limits) {
        for key in KEYS {
            let (field, filled) = (self.field(key), self.filled.with_value(|filled| text_of(filled, key)));
            let newest = text_of(limits, key);
            if filled != newest && field.with_untracked(|typed| typed.trim() == filled) {
                field.set(newest);
            }
        }
        self.filled.set_value(limits.clone());
    }

    /// Fields that were applied show their value as it is kept, unless they were typed into meanwhile.
    fn settle(self, set: &[(String, String)], limits: &model::Limits) {
        // The tab may have been left meanwhile.
        let fields = self.typed.try_with_value(Clone::clone).unwrap_or_default();
        for (key, sent) in set {
            let field = fields
                .get(key.as_str())
                .filter(|field| field.try_with_untracked(|typed| value_of(typed) == *sent) == Some(true));
            if let Some(field) = field {
                field.try_set(text_of(limits, key));
            }
        }
    }
}

/// The tab.
#[component]
pub fn LimitsTab(subject: Subject) -> impl IntoView {
    let (locale, toasts, live) = (use_locale(), use_toasts(), use_live());
    let may = use_may(Permission::Containers);
    let form = Form::new(&subject.detail.with_untracked(|detail| detail.summary.limits.clone()));
    let (feed, is_stopped) = (live.feed(&subject.name), super::summary::is_off(&subject.row));
    Effect::new(move || form.follow(&subject.detail.with(|detail| detail.summary.limits.clone())));
    let changed = Memo::new(move |_| subject.detail.with(|detail| changes(&detail.summary.limits, |key| form.field(key).get())));
    let has_error = move || changed.with(|changed| changed.iter().any(|(key, _)| error_of(key, &form.field(key).get()).is_some()));
    let apply = Action::new(move |set: &Vec<(String, String)>| apply(live, subject.name.clone(), subject.detail, form, set.clone()));
    Effect::new(move || {
        if apply.value().get() == Some(true) {
            toasts.done(locale.t(text::APPLIED));
        }
    });
    let submit = move |event: web_sys::SubmitEvent| {
        event.prevent_default();
        let set = changed.get_untracked();
        if !set.is_empty() {
            apply.dispatch(set);
        }
    };
    browser::ask_before_leaving(move || changed.with_untracked(|changed| !changed.is_empty()));
    let is_off = move || changed.with(Vec::is_empty) || has_error() || apply.pending().get();
    let note = move || changed.with(Vec::is_empty).then(|| locale.t(text::NO_CHANGE));
    view! {
        <form class="card form" method="post" on:submit=submit>
            <Problems form=form/>
            <p class="muted">{locale.t(text::LIMITS_HOLD_AT_ONCE)}" "{locale.t(text::LIMIT_EMPTY)}</p>
            <fieldset class="fields plain" disabled=!may aria-label=locale.t(text::RESOURCES)>
                {KEYS.iter().map(|key| view! { <LimitField key=key form=form detail=subject.detail feed=feed.clone() is_stopped=is_stopped/> }).collect_view()}
            </fieldset>
            {if may {
                view! {
                    <div class="row">
                        <button class=Tone::Primary.class() disabled=is_off>{locale.t(text::APPLY)}</button>
                        <span class="muted">{note}</span>
                    </div>
                }
                .into_any()
            } else {
                view! { <p class="muted">{locale.t(NOT_ALLOWED)}</p> }.into_any()
            }}
        </form>
    }
}

/// Sends the changes; true when they were applied.
async fn apply(live: Live, name: String, detail: RwSignal<Detail>, form: Form, set: Vec<(String, String)>) -> bool {
    form.refused.set(None);
    form.failed.set(None);
    form.is_stale.set(false);
    let etag = detail.with_untracked(|detail| detail.etag.clone());
    let answer = functions::update(name.clone(), UpdateRequest { set: set.clone() }, etag).await;
    let (code, body) = match answer {
        Ok(fresh) => {
            // The event stream brings the same a moment later; the page need not wait for it.
            live.seed_container(fresh.summary.clone());
            form.settle(&set, &fresh.summary.limits);
            detail.try_set(fresh);
            return true;
        }
        Err(error) if error.code() == ErrorCode::Stale => {
            form.is_stale.set(true);
            if let Ok(fresh) = functions::show(name).await {
                detail.try_set(fresh.detail);
            }
            return false;
        }
        Err(error) => (error.code(), error),
    };
    match body.body() {
        refused if code == ErrorCode::Invalid && refused.field.is_some() => {
            form.refused.set(Some((refused.field.unwrap_or_default(), refused.message)));
        }
        _ => form.failed.set(Some(body)),
    }
    false
}

#[component]
fn Problems(form: Form) -> impl IntoView {
    let locale = use_locale();
    view! {
        {move || form.is_stale.get().then(|| view! {
            <div class="notice" data-tone="progress" role="alert">
                <p><strong>{locale.t(text::STALE_TITLE)}</strong></p>
                <p>{locale.t(text::STALE_HINT)}</p>
            </div>
        })}
        {move || form.failed.get().map(|error| view! { <ErrorNote error=error title=text::NOT_APPLIED/> })}
    }
}

/// Label and hint of a limit.
#[must_use]
pub fn words(key: &str) -> (Text, Text) {
    match key {
        "cpus" => (text::LIMIT_CPUS, text::LIMIT_CPUS_EXAMPLE),
        "cpu-weight" => (text::LIMIT_WEIGHT, text::LIMIT_WEIGHT_HINT),
        "cpuset" => (text::LIMIT_CPUSET, text::LIMIT_CPUSET_HINT),
        "memory" => (text::LIMIT_MEMORY, text::LIMIT_MEMORY_EXAMPLE),
        "memory-high" => (text::LIMIT_HIGH, text::LIMIT_HIGH_HINT),
        "swap" => (text::LIMIT_SWAP, text::LIMIT_SWAP_HINT),
        "pids" => (text::LIMIT_PIDS, text::LIMIT_PIDS_HINT),
        "io-read" => (text::LIMIT_IO_READ, text::LIMIT_IO_HINT),
        "io-write" => (text::LIMIT_IO_WRITE, text::LIMIT_IO_HINT),
        _ => (text::LIMIT_DISK, text::LIMIT_DISK_HINT),
    }
}

/// The series whose newest value stands beside the field.
fn series(key: &str) -> Option<(&'static str, Unit)> {
    match key {
        "cpus" => Some(("cpu.usage", Unit::Cores)),
        "memory" => Some(("memory.used", Unit::Bytes)),
        "swap" => Some(("memory.swap", Unit::Bytes)),
        "pids" => Some(("pids.current", Unit::Count)),
        "io-read" => Some(("io.read", Unit::Rate)),
        "io-write" => Some(("io.write", Unit::Rate)),
        _ => None,
    }
}

/// The newest value beside a field. What is stopped uses nothing, whatever it used last.
fn used_now(feed: &FeedData, key: &str, is_stopped: bool) -> Option<(f64, Unit)> {
    let (name, unit) = series(key).filter(|_| !is_stopped)?;
    Some((feed.newest(name)?, unit))
}

#[component]
fn LimitField(key: &'static str, form: Form, detail: RwSignal<Detail>, feed: Feed, is_stopped: Memo<bool>) -> impl IntoView {
    let locale = use_locale();
    let (label, hint) = words(key);
    let value = form.field(key);
    let error = Signal::derive(move || {
        let refused = form.refused.get().filter(|(field, _)| field == key).map(|(_, message)| message);
        refused.or_else(|| error_of(key, &value.get()).map(|message| problems::words(locale, key, &message)))
    });
    let now = move || {
        let is_stopped = is_stopped.get();
        let (value, unit) = feed.with(|feed| used_now(feed, key, is_stopped))?;
        Some(locale.fill(text::USING, &[("value", &unit.write(locale, value))]))
    };
    let is_pending = move || detail.with(|detail| detail.pending.iter().any(|other| other == key));
    let later = move || is_pending().then(|| view! { <span class="tag">{locale.t(text::APPLIES_NEXT)}</span> });
    view! {
        <div class="limit-field">
            <Field label=locale.t(label) name=key value=value hint=locale.t(hint) error=error autocomplete="off" placeholder=placeholder(key).unwrap_or_default()/>
            <p class="limit-field__now number muted">
                {later}" "{now}
            </p>
        </div>
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_stopped_uses_nothing_now() {
        let mut feed = FeedData::default();
        feed.begin_with([("pids.current".to_owned(), 7.0)].into());
        assert_eq!(used_now(&feed, "pids", false), Some((7.0, Unit::Count)));
        assert_eq!(used_now(&feed, "pids", true), None);
        assert_eq!(used_now(&feed, "cpu-weight", false), None);
    }
}
