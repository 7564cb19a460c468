//! Measures Berth beside its peers.

/// To be written.
pub fn bench(_r: u32) -> anyhow::Result<()> {
    anyhow::bail!("not yet")
}
