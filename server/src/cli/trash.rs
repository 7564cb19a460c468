//! `berth trash`: deleted containers, which wait 7 days.

use model::ContainerId;
use model::id::ContainerName;
use model::storage::TrashEntry;
use model::task::Task;

use super::Session;
use super::output::{maybe_size, moment};
use crate::failure::Failure;

#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Lists them
    List,
    /// Brings one back
    Restore {
        id: ContainerId,
        /// Under another name
        #[arg(long = "as", value_name = "NAME")]
        new: Option<ContainerName>,
        /// Prints the task instead of waiting
        #[arg(long)]
        detach: bool,
    },
    /// Removes all of them for good
    Empty {
        /// Prints the task instead of waiting
        #[arg(long)]
        detach: bool,
    },
}

/// Runs one of them.
pub async fn run(session: &Session, command: Command) -> Result<(), Failure> {
    match command {
        Command::List => {
            let entries: Vec<TrashEntry> = session.client.get("/api/v1/trash").await?;
            session.out.list(&entries, &["ID", "NAME", "SIZE", "DELETED", "BY", "EXPIRES"], cells)
        }
        Command::Restore { id, new, detach } => {
            let task: Task = session
                .client
                .post(&format!("/api/v1/trash/{id}/restore"), &serde_json::json!({ "name": new }))
                .await?;
            let what = new.map_or_else(|| task.target.clone(), |name| name.to_string());
            session.finish(task, detach, &format!("restored {what}")).await
        }
        Command::Empty { detach } => {
            let task: Task = session.client.delete("/api/v1/trash").await?;
            session.finish(task, detach, "emptied the trash").await
        }
    }
}

fn cells(entry: &TrashEntry) -> Vec<String> {
    vec![
        entry.id.to_string(),
        entry.name.clone(),
        maybe_size(entry.size_bytes),
        moment(Some(entry.deleted_at)),
        entry.deleted_by.clone(),
        moment(Some(entry.expires_at)),
    ]
}
