//! Deletions of this tab that can be undone, kept where the next page finds them: one of another bundle is loaded from the
//! server, and knows nothing of this one.
//!
//! Invariant: what is over is no longer kept, so an offer is made once on a page and on no page after its time.

use model::ContainerId;
use model::id::TaskId;

use crate::components::browser;

/// Where the tab keeps them.
const KEY: &str = "undo-delete";

/// A container that was told to go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offer {
    pub id: ContainerId,
    pub name: String,
    /// Only once it is done the container is in the trash.
    pub task: TaskId,
    /// Until when it can be undone, by the browser's clock. None while the task is under way.
    pub until_ms: Option<i64>,
}

/// Those that this tab keeps.
#[must_use]
pub fn all() -> Vec<Offer> {
    browser::kept(KEY).as_deref().map(read).unwrap_or_default()
}

/// Keeps an offer in place of what was kept of it before.
pub fn keep(offer: &Offer) {
    let mut all = without(offer.id);
    all.push(offer.clone());
    browser::keep(KEY, &write(&all));
}

/// Keeps an offer no longer.
pub fn forget(id: ContainerId) {
    browser::keep(KEY, &write(&without(id)));
}

fn without(id: ContainerId) -> Vec<Offer> {
    let mut all = all();
    all.retain(|offer| offer.id != id);
    all
}

/// A line for each. Neither a name nor an id has a space in it.
fn write(offers: &[Offer]) -> String {
    let line = |offer: &Offer| {
        let until = offer.until_ms.map(|until| until.to_string()).unwrap_or_default();
        format!("{} {} {} {until}\n", offer.id, offer.name, offer.task)
    };
    offers.iter().map(line).collect()
}

fn read(text: &str) -> Vec<Offer> {
    text.lines().filter_map(read_line).collect()
}

fn read_line(line: &str) -> Option<Offer> {
    let mut parts = line.split(' ');
    let mut next = || parts.next();
    Some(Offer {
        id: next()?.parse().ok()?,
        name: next()?.to_owned(),
        task: next()?.parse().ok()?,
        until_ms: next()?.parse().ok(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offer(number: u8, until_ms: Option<i64>) -> Offer {
        Offer {
            id: format!("00000000-0000-4000-8000-0000000000{number:02}").parse().unwrap(),
            name: format!("web-{number}"),
            task: format!("00000000-0000-4000-9000-0000000000{number:02}").parse().unwrap(),
            until_ms,
        }
    }

    #[test]
    fn the_next_page_reads_what_this_one_kept() {
        let offers = [offer(1, Some(1_795_132_803_000)), offer(2, None)];
        assert_eq!(read(&write(&offers)), offers);
        assert_eq!(read(&write(&[])), []);
    }

    #[test]
    fn what_another_version_kept_is_no_offer() {
        assert_eq!(read("a page of another version\n[{}]"), []);
    }
}
