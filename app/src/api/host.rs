//! The host as pages show it.

use leptos::prelude::*;
use model::engine::HostReport;
use model::network::NetworkInfo;

use super::ApiResult;
#[cfg(feature = "ssr")]
use super::request;

/// What this host is and can do.
///
/// # Errors
/// Not allowed.
#[server(name = HostReportFn, prefix = "/fn", endpoint = "host/report")]
pub async fn host_report() -> ApiResult<HostReport> {
    let (control, caller) = request::request()?;
    Ok(control.host.report(&caller).await?)
}

/// The managed networks with their addresses.
///
/// # Errors
/// Not allowed.
#[server(name = NetworksFn, prefix = "/fn", endpoint = "host/networks")]
pub async fn networks() -> ApiResult<Vec<NetworkInfo>> {
    let (control, caller) = request::request()?;
    Ok(control.networks.list(&caller).await?)
}
