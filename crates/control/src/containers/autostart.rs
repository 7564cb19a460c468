//! What starts with the host: once for each boot, in the order that people chose, a few at once. A restart of the console
//! starts nothing.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use model::ContainerSpec;
use model::container::Action;

use super::Containers;
use super::board::Live;
use crate::caller::Caller;
use crate::error::Result;

/// Containers that are brought up at once after the host has booted.
const AT_ONCE: usize = 4;
/// Where the boot of the host is remembered that this was done for.
const BOOT: &str = "/berth/v1/setting/host-boot";

impl Containers {
    /// Starts what is to be started when the host has booted since the last time.
    ///
    /// # Errors
    /// The store fails.
    pub async fn autostart(self: &Arc<Self>, boot_id: &str) -> Result<()> {
        let last = self.parts.facts.get::<String>(BOOT).await?;
        if last.as_ref().is_some_and(|last| last.value == boot_id) {
            return Ok(());
        }
        self.parts.facts.change().put(BOOT, &boot_id).commit().await?;
        if last.is_none() {
            return Ok(());
        }
        let wanted = |live: &Live| live.row.spec.autostart && live.state().allows(Action::Start).is_ok();
        let names = self.board.names();
        let lives = names.into_iter().filter_map(|(id, _)| self.board.get(id)).filter(wanted);
        let waves = waves(lives.map(|live| live.row.spec.clone()).collect());
        let this = Arc::clone(self);
        tokio::spawn(async move {
            for wave in waves {
                this.start_wave(wave).await;
            }
        });
        Ok(())
    }

    /// Starts those of one order, and waits as long as the most patient of them that came up wants.
    async fn start_wave(&self, wave: Vec<ContainerSpec>) {
        let starts = futures::stream::iter(wave).map(|spec| async move { self.autostart_one(spec.name.as_str()).await.then(|| delay(&spec)) });
        let delays: Vec<Option<Duration>> = starts.buffer_unordered(AT_ONCE).collect().await;
        tokio::time::sleep(delays.into_iter().flatten().max().unwrap_or_default()).await;
    }

    /// Whether it has come up.
    async fn autostart_one(&self, name: &str) -> bool {
        let outcome = async { self.parts.tasks.wait(self.start(&Caller::berth(), name, None).await?.id).await };
        match outcome.await {
            Ok(task) if task.error.is_none() => tracing::info!(container.name = name, "started with the host"),
            Ok(task) => {
                tracing::error!(container.name = name, task.id = %task.id, "could not be started with the host; the task says why");
                return false;
            }
            Err(error) => {
                tracing::error!(container.name = name, %error, "could not be started with the host");
                return false;
            }
        }
        true
    }
}

fn delay(spec: &ContainerSpec) -> Duration {
    Duration::from_secs(u64::from(spec.autostart_delay_seconds))
}

/// Those of one order together, the lowest first; those without one come last.
fn waves(mut specs: Vec<ContainerSpec>) -> Vec<Vec<ContainerSpec>> {
    specs.sort_by(|one, other| one.name.cmp(&other.name));
    let mut waves: BTreeMap<(bool, Option<u32>), Vec<ContainerSpec>> = BTreeMap::new();
    for spec in specs {
        let order = spec.autostart_order;
        waves.entry((order.is_none(), order)).or_default().push(spec);
    }
    waves.into_values().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lowest_order_comes_first_and_none_last() {
        let spec = |name: &str, order: Option<u32>| ContainerSpec {
            autostart_order: order,
            ..ContainerSpec::new(name.parse().unwrap(), "local:test".parse().unwrap())
        };
        let specs = vec![
            spec("web", None),
            spec("mail", Some(20)),
            spec("db", Some(3)),
            spec("cache", Some(3)),
            spec("app", None),
        ];
        let names = waves(specs)
            .into_iter()
            .map(|wave| wave.iter().map(|spec| spec.name.to_string()).collect::<Vec<_>>());
        assert_eq!(names.collect::<Vec<_>>(), [vec!["cache", "db"], vec!["mail"], vec!["app", "web"]]);
    }
}
