//! The ids of the matching containers in the chosen order. Order by a live value is renewed every few seconds and never
//! while the pointer or the focus is on the list: nothing moves under the pointer.

use std::cmp::Ordering;

use leptos::prelude::*;
use model::{ContainerId, ContainerState};

use super::filter::{Column, Filter, Order, template_of};
use crate::live::metrics::{CPU, MEMORY, Meters, NET_IN, NET_OUT};
use crate::live::{Live, Row};

/// How often an order by live values is renewed.
const RENEW_MS: i64 = 3000;

/// See the module.
#[must_use]
pub fn use_ordered(live: Live, filter: Memo<Filter>, order: Memo<Order>, is_held: RwSignal<bool>) -> Memo<Vec<ContainerId>> {
    let renewal = Memo::new(move |before: Option<&i64>| {
        let is_live = order.with(|order| order.column.is_live()) || filter.with(Filter::is_live);
        match before {
            Some(before) if is_held.get() || !is_live => *before,
            _ => live.now_ms.get() / RENEW_MS,
        }
    });
    Memo::new(move |_| {
        renewal.track();
        let (filter, order) = (filter.get(), order.get());
        live.rows.with(|rows| {
            let mut keyed: Vec<(Key, ContainerId)> = rows
                .values()
                .filter(|row| is_match(row, &filter))
                .map(|row| (Key::of(row, order.column), row.id))
                .collect();
            keyed.sort_by(|a, b| a.0.compare(&b.0, order.is_descending));
            keyed.into_iter().map(|(_, id)| id).collect()
        })
    })
}

fn is_match(row: &Row, filter: &Filter) -> bool {
    row.meters.with_untracked(|meters| row.summary.with(|summary| filter.matches(summary, meters)))
}

/// What a row is ordered by; rows without a value come last in both directions.
#[derive(Clone, Debug, PartialEq)]
struct Key {
    value: Option<f64>,
    text: String,
    name: String,
}

impl Key {
    #[expect(clippy::cast_precision_loss, reason = "milliseconds since the epoch for an order")]
    fn of(row: &Row, column: Column) -> Self {
        let meters = |read: fn(&Meters) -> Option<f64>| row.meters.with_untracked(read);
        row.summary.with(|summary| {
            let (value, text) = match column {
                Column::Name => (None, String::new()),
                Column::State => (Some(rank(summary.state)), String::new()),
                Column::Cpu => (meters(|meters| meters.value(CPU)), String::new()),
                Column::Memory => (meters(|meters| meters.value(MEMORY)), String::new()),
                Column::Network => (meters(|meters| Some(meters.value(NET_IN)? + meters.value(NET_OUT)?)), String::new()),
                Column::Template => (None, template_of(summary)),
                Column::Uptime => (summary.started_at.filter(|_| summary.state.is_live()).map(|at| -(at.ms as f64)), String::new()),
            };
            Self {
                value,
                text,
                name: summary.name.to_string(),
            }
        })
    }

    fn compare(&self, other: &Self, is_descending: bool) -> Ordering {
        let turn = |ordering: Ordering| if is_descending { ordering.reverse() } else { ordering };
        let by_value = match (self.value, other.value) {
            (Some(a), Some(b)) => turn(a.total_cmp(&b)),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (None, None) => turn(self.text.cmp(&other.text)),
        };
        let is_by_name = self.value.is_none() && self.text.is_empty();
        by_value.then_with(|| {
            if is_by_name {
                turn(self.name.cmp(&other.name))
            } else {
                self.name.cmp(&other.name)
            }
        })
    }
}

/// What needs attention first.
fn rank(state: ContainerState) -> f64 {
    match state {
        ContainerState::Error => 0.0,
        ContainerState::Unknown => 1.0,
        ContainerState::Creating | ContainerState::Starting | ContainerState::Stopping | ContainerState::Freezing | ContainerState::Deleting => 2.0,
        ContainerState::Running => 3.0,
        ContainerState::Frozen => 4.0,
        ContainerState::Stopped => 5.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(value: Option<f64>, name: &str) -> Key {
        Key {
            value,
            text: String::new(),
            name: name.to_owned(),
        }
    }

    #[test]
    fn what_has_no_value_is_last_both_ways() {
        for is_descending in [false, true] {
            assert_eq!(key(Some(1.0), "b").compare(&key(None, "a"), is_descending), Ordering::Less);
        }
        assert_eq!(key(Some(1.0), "a").compare(&key(Some(2.0), "b"), true), Ordering::Greater);
        assert_eq!(key(Some(1.0), "a").compare(&key(Some(1.0), "b"), true), Ordering::Less);
        assert_eq!(key(None, "a").compare(&key(None, "b"), true), Ordering::Greater);
    }
}
