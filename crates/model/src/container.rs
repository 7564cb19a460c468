//! A container: its configuration, its state, what may be done with it in that state, and how lists show it.

use serde::{Deserialize, Serialize};

use crate::firewall::Rule;
use crate::id::{ContainerId, ContainerName, Digest, TemplateRef};
use crate::limits::Limits;
use crate::network::{NicSpec, Publish};
use crate::storage::Mount;
use crate::time::Timestamp;

/// The states of interface.md; `unknown` = Berth cannot tell, and is never shown as stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum ContainerState {
    Creating,
    Stopped,
    Starting,
    Running,
    Freezing,
    Frozen,
    Stopping,
    Deleting,
    Error,
    Unknown,
}

impl ContainerState {
    pub const ALL: [Self; 10] = [
        Self::Creating,
        Self::Stopped,
        Self::Starting,
        Self::Running,
        Self::Freezing,
        Self::Frozen,
        Self::Stopping,
        Self::Deleting,
        Self::Error,
        Self::Unknown,
    ];

    /// The word of the interface.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Creating => "creating",
            Self::Stopped => "stopped",
            Self::Starting => "starting",
            Self::Running => "running",
            Self::Freezing => "freezing",
            Self::Frozen => "frozen",
            Self::Stopping => "stopping",
            Self::Deleting => "deleting",
            Self::Error => "error",
            Self::Unknown => "unknown",
        }
    }

    /// Whether processes of the container exist (or may exist).
    #[must_use]
    pub fn is_live(self) -> bool {
        matches!(
            self,
            Self::Starting | Self::Running | Self::Freezing | Self::Frozen | Self::Stopping | Self::Unknown
        )
    }

    /// Whether the action is legal in this state; server and browser ask the same function (ui.md rule 3).
    ///
    /// # Errors
    /// The reason, for a tooltip or a 409.
    pub fn allows(self, action: Action) -> Result<(), Refusal> {
        use Action as A;
        let legal = match action {
            A::Start => matches!(self, Self::Stopped | Self::Error),
            // One that ended by itself may be waiting to be started again.
            A::Stop => matches!(self, Self::Starting | Self::Running),
            A::Restart => self == Self::Running,
            A::Kill => matches!(
                self,
                Self::Starting | Self::Running | Self::Freezing | Self::Frozen | Self::Stopping | Self::Unknown
            ),
            A::Freeze | A::Exec => self == Self::Running,
            A::Unfreeze => matches!(self, Self::Frozen | Self::Freezing),
            A::Console => !matches!(self, Self::Creating | Self::Deleting),
            A::Update => !matches!(self, Self::Creating | Self::Deleting | Self::Unknown),
            A::Rename => matches!(self, Self::Stopped | Self::Error),
            A::Delete => matches!(self, Self::Stopped | Self::Error),
            A::ForceDelete => !matches!(self, Self::Creating | Self::Deleting),
        };
        if legal { Ok(()) } else { Err(self.refusal(action)) }
    }

    fn refusal(self, action: Action) -> Refusal {
        match (self, action) {
            (Self::Frozen, Action::Exec) => Refusal::Frozen,
            (Self::Frozen, Action::Stop | Action::Restart) => Refusal::FrozenCannotStop,
            (Self::Running, Action::Start) => Refusal::Runs,
            (Self::Stopped | Self::Error, _) => Refusal::Stopped,
            (Self::Creating, _) => Refusal::Creating,
            (Self::Deleting, _) => Refusal::Deleting,
            (Self::Unknown, _) => Refusal::Unknown,
            (Self::Stopping, _) => Refusal::Stopping,
            (_, Action::Delete) => Refusal::RunsCannotDelete,
            (_, Action::Rename) => Refusal::RunsCannotRename,
            _ => Refusal::OtherState,
        }
    }
}

/// Why an action is not legal in a state. Its text is English; pages say it in the visitor's language.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Refusal {
    Frozen,
    FrozenCannotStop,
    Runs,
    Stopped,
    Creating,
    Deleting,
    Unknown,
    Stopping,
    RunsCannotDelete,
    RunsCannotRename,
    OtherState,
}

impl Refusal {
    pub const ALL: [Self; 11] = [
        Self::Frozen,
        Self::FrozenCannotStop,
        Self::Runs,
        Self::Stopped,
        Self::Creating,
        Self::Deleting,
        Self::Unknown,
        Self::Stopping,
        Self::RunsCannotDelete,
        Self::RunsCannotRename,
        Self::OtherState,
    ];

    /// The reason in English.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Frozen => "the container is frozen; unfreeze it first",
            Self::FrozenCannotStop => "the container is frozen; unfreeze it first, or kill it",
            Self::Runs => "the container runs already",
            Self::Stopped => "the container is stopped",
            Self::Creating => "the container is still being created",
            Self::Deleting => "the container is being deleted",
            Self::Unknown => "Berth cannot tell what state the container is in",
            Self::Stopping => "the container is stopping; kill it if it does not end",
            Self::RunsCannotDelete => "the container runs; stop it first, or delete it by force",
            Self::RunsCannotRename => "the container runs; stop it first",
            Self::OtherState => "the container is not in a state for this",
        }
    }
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What can be done with a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    Start,
    Stop,
    Restart,
    Kill,
    Freeze,
    Unfreeze,
    Exec,
    Console,
    Update,
    Rename,
    Delete,
    ForceDelete,
}

/// What happens when init ends by itself. An end that nobody saw, because the container's shim was gone, counts as a failure.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "kebab-case")]
pub enum RestartPolicy {
    #[default]
    No,
    OnFailure,
    Always,
}

impl RestartPolicy {
    /// The word of the interface.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::No => "no",
            Self::OnFailure => "on-failure",
            Self::Always => "always",
        }
    }
}

/// Everything a person decides about a container: the effective configuration that the policy judges.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct ContainerSpec {
    pub name: ContainerName,
    /// Absent = the name.
    #[serde(default)]
    pub hostname: Option<String>,
    pub template: TemplateRef,
    #[serde(default)]
    pub limits: Limits,
    /// Absent = one NIC on the default bridge with DHCP; empty = none.
    #[serde(default = "NicSpec::default_list")]
    pub nics: Vec<NicSpec>,
    #[serde(default)]
    pub publish: Vec<Publish>,
    /// The first rule that fits a packet decides; what fits none passes.
    #[serde(default)]
    pub firewall: Vec<Rule>,
    #[serde(default)]
    pub mounts: Vec<Mount>,
    /// `K=V` pairs for init, in order.
    #[serde(default)]
    pub env: Vec<(String, String)>,
    /// Public keys for root.
    #[serde(default)]
    pub ssh_keys: Vec<String>,
    /// Starts with the host.
    #[serde(default)]
    pub autostart: bool,
    /// Those with a lower order start with the host before those with a higher one, and those without one last.
    #[serde(default)]
    pub autostart_order: Option<u32>,
    /// How long the next order waits once this container has been started with the host.
    #[serde(default)]
    pub autostart_delay_seconds: u32,
    #[serde(default)]
    pub restart: RestartPolicy,
    #[serde(default)]
    pub nesting: bool,
    #[serde(default)]
    pub tags: Vec<String>,
    /// Free text of at most 64 KiB.
    #[serde(default)]
    pub notes: String,
}

impl ContainerSpec {
    /// A container with nothing asked for.
    #[must_use]
    pub fn new(name: ContainerName, template: TemplateRef) -> Self {
        Self {
            name,
            hostname: None,
            template,
            limits: Limits::default(),
            nics: NicSpec::default_list(),
            publish: Vec::new(),
            firewall: Vec::new(),
            mounts: Vec::new(),
            env: Vec::new(),
            ssh_keys: Vec::new(),
            autostart: false,
            autostart_order: None,
            autostart_delay_seconds: 0,
            restart: RestartPolicy::default(),
            nesting: false,
            tags: Vec::new(),
            notes: String::new(),
        }
    }
}

/// A request to create: the spec, and what is used once and never stored in the clear.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct CreateRequest {
    #[serde(flatten)]
    pub spec: ContainerSpec,
    /// Password of root inside; stored only as a hash in the container's own shadow file.
    #[serde(default)]
    pub password: Option<String>,
    /// Start it once it is created.
    #[serde(default)]
    pub start: bool,
}

/// One field-by-field change of a configuration: KEY is a long flag of `create`, VALUE its text (`none` = unlimited).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct UpdateRequest {
    pub set: Vec<(String, String)>,
}

/// Which template a container was made from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct TemplateUse {
    #[serde(rename = "ref")]
    pub reference: TemplateRef,
    pub digest: Digest,
}

/// A row of `berth list`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct ContainerSummary {
    pub id: ContainerId,
    pub name: ContainerName,
    pub state: ContainerState,
    /// The container lives but its shim is gone.
    #[serde(default)]
    pub degraded: bool,
    pub pid: Option<u32>,
    pub template: Option<TemplateUse>,
    pub ipv4: Vec<String>,
    pub ipv6: Vec<String>,
    /// Always true: every container has a user namespace.
    pub unprivileged: bool,
    pub autostart: bool,
    pub tags: Vec<String>,
    pub created_at: Timestamp,
    pub started_at: Option<Timestamp>,
    pub limits: Limits,
    /// How the last run ended, when it did not end as asked.
    #[serde(default)]
    pub last_exit: Option<ExitRecord>,
    /// The running task that works on this container.
    #[serde(default)]
    pub task: Option<crate::id::TaskId>,
    /// Milliseconds since the epoch at which a graceful stop gives up waiting.
    #[serde(default)]
    pub stop_deadline: Option<Timestamp>,
}

/// Everything about one container.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct ContainerDetail {
    #[serde(flatten)]
    pub summary: ContainerSummary,
    pub spec: ContainerSpec,
    /// Guards updates (`If-Match`).
    pub etag: String,
    /// First host id and count of the container's own range.
    pub id_range: (u32, u32),
    pub exits: Vec<ExitRecord>,
    pub nics: Vec<NicDetail>,
    /// Whether the container must restart before everything in `spec` is true.
    #[serde(default)]
    pub pending_restart: Vec<String>,
    /// How often its restart policy has started it again since its start was asked for.
    #[serde(default)]
    pub restarts: u32,
    /// When it is started again, while its restart policy lets it wait.
    #[serde(default)]
    pub next_start_at: Option<Timestamp>,
    /// Where its template came from, as it was when the container was made.
    #[serde(default)]
    pub provenance: Option<crate::template::Provenance>,
}

/// What one NIC really has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct NicDetail {
    /// Name inside (`eth0`).
    pub name: String,
    /// Name of the host end.
    pub host_name: String,
    pub bridge: String,
    pub mac: String,
    pub ipv4: Option<String>,
    pub ipv6: Option<String>,
}

/// How a run of a container ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct ExitRecord {
    pub at: Timestamp,
    pub reason: ExitReason,
    /// Exit code of init, or 128 + signal.
    pub code: i32,
    /// Times the kernel killed a process of this run for lack of memory.
    #[serde(default)]
    pub oom_kills: u64,
    /// Failing step and cause when it never came up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum ExitReason {
    /// Halt or power-off from inside, or a graceful stop.
    PowerOff,
    /// Reboot from inside; the shim started it again.
    Reboot,
    /// Killed because somebody asked.
    Killed,
    /// Init itself ran out of memory.
    OutOfMemory,
    /// Init exited with a code or died by a signal.
    Exited,
    /// Seccomp ended init.
    Seccomp,
    /// It restarted too often.
    RestartLoop,
    /// A step of the start failed.
    StartFailed,
    /// The host went down.
    HostDown,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_spec_is_what_nothing_asked_for_reads_as() {
        let (name, template) = ("web", "images:debian/13");
        let spec = ContainerSpec::new(name.parse().unwrap(), template.parse().unwrap());
        let read = serde_json::json!({ "name": name, "template": template });
        assert_eq!(serde_json::from_value::<ContainerSpec>(read).unwrap(), spec);
    }

    #[test]
    fn stopped_container_cannot_be_frozen() {
        assert!(ContainerState::Stopped.allows(Action::Freeze).is_err());
        assert!(ContainerState::Running.allows(Action::Freeze).is_ok());
    }

    #[test]
    fn running_container_needs_force_to_be_deleted() {
        assert!(ContainerState::Running.allows(Action::Delete).is_err());
        assert!(ContainerState::Running.allows(Action::ForceDelete).is_ok());
    }

    #[test]
    fn who_waits_to_be_started_again_can_be_stopped() {
        assert!(ContainerState::Starting.allows(Action::Stop).is_ok());
        assert!(ContainerState::Starting.allows(Action::Restart).is_err());
    }

    #[test]
    fn unknown_allows_nothing_that_assumes_stopped() {
        for action in [Action::Start, Action::Delete, Action::Rename, Action::Update] {
            assert!(ContainerState::Unknown.allows(action).is_err(), "{action:?}");
        }
    }

    #[test]
    fn frozen_container_refuses_exec_with_the_way_out() {
        assert_eq!(ContainerState::Frozen.allows(Action::Exec), Err(Refusal::Frozen));
        assert!(Refusal::Frozen.to_string().contains("unfreeze it first"));
    }
}
