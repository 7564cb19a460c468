//! The folded part of the form: limits, network, access, behaviour.

use leptos::prelude::*;
use model::engine::HostReport;

use super::form::{Form, NIC};
use crate::components::field::{Choice, Field, Tick};
use crate::format::use_locale;
use crate::forms::limits::{KEYS, placeholder};
use crate::i18n::Text;
use crate::i18n::supply as text;
use crate::pages::container::limits;

#[component]
pub fn Advanced(form: Form, host: StoredValue<HostReport>) -> impl IntoView {
    let locale = use_locale();
    let has_disk_limits = host.with_value(|host| host.disk_limits);
    let limit = move |key: &'static str| {
        let (label, hint) = limits::words(key);
        view! {
            <Field label=locale.t(label) name=key value=form.field(key) hint=locale.t(hint) error=form.error_of(key) autocomplete="off"
                placeholder=placeholder(key).unwrap_or_default()/>
        }
    };
    let toggled = move |event: web_sys::ToggleEvent| form.is_unfolded.set(event_target::<web_sys::HtmlDetailsElement>(&event).open());
    view! {
        <details class="card fold" open=move || form.is_unfolded.get() on:toggle=toggled>
            <summary>{locale.t(text::ADVANCED)}</summary>
            <fieldset class="group">
                <legend>{locale.t(text::LIMITS)}</legend>
                <div class="fields">{KEYS.into_iter().filter(|key| *key != "disk" || has_disk_limits).map(limit).collect_view()}</div>
            </fieldset>
            <Network form=form/>
            <Access form=form/>
            <Behaviour form=form/>
        </details>
    }
}

fn options(locale: crate::format::Locale, pairs: &[(&str, Text)]) -> Vec<(String, String)> {
    pairs.iter().map(|(key, words)| ((*key).to_owned(), locale.t(*words).to_owned())).collect()
}

#[component]
fn Network(form: Form) -> impl IntoView {
    let locale = use_locale();
    let modes = options(locale, &[("dhcp", text::DHCP), ("static", text::STATIC), ("none", text::NO_NETWORK)]);
    let modes6 = options(locale, &[("auto", text::AUTO), ("static", text::STATIC), ("none", text::NONE)]);
    let field = move |key: &'static str, label: Text| view! { <Field label=locale.t(label) name=key value=form.field(key) error=form.error_of(key) autocomplete="off"/> };
    let whole = form.error_of(NIC);
    view! {
        <fieldset class="group">
            <legend>{locale.t(text::NETWORK)}</legend>
            <div class="fields">
                <Choice label=locale.t(text::NETWORK_MODE) name="network" value=form.field("network") options=modes/>
                {move || (form.get("network") == "static").then(|| view! { {field("ip", text::IP)}{field("gw", text::GW)} })}
                {move || (form.get("network") != "none").then(|| view! {
                    <Choice label=locale.t(text::IP6_MODE) name="ip6-mode" value=form.field("ip6-mode") options=modes6.clone()/>
                    {move || (form.get("ip6-mode") == "static").then(|| field("ip6", text::IP6))}
                    <Field label=locale.t(text::PUBLISH) name="publish" value=form.field("publish") hint=locale.t(text::PUBLISH_HINT) error=form.error_of("publish") autocomplete="off"/>
                    {field("rate-in", text::RATE_IN)}
                    {field("rate-out", text::RATE_OUT)}
                    {field("mtu", text::MTU)}
                    {field("mac", text::MAC)}
                })}
            </div>
            <p class="field__error" role="alert">{move || whole.get()}</p>
        </fieldset>
    }
}

/// A field of several lines.
#[component]
fn Lines(form: Form, name: &'static str, label: Text, hint: Text) -> impl IntoView {
    let locale = use_locale();
    let (value, error) = (form.field(name), form.error_of(name));
    let (hint_id, error_id) = (format!("{name}-hint"), format!("{name}-error"));
    let described = {
        let (hint_id, error_id) = (hint_id.clone(), error_id.clone());
        move || if error.with(Option::is_some) { error_id.clone() } else { hint_id.clone() }
    };
    view! {
        <div class="field">
            <label for=name>{locale.t(label)}</label>
            <textarea id=name name=name rows="3" prop:value=move || value.get() on:input=move |event| value.set(event_target_value(&event))
                aria-invalid=move || error.with(Option::is_some).then_some("true") aria-describedby=described></textarea>
            <p class="field__hint" id=hint_id>{locale.t(hint)}</p>
            <p class="field__error" id=error_id role="alert">{move || error.get()}</p>
        </div>
    }
}

#[component]
fn Access(form: Form) -> impl IntoView {
    let locale = use_locale();
    view! {
        <fieldset class="group">
            <legend>{locale.t(text::ACCESS)}</legend>
            <div class="fields">
                <Lines form=form name="ssh-key" label=text::SSH_KEY hint=text::SSH_KEY_HINT/>
                <Field label=locale.t(text::ROOT_PASSWORD) name="password" kind="password" value=form.field("password") hint=locale.t(text::ROOT_PASSWORD_HINT)
                    error=form.error_of("password") autocomplete="new-password"/>
            </div>
        </fieldset>
    }
}

#[component]
fn Behaviour(form: Form) -> impl IntoView {
    let locale = use_locale();
    let policies = options(
        locale,
        &[
            ("no", text::RESTART_NO),
            ("on-failure", text::RESTART_FAILURE),
            ("always", text::RESTART_ALWAYS),
        ],
    );
    view! {
        <fieldset class="group">
            <legend>{locale.t(text::BEHAVIOUR)}</legend>
            <div class="fields">
                <Tick label=locale.t(text::AUTOSTART) name="autostart" value=form.tick("autostart")/>
                <Tick label=locale.t(text::NESTING) name="nesting" value=form.tick("nesting")/>
                <Choice label=locale.t(text::RESTART) name="restart" value=form.field("restart") options=policies/>
                <Field label=locale.t(text::HOSTNAME) name="hostname" value=form.field("hostname") error=form.error_of("hostname") autocomplete="off"/>
                <Field label=locale.t(text::TAGS) name="tag" value=form.field("tag") error=form.error_of("tag") autocomplete="off"/>
                <Lines form=form name="env" label=text::ENV hint=text::ENV_HINT/>
                <Lines form=form name="notes" label=text::NOTES hint=text::NOTES_HINT/>
            </div>
        </fieldset>
    }
}
