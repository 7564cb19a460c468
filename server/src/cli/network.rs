//! `berth network`: managed bridges that containers join.

use hyper::Method;
use model::network::{Cidr, NetworkInfo, NewNetwork};

use super::Session;
use super::client::segment;
use crate::failure::Failure;

#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Lists them
    List,
    /// Adds one beside the default one; it is made when the first container joins it
    Add {
        /// 1 to 15 letters, digits, `-`, `_` or `.`
        bridge: String,
        /// The bridge's own address [default: in the first free /22 of 10.213.0.0/16]
        #[arg(long, value_name = "CIDR")]
        subnet: Option<Cidr>,
    },
    /// Removes one that no container joins
    Remove { bridge: String },
}

/// Runs one of them.
pub async fn run(session: &Session, command: Command) -> Result<(), Failure> {
    match command {
        Command::List => {
            let networks: Vec<NetworkInfo> = session.client.get("/api/v1/networks").await?;
            session.out.list(&networks, &["BRIDGE", "IPV4", "IPV6", "UP", "ADDRESSES"], cells)
        }
        Command::Add { bridge, subnet } => {
            let added: NetworkInfo = session.client.post("/api/v1/networks", &NewNetwork { bridge, subnet }).await?;
            session
                .out
                .done(&added, &format!("added network {} ({}, {})", added.bridge, added.ipv4, added.ipv6))
        }
        Command::Remove { bridge } => {
            let path = format!("/api/v1/networks/{}", segment(&bridge));
            session.client.tell(Method::DELETE, &path, &()).await?;
            session.out.done(&serde_json::json!({ "bridge": bridge }), &format!("removed network {bridge}"))
        }
    }
}

fn cells(network: &NetworkInfo) -> Vec<String> {
    let up = if network.up { "yes" } else { "no" };
    vec![
        network.bridge.clone(),
        network.ipv4.to_string(),
        network.ipv6.to_string(),
        up.to_owned(),
        network.leases.len().to_string(),
    ]
}
