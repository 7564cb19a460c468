//! `berth user`: accounts.

use hyper::Method;
use model::access::{Role, UserInfo};
use model::id::Name;

use super::Session;
use super::client::segment;
use super::create::password;
use super::output::moment;
use crate::failure::Failure;

#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Lists them
    List,
    /// Makes one
    Add {
        name: Name,
        /// viewer, operator or administrator
        #[arg(long, value_name = "R")]
        role: Role,
        /// Reads the password from standard input
        #[arg(long, required = true)]
        password_stdin: bool,
    },
    /// Gives one another role; its sessions end
    Set {
        name: Name,
        /// viewer, operator or administrator
        #[arg(long, value_name = "R")]
        role: Role,
    },
    /// Removes one with its sessions
    Remove { name: Name },
    /// Sets the password of one
    Password {
        name: Name,
        /// Reads the password from standard input
        #[arg(long, required = true)]
        password_stdin: bool,
    },
}

/// Runs one of them.
pub async fn run(session: &Session, command: Command) -> Result<(), Failure> {
    match command {
        Command::List => {
            let users: Vec<UserInfo> = session.client.get("/api/v1/users").await?;
            session.out.list(&users, &["NAME", "ROLE", "CREATED", "LAST SEEN"], cells)
        }
        Command::Add { name, role, password_stdin: _ } => {
            let body = serde_json::json!({ "name": name, "role": role, "password": password()? });
            let user: UserInfo = session.client.post("/api/v1/users", &body).await?;
            session.out.done(&user, &format!("added {} ({})", user.name, user.role.as_str()))
        }
        Command::Set { name, role } => {
            let user: UserInfo = session.client.patch(&path(&name), &serde_json::json!({ "role": role })).await?;
            session.out.done(&user, &format!("{} is {} now", user.name, user.role.as_str()))
        }
        Command::Remove { name } => {
            session.client.tell(Method::DELETE, &path(&name), &()).await?;
            session.out.done(&serde_json::json!({ "name": name }), &format!("removed {name}"))
        }
        Command::Password { name, password_stdin: _ } => {
            let body = serde_json::json!({ "password": password()? });
            session.client.tell(Method::PUT, &format!("{}/password", path(&name)), &body).await?;
            session.out.done(&serde_json::json!({ "name": name }), &format!("set the password of {name}"))
        }
    }
}

fn path(name: &Name) -> String {
    format!("/api/v1/users/{}", segment(name.as_str()))
}

fn cells(user: &UserInfo) -> Vec<String> {
    vec![
        user.name.to_string(),
        user.role.as_str().to_owned(),
        moment(Some(user.created_at)),
        moment(user.last_seen_at),
    ]
}
