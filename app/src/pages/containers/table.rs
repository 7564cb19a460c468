//! The table of containers: heads that sort, and the rows in sight.

use leptos::html;
use leptos::prelude::*;
use model::ContainerId;

use super::filter::{Column, Order};
use super::row::ContainerRow;
use super::window::{Drawn, Spacer, use_window};
use super::{Selection, want};
use crate::format::use_locale;
use crate::i18n::Text;
use crate::i18n::containers as text;
use crate::live::use_live;
use crate::page_context::use_may;

/// Draws the rows of `ids` that are in sight.
#[component]
pub fn ContainerTable(ids: Memo<Vec<ContainerId>>, order: Memo<Order>, selection: Selection, is_held: RwSignal<bool>) -> impl IntoView {
    let locale = use_locale();
    let body = NodeRef::<html::Tbody>::new();
    let count = Memo::new(move |_| ids.with(Vec::len));
    let is_all = Memo::new(move |_| ids.with(|ids| selection.ids.with(|selected| !ids.is_empty() && ids.iter().all(|id| selected.contains(id)))));
    let select_all = move |_| {
        let all = is_all.get_untracked();
        selection
            .ids
            .update(|selected| ids.with_untracked(|ids| if all { selected.clear() } else { selected.extend(ids.iter().copied()) }));
    };
    let head = move |column: Column, label: Text, class: &'static str| view! { <Head column=column label=label class=class order=order/> };
    view! {
        <table class="table container-table" aria-rowcount=move || (count.get() + 1).to_string()
            on:pointerenter=move |_| is_held.set(true) on:pointerleave=move |_| is_held.set(false)
            on:focusin=move |_| is_held.set(true) on:focusout=move |_| is_held.set(false)>
            <thead>
                <tr aria-rowindex="1">
                    <th scope="col" class="cell-select">
                        {use_may(model::Permission::Containers).then(|| view! {
                            <input type="checkbox" prop:checked=move || is_all.get() on:change=select_all aria-label=locale.t(text::SELECT_ALL)/>
                        })}
                    </th>
                    {head(Column::State, text::STATE, "cell-state")}
                    {head(Column::Name, text::NAME, "cell-name")}
                    {head(Column::Cpu, text::CPU, "cell-cpu number")}
                    {head(Column::Memory, text::MEMORY, "cell-memory number")}
                    {head(Column::Network, text::NET, "cell-network number")}
                    <th scope="col" class="cell-address">{locale.t(text::ADDRESS)}</th>
                    {head(Column::Template, text::TEMPLATE, "cell-template")}
                    {head(Column::Uptime, text::UPTIME, "cell-uptime number")}
                    <th scope="col" class="cell-actions"><span class="visually-hidden">{locale.t(text::ACTIONS)}</span></th>
                </tr>
            </thead>
            <tbody node_ref=body><Rows ids=ids body=body count=count selection=selection/></tbody>
        </table>
    }
}

/// A head that sorts: a link, so that the order is in the URL and works without script.
#[component]
fn Head(column: Column, label: Text, class: &'static str, order: Memo<Order>) -> impl IntoView {
    let locale = use_locale();
    let query = leptos_router::hooks::use_query_map();
    let href = move || {
        let typed = query.with(|query| query.get_str("q").unwrap_or_default().to_owned());
        let filter = if typed.is_empty() {
            String::new()
        } else {
            format!("&q={}", js_free_escape(&typed))
        };
        format!("?sort={}{filter}", order.get().pressed(column).key())
    };
    let sorted = move || match order.get() {
        order if order.column != column => None,
        order if order.is_descending => Some("descending"),
        _ => Some("ascending"),
    };
    let name = locale.fill(text::SORT_BY, &[("column", locale.t(label))]);
    view! {
        <th scope="col" class=class aria-sort=sorted>
            <a href=href title=name data-noscroll="">{locale.t(label)}</a>
        </th>
    }
}

/// Percent-encodes a query value without asking the browser, since the server does the same.
fn js_free_escape(text: &str) -> String {
    let keep = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    text.bytes()
        .map(|byte| if keep(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}

#[component]
fn Rows(ids: Memo<Vec<ContainerId>>, body: NodeRef<html::Tbody>, count: Memo<usize>, selection: Selection) -> impl IntoView {
    let live = use_live();
    let window = use_window(body, count.into());
    let in_sight = Memo::new(move |_| {
        let Drawn { first, end } = window.drawn.get();
        ids.with(|ids| ids.get(first..end.max(first)).map(<[ContainerId]>::to_vec).unwrap_or_default())
    });
    Effect::new(move || want(live, &in_sight.get(), live.rows.with(crate::map::Map::len)));
    let place = move |id: ContainerId| Memo::new(move |_| ids.with(|ids| ids.iter().position(|other| *other == id).unwrap_or(0) + 1));
    let row = move |id: ContainerId| {
        live.rows
            .with_untracked(|rows| rows.get(&id).cloned())
            .map(|row| view! { <ContainerRow row=row place=place(id) selection=selection/> })
    };
    #[expect(clippy::cast_precision_loss, reason = "a number of rows")]
    let before = Signal::derive(move || window.drawn.get().first as f64 * window.row_px.get());
    #[expect(clippy::cast_precision_loss, reason = "a number of rows")]
    let after = Signal::derive(move || count.get().saturating_sub(window.drawn.get().end) as f64 * window.row_px.get());
    view! {
        <Spacer height_px=before/>
        <For each=move || in_sight.get() key=|id| *id children=row/>
        <Spacer height_px=after/>
    }
}
