//! One row of the list, a card on a phone. Each live cell updates alone.

use leptos::prelude::*;
use model::container::Action;

use super::Selection;
use crate::components::moment::Since;
use crate::components::sparkline::Sparkline;
use crate::components::state_badge::StateBadge;
use crate::format::use_locale;
use crate::i18n::containers as text;
use crate::live::Row;
use crate::live::metrics::{CPU, MEMORY, NET_IN, NET_OUT};
use crate::page_context::use_may;
use crate::pages::actions::ActionButton;

/// The dash that stands for a value that is not there; never 0.
const NOTHING: &str = "–";

/// One container.
#[component]
pub fn ContainerRow(
    row: Row,
    /** Its place in the whole list, from 1. */
    #[prop(into)]
    place: Signal<usize>,
    selection: Selection,
) -> impl IntoView {
    let locale = use_locale();
    let summary = row.summary.clone();
    // It may be renamed while the row stays.
    let name = {
        let summary = summary.clone();
        Memo::new(move |_| summary.with(|summary| summary.name.to_string()))
    };
    let (id, may) = (row.id, use_may(model::Permission::Containers));
    let is_selected = Memo::new(move |_| selection.ids.with(|ids| ids.contains(&id)));
    let state = {
        let summary = summary.clone();
        Memo::new(move |_| summary.with(|summary| summary.state))
    };
    let degraded = {
        let summary = summary.clone();
        Memo::new(move |_| summary.with(|summary| summary.degraded))
    };
    view! {
        <tr aria-rowindex=move || (place.get() + 1).to_string() aria-selected=move || is_selected.get().to_string()>
            <td class="cell-select">
                {may.then(|| view! {
                    <input type="checkbox" prop:checked=move || is_selected.get() on:change=move |_| selection.toggle(id)
                        aria-label=move || name.with(|name| locale.fill(text::SELECT, &[("name", name)]))/>
                })}
            </td>
            <td class="cell-state"><StateBadge state=state degraded=degraded/></td>
            <th scope="row" class="cell-name"><a href=move || name.with(|name| format!("/containers/{name}"))><bdi>{move || name.get()}</bdi></a></th>
            <Values row=row.clone()/>
            <Facts row=row.clone()/>
            <td class="cell-actions">
                {may.then(|| view! { <RowActions row=row/> })}
            </td>
        </tr>
    }
}

/// CPU with its last minute, memory, network.
#[component]
fn Values(row: Row) -> impl IntoView {
    let locale = use_locale();
    let (meters, limits) = (row.meters, row.summary);
    let value = {
        let meters = meters.clone();
        move |column: usize| meters.with(|meters| meters.value(column))
    };
    let cpu = {
        let value = value.clone();
        Memo::new(move |_| value(CPU).map_or_else(|| NOTHING.to_owned(), |cores| locale.decimal(cores, 2)))
    };
    let memory = {
        let value = value.clone();
        Memo::new(move |_| value(MEMORY).map_or_else(|| NOTHING.to_owned(), |bytes| locale.bytes_f64(bytes)))
    };
    let network = Memo::new(move |_| match (value(NET_IN), value(NET_OUT)) {
        (None, None) => NOTHING.to_owned(),
        (incoming, outgoing) => format!("↓ {} ↑ {}", locale.rate(incoming.unwrap_or(0.0)), locale.rate(outgoing.unwrap_or(0.0))),
    });
    let ceiling = Memo::new(move |_| limits.with(|summary| summary.limits.cpus));
    let minute = Signal::derive(move || meters.with(|meters| meters.cpu.clone()));
    view! {
        <td class="cell-cpu number" data-label=locale.t(text::CPU)>
            <Sparkline values=minute ceiling=ceiling/>
            <span>{move || cpu.get()}</span>
        </td>
        <td class="cell-memory number" data-label=locale.t(text::MEMORY)>{move || memory.get()}</td>
        <td class="cell-network number" data-label=locale.t(text::NET)>{move || network.get()}</td>
    }
}

/// Address, template, uptime.
#[component]
fn Facts(row: Row) -> impl IntoView {
    let summary = row.summary;
    let address = {
        let summary = summary.clone();
        Memo::new(move |_| summary.with(|summary| summary.ipv4.first().or(summary.ipv6.first()).cloned()))
    };
    let template = {
        let summary = summary.clone();
        Memo::new(move |_| summary.with(|summary| summary.template.as_ref().map(|template| template.reference.to_string())))
    };
    let since = Memo::new(move |_| summary.with(|summary| summary.started_at.filter(|_| summary.state.is_live())));
    view! {
        <td class="cell-address"><code>{move || address.get().unwrap_or_else(|| NOTHING.to_owned())}</code></td>
        <td class="cell-template"><bdi>{move || template.get().unwrap_or_else(|| NOTHING.to_owned())}</bdi></td>
        <td class="cell-uptime number">{move || since.get().map(|at| view! { <Since at=at/> })}</td>
    }
}

/// Start or stop, whichever is legal, and the terminal.
#[component]
fn RowActions(row: Row) -> impl IntoView {
    let summary = row.summary.clone();
    let is_live = Memo::new(move |_| summary.with(|summary| summary.state.is_live()));
    view! {
        {move || {
            let action = if is_live.get() { Action::Stop } else { Action::Start };
            view! { <ActionButton row=row.clone() action=action compact=true tone=crate::components::button::Tone::Quiet/> }
        }}
    }
}
