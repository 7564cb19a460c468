//! Runs the rootful tests in a virtual machine with pure cgroup v2.

/// To be written.
pub fn smoke() -> anyhow::Result<()> { anyhow::bail!("not yet") }
pub fn whole_suite(_a: &[String]) -> anyhow::Result<()> { anyhow::bail!("not yet") }
