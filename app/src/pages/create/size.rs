//! Sizes to choose from. What a choice means is written into the fields of the limits, where it can be changed.

use leptos::prelude::*;
use model::engine::HostReport;
use model::limits::parse_size;

use super::form::Form;
use crate::format::use_locale;
use crate::forms::presets::{self, CUSTOM, PRESETS, UNLIMITED};
use crate::i18n::Text;
use crate::i18n::supply as text;

fn name(choice: &str) -> Text {
    match choice {
        "small" => text::SMALL,
        "medium" => text::MEDIUM,
        "large" => text::LARGE,
        UNLIMITED => text::UNLIMITED,
        _ => text::CUSTOM,
    }
}

#[component]
pub fn Size(form: Form, host: StoredValue<HostReport>) -> impl IntoView {
    let locale = use_locale();
    let has_disk_limits = host.with_value(|host| host.disk_limits);
    let choice = Memo::new(move |_| presets::choice_of(|key| form.get(key), has_disk_limits));
    let fitting = host.with_value(|host| {
        PRESETS
            .iter()
            .filter(|preset| preset.fits(Some(host)))
            .map(|preset| preset.key)
            .collect::<Vec<_>>()
    });
    let option = move |key: &'static str| {
        let detail = PRESETS.iter().find(|preset| preset.key == key).map(|preset| {
            format!(
                "{} CPU · {}",
                preset.cpus,
                parse_size(preset.memory).map_or_else(|_| preset.memory.to_owned(), |bytes| locale.bytes(bytes))
            )
        });
        let write = move |_| {
            for (field, value) in presets::values(key, has_disk_limits) {
                form.field(field).set(value);
            }
        };
        view! {
            <label class="preset">
                <input type="radio" name="preset" value=key prop:checked=move || choice.get() == key checked=choice.get_untracked() == key on:change=write/>
                <span><strong>{locale.t(name(key))}</strong>{detail.map(|detail| view! { <span class="muted">{detail}</span> })}</span>
            </label>
        }
    };
    view! {
        <fieldset class="presets">
            <legend>{locale.t(text::PRESETS)}</legend>
            {fitting.into_iter().chain([UNLIMITED]).map(option).collect_view()}
            {move || (choice.get() == CUSTOM).then(|| view! { <p class="muted">{locale.t(text::CUSTOM)}</p> })}
        </fieldset>
    }
}
