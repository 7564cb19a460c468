//! Interfaces with their addresses and live rates, published ports, and rules of the firewall.

use leptos::prelude::*;
use model::container::NicDetail;

use super::Subject;
use crate::components::copy::Copyable;
use crate::components::page_frame::Empty;
use crate::format::use_locale;
use crate::i18n::containers as text;
use crate::live::metrics::Feed;
use crate::live::use_live;
use crate::pages::graphs::{COMMON, Graphs, Spec};

/// The network graph of the common ones.
fn graph() -> &'static [Spec] {
    COMMON.get(2..3).unwrap_or_default()
}

/// The tab.
#[component]
pub fn NetworkTab(subject: Subject) -> impl IntoView {
    let locale = use_locale();
    let feed = use_live().feed(&subject.name);
    let is_off = super::summary::is_off(&subject.row);
    let nics = Memo::new(move |_| subject.detail.with(|detail| detail.nics.clone()));
    let (publish, rules) = subject.detail.with_untracked(|detail| (detail.publish.clone(), detail.firewall.clone()));
    let head = move |label| view! { <th scope="col">{locale.t(label)}</th> };
    view! {
        <Show when=move || nics.with(|nics| !nics.is_empty()) fallback=move || view! { <Empty title=locale.t(text::NO_NIC)/> }>
            <div class="scroll">
                <table class="table">
                    <thead><tr>
                        {head(text::NIC)}{head(text::BRIDGE)}{head(text::IPV4)}{head(text::IPV6)}{head(text::MAC)}
                        <th scope="col" class="number">{locale.t(text::TRAFFIC)}</th>
                    </tr></thead>
                    <tbody>
                        {
                            let feed = feed.clone();
                            move || nics.get().into_iter().map(|nic| view! { <Nic nic=nic feed=feed.clone()/> }).collect_view()
                        }
                    </tbody>
                </table>
            </div>
        </Show>
        <Listed title=locale.t(text::PUBLISHED) none=locale.t(text::NO_PUBLISHED) values=publish/>
        <Listed title=locale.t(text::FIREWALL) none=locale.t(text::NO_RULES) values=rules/>
        <Graphs subject=subject.name specs=graph() limits=Callback::new(|_| Vec::new()) is_off=is_off/>
    }
}

#[component]
fn Nic(nic: NicDetail, feed: Feed) -> impl IntoView {
    let locale = use_locale();
    let (rx, tx) = (format!("net.{}.rx", nic.name), format!("net.{}.tx", nic.name));
    let rate = move || {
        feed.with(|feed| match (feed.newest(&rx), feed.newest(&tx)) {
            (None, None) => "–".to_owned(),
            (rx, tx) => format!("↓ {} ↑ {}", locale.rate(rx.unwrap_or(0.0)), locale.rate(tx.unwrap_or(0.0))),
        })
    };
    let address = move |address: Option<String>| match address {
        Some(address) => view! { <Copyable value=address/> }.into_any(),
        None => view! { <span class="muted">{locale.t(text::NONE)}</span> }.into_any(),
    };
    view! {
        <tr>
            <th scope="row"><code>{nic.name}</code></th>
            <td><code>{nic.bridge}</code></td>
            <td>{address(nic.ipv4)}</td>
            <td>{address(nic.ipv6)}</td>
            <td><Copyable value=nic.mac/></td>
            <td class="number">{rate}</td>
        </tr>
    }
}

#[component]
fn Listed(title: &'static str, none: &'static str, values: Vec<String>) -> impl IntoView {
    let list = if values.is_empty() {
        view! { <p class="muted">{none}</p> }.into_any()
    } else {
        let item = |value| view! { <li><Copyable value=value/></li> };
        view! { <ul class="plain-list">{values.into_iter().map(item).collect_view()}</ul> }.into_any()
    };
    view! { <section class="card"><h2>{title}</h2>{list}</section> }
}
