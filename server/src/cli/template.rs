//! `berth template`: what containers are made from.

use std::path::Path;

use axum::body::Body;
use hyper::Method;
use model::TemplateRef;
use model::id::Name;
use model::task::Task;
use model::template::Template;
use tokio_util::io::ReaderStream;

use super::Session;
use super::client::{query, segment};
use super::output::{maybe_size, moment, words};
use crate::failure::Failure;

#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Lists templates that are here
    List {
        /// Also what sources offer
        #[arg(long)]
        remote: bool,
        /// Only of this source
        #[arg(long, value_name = "S")]
        source: Option<Name>,
        /// Only with this word
        #[arg(long, value_name = "W")]
        search: Option<String>,
    },
    /// Downloads a template
    Download {
        #[arg(value_name = "REF")]
        reference: TemplateRef,
        /// Prints the task instead of waiting
        #[arg(long)]
        detach: bool,
    },
    /// Makes an archive a template
    Import {
        /// A file, or an address that begins with http:// or https://
        #[arg(value_name = "FILE|URL")]
        archive: String,
        /// The template becomes local:NAME
        #[arg(long, value_name = "N")]
        name: Option<Name>,
        /// What the archive must hash to
        #[arg(long, value_name = "H")]
        sha256: Option<String>,
        /// Prints the task instead of waiting
        #[arg(long)]
        detach: bool,
    },
    /// Removes a template that no container stands on
    Remove {
        #[arg(value_name = "REF")]
        reference: TemplateRef,
    },
    /// Shows one template
    Show {
        #[arg(value_name = "REF")]
        reference: TemplateRef,
    },
}

/// Runs one of them.
pub async fn run(session: &Session, command: Command) -> Result<(), Failure> {
    match command {
        Command::List { remote, source, search } => {
            let pairs = [
                ("remote", remote.then(|| "true".to_owned())),
                ("source", source.map(String::from)),
                ("search", search),
            ];
            let templates: Vec<Template> = session.client.get(&format!("/api/v1/templates{}", query(&pairs))).await?;
            session
                .out
                .list(&templates, &["REF", "OS", "RELEASE", "ARCH", "VARIANT", "SIZE", "BUILT", "HERE"], cells)
        }
        Command::Download { reference, detach } => {
            let task: Task = session.client.post("/api/v1/templates", &serde_json::json!({ "ref": reference })).await?;
            session.finish(task, detach, &format!("downloaded {reference}")).await
        }
        Command::Import { archive, name, sha256, detach } => {
            let task = import(session, &archive, name, sha256).await?;
            session.finish(task, detach, &format!("imported {archive}")).await
        }
        Command::Remove { reference } => {
            session.client.tell(Method::DELETE, &path(&reference), &()).await?;
            session.out.done(&serde_json::json!({ "ref": reference }), &format!("removed {reference}"))
        }
        Command::Show { reference } => {
            let template: Template = session.client.get(&path(&reference)).await?;
            session.out.one(&template, fields)
        }
    }
}

fn path(reference: &TemplateRef) -> String {
    format!("/api/v1/templates/{}", segment(&reference.to_string()))
}

async fn import(session: &Session, archive: &str, name: Option<Name>, sha256: Option<String>) -> Result<Task, Failure> {
    if archive.starts_with("http://") || archive.starts_with("https://") {
        let body = serde_json::json!({ "url": archive, "name": name, "sha256": sha256 });
        return session.client.post("/api/v1/templates/import", &body).await;
    }
    let name = match name {
        Some(name) => name,
        None => name_of(archive).ok_or_else(|| Failure::usage(format!("name is missing (`{archive}` does not suggest one; give --name)")))?,
    };
    let file = tokio::fs::File::open(archive).await;
    let file = file.map_err(|error| Failure::failed(format!("{archive} cannot be read ({error}; check the path)")))?;
    let pairs = [("name", Some(String::from(name))), ("sha256", sha256)];
    session
        .client
        .upload(
            &format!("/api/v1/templates/upload{}", query(&pairs)),
            Body::from_stream(ReaderStream::with_capacity(file, 256 << 10)),
        )
        .await
}

/// `/tmp/Busybox-1.36.tar.xz` suggests `busybox-1-36`.
fn name_of(archive: &str) -> Option<Name> {
    let file = Path::new(archive).file_name()?.to_str()?.to_ascii_lowercase();
    let stem = file.rsplit_once(".tar").map_or(file.as_str(), |(stem, _)| stem);
    let stem = [".tgz", ".txz", ".tzst"].iter().find_map(|end| stem.strip_suffix(end)).unwrap_or(stem);
    stem.replace(['.', '_'], "-").parse().ok()
}

fn cells(template: &Template) -> Vec<String> {
    let here = match (&template.unusable, template.downloaded, template.newer_available) {
        (Some(why), _, _) => format!("unusable: {why}"),
        (None, true, true) => "yes, a newer one is offered".to_owned(),
        (None, true, false) => "yes".to_owned(),
        (None, false, _) => "no".to_owned(),
    };
    vec![
        template.reference.to_string(),
        template.os.clone(),
        template.release.clone(),
        template.arch.clone(),
        template.variant.clone(),
        maybe_size(template.size_bytes),
        moment(template.created_at),
        here,
    ]
}

fn fields(template: &Template) -> Vec<(&'static str, String)> {
    vec![
        ("ref", template.reference.to_string()),
        ("name", template.name.clone()),
        ("system", format!("{} {} {} {}", template.os, template.release, template.arch, template.variant)),
        ("digest", template.digest.as_ref().map(ToString::to_string).unwrap_or_default()),
        ("download", maybe_size(template.size_bytes)),
        ("on disk", template.unpacked_bytes.map(super::output::size).unwrap_or_default()),
        ("here", if template.downloaded { "yes" } else { "no" }.to_owned()),
        ("newer", if template.newer_available { "offered" } else { "" }.to_owned()),
        ("built", moment(template.created_at)),
        ("end of life", template.end_of_life.clone().unwrap_or_default()),
        ("checked", template.verified.clone().unwrap_or_default()),
        ("used by", words(&template.used_by)),
        ("unusable", template.unusable.clone().unwrap_or_default()),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_suggests_its_name() {
        let name = |path: &str| name_of(path).map(String::from);
        assert_eq!(name("/tmp/Busybox-1.36.tar.xz").as_deref(), Some("busybox-1-36"));
        assert_eq!(name("root.tgz").as_deref(), Some("root"));
        assert_eq!(name("/tmp/123.tar"), None);
    }

    #[test]
    fn a_reference_is_one_segment() {
        let reference = "images:debian/13".parse().expect("a reference");
        assert_eq!(path(&reference), "/api/v1/templates/images%3Adebian%2F13");
    }
}
