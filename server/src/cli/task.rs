//! `berth task`: long operations.

use futures::TryStreamExt as _;
use model::id::TaskId;
use model::task::Task;

use super::output::{Format, moment, print_bytes};
use super::{Session, exit};
use crate::failure::Failure;

#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Lists those that run and the newest ended ones
    List,
    /// Shows one, with what it wrote down
    Show { id: TaskId },
    /// Waits until one is over and fails as it failed
    Follow { id: TaskId },
    /// Stops one; what it did is taken back
    Cancel { id: TaskId },
}

/// Runs one of them.
pub async fn run(session: &Session, command: Command) -> Result<(), Failure> {
    match command {
        Command::List => {
            let tasks: Vec<Task> = session.client.get("/api/v1/tasks").await?;
            session
                .out
                .list(&tasks, &["ID", "KIND", "TARGET", "STATE", "PHASE", "USER", "BEGUN", "ENDED"], cells)
        }
        Command::Show { id } => show(session, id).await,
        Command::Follow { id } => {
            let task: Task = session.client.get(&format!("/api/v1/tasks/{id}")).await?;
            let ended = session.wait(&task).await?;
            session.out.done(&ended, &format!("{} of {} is done", ended.kind, ended.target))
        }
        Command::Cancel { id } => {
            let task: Task = session.client.post(&format!("/api/v1/tasks/{id}/cancel"), &serde_json::json!({})).await?;
            session.out.done(&task, &format!("{} of {} is being cancelled", task.kind, task.target))
        }
    }
}

async fn show(session: &Session, id: TaskId) -> Result<(), Failure> {
    let task: Task = session.client.get(&format!("/api/v1/tasks/{id}")).await?;
    session.out.one(&task, fields)?;
    if session.out.format == Format::Json || session.out.quiet {
        return Ok(());
    }
    let mut log = std::pin::pin!(session.client.stream(&format!("/api/v1/tasks/{id}/log")).await?);
    while let Some(piece) = log.try_next().await.map_err(|error| exit::lost(&error))? {
        print_bytes(&piece)?;
    }
    Ok(())
}

fn state(task: &Task) -> String {
    format!("{:?}", task.state).to_lowercase()
}

fn cells(task: &Task) -> Vec<String> {
    vec![
        task.id.to_string(),
        task.kind.clone(),
        task.target.clone(),
        state(task),
        task.progress.phase.clone(),
        task.user.clone(),
        moment(Some(task.created_at)),
        moment(task.ended_at),
    ]
}

fn fields(task: &Task) -> Vec<(&'static str, String)> {
    let error = task.error.as_ref();
    vec![
        ("id", task.id.to_string()),
        ("kind", task.kind.clone()),
        ("target", task.target.clone()),
        ("state", state(task)),
        ("phase", task.progress.phase.clone()),
        ("user", task.user.clone()),
        ("begun", moment(Some(task.created_at))),
        ("ended", moment(task.ended_at)),
        ("error", error.map(|error| error.message.clone()).unwrap_or_default()),
        ("hint", error.and_then(|error| error.hint.clone()).unwrap_or_default()),
        ("log id", error.and_then(|error| error.log_id.clone()).unwrap_or_default()),
    ]
}
