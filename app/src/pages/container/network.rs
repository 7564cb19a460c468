//! Interfaces with their addresses and live rates, and published ports.

use leptos::prelude::*;
use model::container::NicDetail;
use model::network::Publish;

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
    let publish = subject.detail.with_untracked(|detail| detail.spec.publish.clone());
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
        <Published publish=publish/>
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
fn Published(publish: Vec<Publish>) -> impl IntoView {
    let locale = use_locale();
    let word = |entry: Publish| view! { <li><Copyable value=entry.to_string()/></li> };
    let list = if publish.is_empty() {
        view! { <p class="muted">{locale.t(text::NO_PUBLISHED)}</p> }.into_any()
    } else {
        view! { <ul class="plain-list">{publish.into_iter().map(word).collect_view()}</ul> }.into_any()
    };
    view! { <section class="card"><h2>{locale.t(text::PUBLISHED)}</h2>{list}</section> }
}
