//! `berth source`: places that offer templates.

use hyper::Method;
use model::id::Name;
use model::task::Task;
use model::template::{NewSource, Source, SourceKind};

use super::Session;
use super::client::segment;
use super::output::moment;
use crate::failure::Failure;

#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Lists them
    List,
    /// Adds one
    Add {
        name: Name,
        /// simplestreams, aplinfo, oci, mirror or lxc
        kind: SourceKind,
        url: String,
    },
    /// Removes one; templates that are here stay
    Remove { name: Name },
    /// Reads the index of one, or of all, anew
    Refresh {
        name: Option<Name>,
        /// Prints the task instead of waiting
        #[arg(long)]
        detach: bool,
    },
}

/// Runs one of them.
pub async fn run(session: &Session, command: Command) -> Result<(), Failure> {
    match command {
        Command::List => {
            let sources: Vec<Source> = session.client.get("/api/v1/sources").await?;
            session.out.list(&sources, &["NAME", "KIND", "URL", "TEMPLATES", "REFRESHED", "ERROR"], cells)
        }
        Command::Add { name, kind, url } => {
            let source: Source = session.client.post("/api/v1/sources", &NewSource { name, kind, url }).await?;
            let warning = if source.encrypted { "" } else { " (not encrypted)" };
            session.out.done(&source, &format!("added source {}{warning}", source.name))
        }
        Command::Remove { name } => {
            session
                .client
                .tell(Method::DELETE, &format!("/api/v1/sources/{}", segment(name.as_str())), &())
                .await?;
            session.out.done(&serde_json::json!({ "name": name }), &format!("removed source {name}"))
        }
        Command::Refresh { name, detach } => {
            let path = match &name {
                Some(name) => format!("/api/v1/sources/{}/refresh", segment(name.as_str())),
                None => "/api/v1/sources/refresh".to_owned(),
            };
            let task: Task = session.client.post(&path, &serde_json::json!({})).await?;
            let what = name.map_or_else(|| "all sources".to_owned(), |name| format!("source {name}"));
            session.finish(task, detach, &format!("refreshed {what}")).await
        }
    }
}

fn cells(source: &Source) -> Vec<String> {
    let kind = serde_json::to_value(source.kind)
        .ok()
        .and_then(|kind| kind.as_str().map(str::to_owned))
        .unwrap_or_default();
    let url = if source.encrypted {
        source.url.clone()
    } else {
        format!("{} (not encrypted)", source.url)
    };
    let error = source.last_error.clone().unwrap_or_else(|| "-".to_owned());
    vec![
        source.name.to_string(),
        kind,
        url,
        source.offered.to_string(),
        moment(source.last_refresh_at),
        error,
    ]
}
