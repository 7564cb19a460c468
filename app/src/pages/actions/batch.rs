//! What became of one action on many containers: how many were done, and what failed, put together by cause. Pure.

/// Names that are written out; the rest is counted.
const NAMED: usize = 5;

/// What failed for one cause.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failed<T> {
    pub cause: String,
    pub items: Vec<T>,
    names: Vec<String>,
}

impl<T> Failed<T> {
    /// The first names, and how many more.
    #[must_use]
    pub fn names(&self) -> String {
        let shown = self.names.iter().take(NAMED).cloned().collect::<Vec<_>>().join(", ");
        match self.names.len().saturating_sub(NAMED) {
            0 => shown,
            more => format!("{shown}, +{more}"),
        }
    }
}

/// The whole outcome.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome<T> {
    pub done: u64,
    pub failed: Vec<Failed<T>>,
}

/// Collects what becomes of each.
#[derive(Debug)]
pub struct Batch<T> {
    left: usize,
    outcome: Outcome<T>,
}

impl<T: Clone> Batch<T> {
    /// For so many.
    #[must_use]
    pub fn new(count: usize) -> Self {
        Self {
            left: count,
            outcome: Outcome { done: 0, failed: Vec::new() },
        }
    }

    /// One is over; the outcome, when it was the last one.
    pub fn report(&mut self, item: T, name: &str, failure: Option<String>) -> Option<Outcome<T>> {
        match failure {
            None => self.outcome.done += 1,
            Some(why) => self.fail(item, name, why.replace(&format!("`{name}`"), "…")),
        }
        self.left = self.left.saturating_sub(1);
        (self.left == 0).then(|| self.outcome.clone())
    }

    fn fail(&mut self, item: T, name: &str, cause: String) {
        let known = self.outcome.failed.iter_mut().find(|failed| failed.cause == cause);
        if let Some(failed) = known {
            failed.items.push(item);
            failed.names.push(name.to_owned());
        } else {
            self.outcome.failed.push(Failed {
                cause,
                items: vec![item],
                names: vec![name.to_owned()],
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_outcome_comes_once_and_by_cause() {
        let mut batch = Batch::new(9);
        for number in 0..7_u32 {
            let name = format!("web-{number}");
            assert_eq!(batch.report(number, &name, Some(format!("`{name}` is frozen"))), None);
        }
        assert_eq!(batch.report(7, "db", Some("the disk is full".into())), None);
        let outcome = batch.report(8, "ok", None).unwrap();
        assert_eq!((outcome.done, outcome.failed.len()), (1, 2));
        let frozen = outcome.failed.first().unwrap();
        assert_eq!(frozen.cause, "… is frozen");
        assert_eq!(frozen.items, [0, 1, 2, 3, 4, 5, 6]);
        assert_eq!(frozen.names(), "web-0, web-1, web-2, web-3, web-4, +2");
        assert_eq!(outcome.failed.get(1).unwrap().items, [7]);
    }
}
