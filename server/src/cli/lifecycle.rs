//! `berth start | stop | kill | restart | freeze | unfreeze | delete NAME...`

use model::container::{Action, ContainerState, ContainerSummary};
use model::id::ContainerName;
use model::task::Task;

use super::client::{query, segment};
use super::output::Format;
use super::{Session, exit};
use crate::failure::Failure;

#[derive(Debug, clap::Args)]
pub struct Names {
    #[arg(required = true, value_name = "NAME")]
    names: Vec<ContainerName>,
    /// Prints the task instead of waiting
    #[arg(long)]
    detach: bool,
}

#[derive(Debug, clap::Args)]
pub struct StopArgs {
    #[arg(required_unless_present = "all", conflicts_with = "all", value_name = "NAME")]
    names: Vec<ContainerName>,
    /// Every container that runs
    #[arg(long)]
    all: bool,
    /// Prints the task instead of waiting
    #[arg(long)]
    detach: bool,
    /// Seconds to wait for its init
    #[arg(long, value_name = "S", default_value_t = 30)]
    timeout: u64,
    /// Kills it at the time-out
    #[arg(long)]
    kill: bool,
}

#[derive(Debug, clap::Args)]
pub struct DeleteArgs {
    #[command(flatten)]
    pub names: Names,
    /// Also when it runs
    #[arg(long)]
    force: bool,
    /// For good, without the trash
    #[arg(long)]
    purge: bool,
}

/// What is done to each container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    Start,
    Stop { timeout: u64, kill: bool },
    Restart { timeout: u64, kill: bool },
    Kill,
    Freeze,
    Unfreeze,
    Delete { force: bool, purge: bool },
}

impl StopArgs {
    /// Stop, or stop and start.
    #[must_use]
    pub fn verb(&self, is_restart: bool) -> Verb {
        let (timeout, kill) = (self.timeout, self.kill);
        if is_restart {
            Verb::Restart { timeout, kill }
        } else {
            Verb::Stop { timeout, kill }
        }
    }

    /// Those that were named, or all that this can be done with. Frozen ones hear nothing: they go on first.
    ///
    /// # Errors
    /// The console does not answer.
    pub async fn names(self, session: &Session) -> Result<Names, Failure> {
        let (mut names, detach) = (self.names, self.detach);
        if self.all {
            let rows: Vec<ContainerSummary> = session.client.get("/api/v1/containers").await?;
            let frozen = rows.iter().filter(|row| row.state == ContainerState::Frozen);
            let frozen: Vec<ContainerName> = frozen.map(|row| row.name.clone()).collect();
            for name in &frozen {
                // One that stays frozen keeps no other from its stop, and says so at its own.
                if let Ok(task) = Verb::Unfreeze.ask(session, name).await {
                    drop(session.wait(&task).await);
                }
            }
            names = rows
                .into_iter()
                .filter(|row| row.state.allows(Action::Stop).is_ok())
                .map(|row| row.name)
                .collect();
            names.extend(frozen);
        }
        Ok(Names { names, detach })
    }
}

impl DeleteArgs {
    /// Delete with its flags.
    #[must_use]
    pub fn verb(&self) -> Verb {
        Verb::Delete {
            force: self.force,
            purge: self.purge,
        }
    }
}

impl Verb {
    fn done(self) -> &'static str {
        match self {
            Self::Start => "started",
            Self::Stop { .. } => "stopped",
            Self::Restart { .. } => "restarted",
            Self::Kill => "killed",
            Self::Freeze => "froze",
            Self::Unfreeze => "unfroze",
            Self::Delete { purge: false, .. } => "moved to the trash:",
            Self::Delete { purge: true, .. } => "removed for good:",
        }
    }

    fn path(self, name: &ContainerName) -> String {
        let container = format!("/api/v1/containers/{}", segment(name.as_str()));
        let yes = |is_on: bool| is_on.then(|| "true".to_owned());
        match self {
            Self::Start => container + "/start",
            Self::Stop { .. } => container + "/stop",
            Self::Restart { .. } => container + "/restart",
            Self::Kill => container + "/kill",
            Self::Freeze => container + "/freeze",
            Self::Unfreeze => container + "/unfreeze",
            Self::Delete { force, purge } => container + &query(&[("force", yes(force)), ("purge", yes(purge))]),
        }
    }

    async fn ask(self, session: &Session, name: &ContainerName) -> Result<Task, Failure> {
        let path = self.path(name);
        match self {
            Self::Delete { .. } => session.client.delete(&path).await,
            Self::Stop { timeout, kill } | Self::Restart { timeout, kill } => {
                session.client.post(&path, &serde_json::json!({ "timeout": timeout, "kill": kill })).await
            }
            _ => session.client.post(&path, &serde_json::json!({})).await,
        }
    }
}

/// Asks for all of them first and waits then, so that they go on side by side. A failure of one stops none of the others;
/// the first one decides the exit code.
pub async fn run(session: &Session, verb: Verb, names: &Names) -> Result<(), Failure> {
    let (mut tasks, mut failures) = (Vec::new(), Vec::new());
    for name in &names.names {
        match verb.ask(session, name).await {
            Ok(task) => tasks.push(task),
            Err(failure) => failures.push(failure),
        }
    }
    let mut ended = Vec::new();
    for task in tasks {
        if names.detach {
            ended.push(task);
            continue;
        }
        match session.wait(&task).await {
            Ok(task) => ended.push(task),
            Err(failure) => failures.push(failure),
        }
    }
    match (session.out.format, ended.as_slice()) {
        (Format::Json, [task]) if names.names.len() == 1 => session.out.document(task)?,
        (Format::Json, tasks) if names.names.len() != 1 => session.out.document(&tasks)?,
        (Format::Json, _) => {}
        (Format::Table, tasks) => {
            for task in tasks {
                if names.detach {
                    session.begun(task)?;
                } else {
                    session.out.done(task, &format!("{} {}", verb.done(), task.target))?;
                }
            }
        }
    }
    exit::together(&failures)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_those_of_the_interface() {
        let name: ContainerName = "web".parse().expect("a name");
        assert_eq!(Verb::Start.path(&name), "/api/v1/containers/web/start");
        assert_eq!(Verb::Delete { force: true, purge: false }.path(&name), "/api/v1/containers/web?force=true");
        assert_eq!(Verb::Delete { force: false, purge: false }.path(&name), "/api/v1/containers/web");
    }
}
