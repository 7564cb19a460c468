//! `berth token`: secrets for scripts.

use hyper::Method;
use model::access::{NewToken, Role, TokenInfo};
use model::id::Name;

use super::Session;
use super::audit::{Time, time};
use super::client::segment;
use super::output::{Format, moment, print};
use crate::failure::Failure;

#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Makes one and prints it, once
    Create {
        name: Name,
        /// viewer, operator or administrator
        #[arg(long, default_value = "viewer")]
        role: Role,
        /// A time, or a span from now such as 30d; lives until it is revoked unless given
        #[arg(long, value_name = "T", value_parser = time)]
        expires: Option<Time>,
    },
    /// Lists them without their secrets
    List,
    /// Revokes one
    Revoke { name: Name },
}

/// Runs one of them.
pub async fn run(session: &Session, command: Command) -> Result<(), Failure> {
    match command {
        Command::Create { name, role, expires } => {
            let body = serde_json::json!({ "name": name, "role": role, "expires": expires.map(Time::ahead) });
            let token: NewToken = session.client.post("/api/v1/tokens", &body).await?;
            match session.out.format {
                Format::Json => session.out.document(&token),
                Format::Table if session.out.quiet => print(&format!("{}\n", token.token)),
                Format::Table => {
                    let until = token.info.expires_at.map_or_else(|| "it is revoked".to_owned(), |at| moment(Some(at)));
                    print(&format!(
                        "{}\ntoken {} ({}) lives until {until}; it is shown only now\n",
                        token.token,
                        token.info.name,
                        token.info.role.as_str()
                    ))
                }
            }
        }
        Command::List => {
            let tokens: Vec<TokenInfo> = session.client.get("/api/v1/tokens").await?;
            session.out.list(&tokens, &["NAME", "ROLE", "CREATED", "BY", "EXPIRES", "LAST USED"], cells)
        }
        Command::Revoke { name } => {
            session
                .client
                .tell(Method::DELETE, &format!("/api/v1/tokens/{}", segment(name.as_str())), &())
                .await?;
            session.out.done(&serde_json::json!({ "name": name }), &format!("revoked {name}"))
        }
    }
}

fn cells(token: &TokenInfo) -> Vec<String> {
    vec![
        token.name.to_string(),
        token.role.as_str().to_owned(),
        moment(Some(token.created_at)),
        token.created_by.clone(),
        moment(token.expires_at),
        moment(token.last_used_at),
    ]
}
