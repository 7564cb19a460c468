//! A form field: label, input, hint, and the error beside it.

use leptos::prelude::*;

/// A text field bound to a signal. `name` makes it work in a plain form too.
#[component]
pub fn Field(
    #[prop(into)] label: String,
    name: &'static str,
    value: RwSignal<String>,
    #[prop(default = "text")] kind: &'static str,
    #[prop(optional, into)] hint: Option<String>,
    /// What is wrong with it, from the rules or from the server.
    #[prop(optional, into)]
    error: Signal<Option<String>>,
    #[prop(optional)] required: bool,
    #[prop(optional, into)] autocomplete: Option<&'static str>,
    #[prop(optional, into)] placeholder: Option<String>,
) -> impl IntoView {
    let (hint_id, error_id) = (format!("{name}-hint"), format!("{name}-error"));
    let described = {
        let (hint_id, error_id, has_hint) = (hint_id.clone(), error_id.clone(), hint.is_some());
        move || match (error.with(Option::is_some), has_hint) {
            (true, _) => Some(error_id.clone()),
            (false, true) => Some(hint_id.clone()),
            (false, false) => None,
        }
    };
    view! {
        <div class="field">
            <label for=name>{label}</label>
            <input id=name name=name type=kind prop:value=move || value.get() value=value.get_untracked() required=required
                on:input=move |event| value.set(event_target_value(&event)) autocomplete=autocomplete placeholder=placeholder
                aria-invalid=move || error.with(Option::is_some).then_some("true") aria-describedby=described/>
            {hint.map(|hint| view! { <p class="field__hint" id=hint_id>{hint}</p> })}
            <p class="field__error" id=error_id role="alert">{move || error.get()}</p>
        </div>
    }
}

/// A field with a list of legal values: (value, label).
#[component]
pub fn Choice(
    #[prop(into)] label: String,
    name: &'static str,
    value: RwSignal<String>,
    #[prop(into)] options: Signal<Vec<(String, String)>>,
    /// Labels of what cannot be chosen yet, with the reason.
    #[prop(optional)]
    later: Vec<String>,
    #[prop(optional, into)] hint: Option<String>,
) -> impl IntoView {
    view! {
        <div class="field">
            <label for=name>{label}</label>
            <select id=name name=name on:change=move |event| value.set(event_target_value(&event)) prop:value=move || value.get()>
                {move || {
                    let chosen = value.get();
                    let option = |(key, text): (String, String)| {
                        let is_chosen = key == chosen;
                        view! { <option value=key selected=is_chosen>{text}</option> }
                    };
                    options.get().into_iter().map(option).collect_view()
                }}
                {later.into_iter().map(|text| view! { <option disabled value="">{text}</option> }).collect_view()}
            </select>
            {hint.map(|hint| view! { <p class="field__hint">{hint}</p> })}
        </div>
    }
}

/// A box to tick.
#[component]
pub fn Tick(#[prop(into)] label: String, name: &'static str, value: RwSignal<bool>, #[prop(optional, into)] hint: Option<String>) -> impl IntoView {
    view! {
        <div class="field field--tick">
            <label>
                <input type="checkbox" name=name prop:checked=move || value.get() checked=value.get_untracked()
                    on:change=move |event| value.set(event_target_checked(&event))/>
                <span>{label}</span>
            </label>
            {hint.map(|hint| view! { <p class="field__hint">{hint}</p> })}
        </div>
    }
}
