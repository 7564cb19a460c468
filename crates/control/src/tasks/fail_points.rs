//! Places where a test may kill the process: before and after every durable write and every side effect of a task.
//! The object is given at construction, so no variable of the environment can arm a release build.

use std::fmt;
use std::sync::Arc;

type Hook = Arc<dyn Fn(&str) + Send + Sync>;

/// What a test wants to happen at named points; nothing by default.
#[derive(Clone, Default)]
pub struct FailPoints(Option<Hook>);

impl FailPoints {
    /// Calls `hook` at every point with its name: `<kind>::<step>::<act|undo|begin|end>::<before|after>`.
    pub fn new(hook: impl Fn(&str) + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(hook)))
    }

    /// The task has come to a point. The name is only made when somebody listens.
    pub(super) fn reach(&self, kind: &str, step: &str, what: &str, side: &str) {
        if let Some(hook) = &self.0 {
            hook(&format!("{kind}::{step}::{what}::{side}"));
        }
    }
}

impl fmt::Debug for FailPoints {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "FailPoints(armed)" } else { "FailPoints(none)" })
    }
}
