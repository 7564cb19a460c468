//! `berth doctor`: what is left on the host and in the store that no container has, what is damaged, and the repair.
//! What is damaged shows in checksums and structure: of the store, of the program that holds containers, and in layers that
//! are missing. What is inside a layer is not read: its checksum was the archive's, which is not kept.
//!
//! Invariant: data of containers are never removed; what somebody has to decide about is only told.

use std::collections::BTreeSet;

use model::ContainerId;
use model::access::Permission;
use model::leftover::{Finding, FindingState, Leftover, LeftoverKind};

use super::Containers;
use super::row::{RangeRow, key};
use crate::caller::Caller;
use crate::engine;
use crate::error::Result;
use crate::store::{Edit, Rev};
use crate::templates::Standing;

/// A key that no container has, and how it becomes free.
struct Claim {
    key: String,
    rev: Rev,
    id: ContainerId,
    /// Of user ids: those are kept back for a while, whoever had them.
    is_range: bool,
}

impl Containers {
    /// Looks for what is left, and repairs it if that is wanted.
    ///
    /// # Errors
    /// `NotAllowed`; the store or the engine fails.
    pub async fn examine(&self, caller: &Caller, repairs: bool) -> Result<Vec<Finding>> {
        caller.require(Permission::Administer)?;
        let mut findings = Vec::new();
        let left = self.left_on_host().await?;
        // What somebody has to decide about keeps its ids and addresses until then.
        let strangers = left.iter().filter(|leftover| leftover.kind == LeftoverKind::Container);
        let strangers: BTreeSet<_> = strangers.filter_map(|leftover| leftover.container).collect();
        for leftover in left {
            findings.push(self.treat(leftover, repairs).await);
        }
        for claim in self.stray_claims(&strangers).await? {
            let leftover = Leftover {
                kind: LeftoverKind::Claim,
                name: claim.key.clone(),
                container: Some(claim.id),
            };
            let repaired = if repairs { Some(self.free(claim).await) } else { None };
            findings.push(finding(leftover, repaired));
        }
        findings.extend(self.damage().await?);
        if repairs {
            findings.extend(self.mend_network().await);
            let told: Vec<String> = findings
                .iter()
                .map(|finding| format!("{}: {}", finding.leftover.kind.as_str(), finding.leftover.name))
                .collect();
            let is_whole = findings.iter().all(|finding| finding.state != FindingState::Failed);
            self.parts.access.record(caller, "host.repair", "host", &told.join("; "), is_whole).await;
        }
        Ok(findings)
    }

    /// What the engine finds, as the store sees it.
    async fn left_on_host(&self) -> Result<Vec<Leftover>> {
        let mut left = engine::call(&self.parts.engine, |engine| engine.leftovers()).await?;
        let observed = engine::call(&self.parts.engine, |engine| engine.observe()).await?;
        let known = self.known().await?;
        left.retain_mut(|leftover| match (leftover.kind, leftover.container) {
            (LeftoverKind::Folder, Some(id)) if known.contains(&id) => {
                leftover.kind = LeftoverKind::Manifest;
                // One that is being made gets it in a moment.
                self.board.get(id).is_some_and(|live| live.row.made)
            }
            _ => true,
        });
        let unmade: BTreeSet<_> = left
            .iter()
            .filter(|leftover| leftover.kind == LeftoverKind::Folder)
            .filter_map(|leftover| leftover.container)
            .collect();
        let strangers = observed.iter().map(|seen| seen.id).filter(|id| !known.contains(id) && !unmade.contains(id));
        left.extend(strangers.map(|id| Leftover {
            kind: LeftoverKind::Container,
            name: id.to_string(),
            container: Some(id),
        }));
        Ok(left)
    }

    /// What no repair of ours brings back.
    async fn damage(&self) -> Result<Vec<Finding>> {
        let verdict = self.parts.facts.0.verify().await?;
        let store = verdict.map(|why| {
            let way = format!("{why}; stop the console and restore the file from a backup, or run `berth rescue`");
            left_alone(of_nobody(LeftoverKind::Store, "berth.db"), way)
        });
        let missing = self.parts.templates.missing_layers().await?;
        let layers = missing
            .into_iter()
            .map(|(layer, standing)| left_alone(of_nobody(LeftoverKind::Layer, layer.to_string()), way_back(&standing)));
        Ok(store.into_iter().chain(layers).collect())
    }

    async fn treat(&self, leftover: Leftover, repairs: bool) -> Finding {
        if leftover.kind == LeftoverKind::Container {
            let way = "the store does not know it; stop the console and run `berth rescue` to take it up again";
            return left_alone(leftover, way);
        }
        if !repairs {
            return finding(leftover, None);
        }
        let repaired = match (leftover.kind, leftover.container) {
            (LeftoverKind::Manifest, Some(id)) => self.write_manifest(id).await,
            _ => {
                let asked = leftover.clone();
                engine::call(&self.parts.engine, move |engine| engine.clear(&asked)).await
            }
        };
        finding(leftover, Some(repaired))
    }

    /// Containers of the store, in the trash too. Not of the board, which shows them a moment later. The trash is read before
    /// and after the others: one that moves meanwhile, either way, is seen.
    async fn known(&self) -> Result<BTreeSet<ContainerId>> {
        let mut known = self.trashed().await?;
        let rows = self.parts.facts.list::<serde_json::Value>(key::CONTAINERS).await?;
        known.extend(rows.keys().filter_map(|rest| rest.strip_suffix("/spec")?.parse::<ContainerId>().ok()));
        known.extend(self.trashed().await?);
        Ok(known)
    }

    /// Claims are read before the containers: both come in one transaction, so that one of a container that is being made
    /// is never taken for stray.
    async fn stray_claims(&self, strangers: &BTreeSet<ContainerId>) -> Result<Vec<Claim>> {
        let mut claims = Vec::new();
        for (rest, fact) in self.parts.facts.list::<RangeRow>(key::RANGES).await? {
            if let RangeRow::Owner(id) = fact.value {
                let (key, rev) = (format!("{}{rest}", key::RANGES), fact.rev);
                claims.push(Claim { key, rev, id, is_range: true });
            }
        }
        for prefix in [key::NAMES, key::MACS, key::ADDRESSES] {
            for (rest, fact) in self.parts.facts.list::<ContainerId>(prefix).await? {
                let (key, rev, id) = (format!("{prefix}{rest}"), fact.rev, fact.value);
                claims.push(Claim { key, rev, id, is_range: false });
            }
        }
        let known = self.known().await?;
        claims.retain(|claim| !known.contains(&claim.id) && !strangers.contains(&claim.id));
        Ok(claims)
    }

    async fn free(&self, claim: Claim) -> Result<()> {
        let edit: Edit = self.parts.facts.change().unchanged(&claim.key, claim.rev);
        let edit = if claim.is_range {
            edit.put(&claim.key, &RangeRow::FreedAt(self.parts.clock.now()))
        } else {
            edit.delete(&claim.key)
        };
        // Whoever changed it meanwhile has it.
        edit.commit().await.map(drop)
    }

    /// Rules that somebody flushed, a bridge that is gone: put back whether or not anybody noticed.
    async fn mend_network(&self) -> Vec<Finding> {
        let failed = |name: String, error| finding(of_nobody(LeftoverKind::Network, name), Some(Err(error)));
        match self.refresh_bridges().await {
            Ok(unmade) => unmade.into_iter().map(|one| failed(one.bridge, one.error)).collect(),
            Err(error) => vec![failed("network".into(), error)],
        }
    }
}

/// What belongs to no container in particular.
fn of_nobody(kind: LeftoverKind, name: impl Into<String>) -> Leftover {
    Leftover {
        kind,
        name: name.into(),
        container: None,
    }
}

/// What somebody has to decide about, with the way to do it.
fn left_alone(leftover: Leftover, way: impl Into<String>) -> Finding {
    Finding {
        leftover,
        state: FindingState::LeftAlone,
        message: Some(way.into()),
    }
}

/// Who stands on a layer that is missing, and how it comes back.
fn way_back(standing: &Standing) -> String {
    let Standing { templates, containers } = standing;
    let users: Vec<String> = templates.iter().map(ToString::to_string).chain(containers.iter().cloned()).collect();
    let way = match templates.iter().find(|reference| reference.source().as_str() != "local") {
        // A newer build is another layer.
        Some(reference) => format!("run `berth template download {reference}`; containers need the same build"),
        None if templates.is_empty() => "restore its folder in `layers` from a backup of the host".to_owned(),
        None => "import the same file again under another name".to_owned(),
    };
    format!("it is missing under {}; {way}", users.join(", "))
}

fn finding(leftover: Leftover, repaired: Option<Result<()>>) -> Finding {
    let (state, message) = match repaired {
        None => (FindingState::Found, None),
        Some(Ok(())) => (FindingState::Repaired, None),
        Some(Err(error)) => (FindingState::Failed, Some(error.to_string())),
    };
    Finding { leftover, state, message }
}
