//! What will be made, in words, as a command and as an API call; the buttons; and the way of the task.

use leptos::prelude::*;
use model::limits::parse_size;
use model::template::Template;

use super::form::Form;
use super::picker;
use crate::components::button::{Button, Tone};
use crate::components::copy::Copyable;
use crate::components::error_note::ErrorNote;
use crate::components::submit::Submit;
use crate::components::task_progress::TaskProgress;
use crate::format::use_locale;
use crate::forms::equivalent;
use crate::i18n::supply as text;
use crate::live::use_live;

#[component]
pub fn Summary(form: Form, templates: StoredValue<Vec<Template>>) -> impl IntoView {
    let (locale, live) = (use_locale(), use_live());
    let request = Memo::new(move |_| form.request().ok());
    let or_unlimited = move |key: &str| {
        let typed = form.get(key);
        if typed.is_empty() { locale.t(text::UNLIMITED).to_owned() } else { typed }
    };
    let memory = move || parse_size(&form.get("memory")).map_or_else(|_| or_unlimited("memory"), |bytes| locale.bytes(bytes));
    let template = move || {
        let chosen = form.get("template");
        let found = templates.with_value(|all| all.iter().find(|template| template.reference.to_string() == chosen).cloned());
        found.map_or_else(
            || chosen.clone(),
            |template| format!("{} ({})", template.name, picker::words(locale, &template)),
        )
    };
    let network = move || match form.get("network").as_str() {
        "none" => locale.t(text::NO_NETWORK).to_owned(),
        "static" => form.get("ip"),
        _ => locale.t(text::DHCP).to_owned(),
    };
    let under_way = Memo::new(move |_| form.task.get().filter(|id| live.task(*id).is_some()));
    let off = Signal::derive(move || form.is_busy().then(|| locale.t(crate::i18n::frame::PHASE_WORK).to_owned()));
    view! {
        <aside class="card create__summary" aria-label=locale.t(text::SUMMARY)>
            <h2>{locale.t(text::SUMMARY)}</h2>
            <dl class="facts">
                <dt>{locale.t(text::CONTAINER_NAME)}</dt><dd><bdi>{move || form.get("name")}</bdi></dd>
                <dt>{locale.t(text::TEMPLATE)}</dt><dd>{template}</dd>
                <dt>{locale.t(text::SUM_CPUS)}</dt><dd>{move || or_unlimited("cpus")}</dd>
                <dt>{locale.t(text::SUM_MEMORY)}</dt><dd>{memory}</dd>
                <dt>{locale.t(text::SUM_NETWORK)}</dt><dd>{network}</dd>
            </dl>
            {move || form.whole_refusal().map(|error| view! { <ErrorNote error=error title=text::NOT_CREATED/> })}
            <p class="field__error" role="alert">{move || form.has_problems().then(|| locale.t(text::FORM_WRONG))}</p>
            {move || under_way.get().and_then(|id| untrack(|| live.task(id)).map(|task| (id, task))).map(|(id, first)| view! {
                <TaskProgress task=Signal::derive(move || live.task(id).unwrap_or_else(|| first.clone()))/>
                <div class="row">
                    <a href=format!("/tasks/{id}")>{locale.t(text::FOLLOW_TASK)}</a>
                    {move || form.is_busy().then(|| view! {
                        <Button label=locale.t(text::CANCEL).to_owned() tone=Tone::Quiet on_press=move |()| form.cancel()/>
                    })}
                </div>
            })}
            <div class="create__buttons">
                <Submit label=locale.t(text::CREATE_AND_START) tone=Tone::Primary busy=Signal::derive(move || form.is_busy())/>
                <Button label=locale.t(text::CREATE_ONLY).to_owned() tone=Tone::Quiet off=off on_press=move |()| form.send(false)/>
            </div>
            {move || request.get().map(|request| view! {
                <details class="fold">
                    <summary>{locale.t(text::AS_COMMAND)}</summary>
                    <Copyable value=equivalent::command(&request)/>
                </details>
                <details class="fold">
                    <summary>{locale.t(text::AS_API)}</summary>
                    <pre class="code">{equivalent::api_call(&request)}</pre>
                </details>
            })}
        </aside>
    }
}
