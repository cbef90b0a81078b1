//! The invariants of a plan, written independently of the code under test.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::cleanup::{ManifestKind, RetentionPlan, RetentionPolicy, StoredManifest, TagClass};
use crate::model::{Digest, Target};

/// The first invariant that the plan breaks.
pub(super) fn broken(
    all: &[StoredManifest],
    policy: &RetentionPolicy,
    plan: &RetentionPlan,
) -> Result<(), String> {
    let kept: BTreeSet<&Digest> = plan.kept().iter().map(|entry| &entry.digest).collect();
    let gone: Vec<&Digest> = plan.deletions().iter().map(|entry| &entry.digest).collect();
    each_exactly_once(all, plan)?;
    for stored in all {
        let needs = needs(stored, all);
        if kept.contains(&stored.digest) {
            if let Some(lost) = needs.iter().find(|needed| !kept.contains(*needed)) {
                return Err(format!("{} is kept and needs {lost}, which is deleted", stored.digest));
            }
        } else if let Some(reason) = must_stay(stored, policy) {
            return Err(format!("{} is deleted although {reason}", stored.digest));
        }
    }
    newest_survive(all, policy, &kept)?;
    order_is_safe(all, &gone)
}

fn each_exactly_once(all: &[StoredManifest], plan: &RetentionPlan) -> Result<(), String> {
    let planned: Vec<&Digest> = plan.entries().iter().map(|entry| &entry.digest).collect();
    let stored: BTreeSet<&Digest> = all.iter().map(|stored| &stored.digest).collect();
    let unique: BTreeSet<&Digest> = planned.iter().copied().collect();
    if planned.len() == stored.len() && unique == stored {
        Ok(())
    } else {
        Err("the plan does not have each manifest exactly once".to_owned())
    }
}

/// What would leave this broken or unproven if it went; and what evidence speaks about, without which it is nothing.
fn needs<'a>(one: &'a StoredManifest, all: &'a [StoredManifest]) -> BTreeSet<&'a Digest> {
    let names = |tag: &str, other: &StoredManifest| {
        let rest = tag.strip_prefix("sha256-").and_then(|rest| rest.strip_prefix(other.digest.hex()));
        rest.is_some_and(|end| ["", ".sig", ".att", ".sbom"].contains(&end))
    };
    let speaks_about = |speaker: &StoredManifest, other: &StoredManifest| {
        speaker.info.subject.as_ref() == Some(&other.digest)
            || speaker.tags.iter().any(|tag| names(tag, other))
    };
    all.iter()
        .filter(|other| other.digest != one.digest)
        .filter(|other| {
            one.info.children.contains(&other.digest) || speaks_about(other, one) || speaks_about(one, other)
        })
        .map(|other| &other.digest)
        .collect()
}

fn must_stay(stored: &StoredManifest, policy: &RetentionPolicy) -> Option<&'static str> {
    if stored.info.kind == ManifestKind::Unknown {
        return Some("its kind is unknown");
    }
    stored.tags.iter().find_map(|tag| match TagClass::of(tag) {
        TagClass::Channel => Some("a channel points to it"),
        TagClass::Audit => Some("it was promoted"),
        TagClass::Unknown => Some("it has a foreign tag"),
        TagClass::Version(target) if policy.keep_kernels.iter().any(|host| host.kernel == target.kernel) => {
            Some("a host may run its kernel")
        }
        _ => None,
    })
}

fn newest_survive(
    all: &[StoredManifest],
    policy: &RetentionPolicy,
    kept: &BTreeSet<&Digest>,
) -> Result<(), String> {
    let mut groups: BTreeMap<(String, String), Vec<&StoredManifest>> = BTreeMap::new();
    let is_evidence = |stored: &StoredManifest| {
        let names_other = |tag: &String| tag.starts_with("sha256-") && !tag.contains(stored.digest.hex());
        stored.info.kind == ManifestKind::Signature
            || stored.info.subject.is_some()
            || stored.tags.iter().any(names_other)
    };
    for stored in all.iter().filter(|stored| !is_evidence(stored)) {
        let targets: BTreeSet<(String, String)> = stored
            .tags
            .iter()
            .filter_map(|tag| Target::from_tag(&tag.parse().ok()?))
            .map(|target| (target.zfs.line().to_string(), target.arch().to_string()))
            .collect();
        for target in targets {
            groups.entry(target).or_default().push(stored);
        }
    }
    for ((line, arch), mut group) in groups {
        group.sort_by_key(|stored| std::cmp::Reverse((stored.created, stored.id)));
        if let Some(lost) =
            group.iter().take(policy.keep_newest).find(|stored| !kept.contains(&stored.digest))
        {
            return Err(format!("{} is deleted, one of the newest of {line} for {arch}", lost.digest));
        }
    }
    Ok(())
}

/// After an interruption at any deletion, no image is without what it needs.
fn order_is_safe(all: &[StoredManifest], gone: &[&Digest]) -> Result<(), String> {
    let place = |digest: &Digest| gone.iter().position(|other| *other == digest);
    for stored in all {
        let Some(own) = place(&stored.digest) else { continue };
        let evidence = |other: &&StoredManifest| {
            other.info.subject.as_ref() == Some(&stored.digest)
                || other.tags.iter().any(|tag| tag.contains(stored.digest.hex()))
        };
        let listed = |other: &&StoredManifest| stored.info.children.contains(&other.digest);
        for other in all.iter().filter(|other| evidence(other) || listed(other)) {
            let early = place(&other.digest).is_some_and(|place| place < own);
            if early && !reaches(all, other, stored, &mut BTreeSet::new()) {
                return Err(format!("{} is deleted before {}, which needs it", other.digest, stored.digest));
            }
        }
    }
    Ok(())
}

/// Tags can form cycles, for which no order is right.
fn reaches(
    all: &[StoredManifest],
    from: &StoredManifest,
    to: &StoredManifest,
    seen: &mut BTreeSet<Digest>,
) -> bool {
    if from.digest == to.digest {
        return true;
    }
    seen.insert(from.digest.clone())
        && all.iter().any(|next| {
            let needed = from.info.children.contains(&next.digest)
                || next.info.subject.as_ref() == Some(&from.digest)
                || next.tags.iter().any(|tag| tag.contains(from.digest.hex()));
            needed && reaches(all, next, to, seen)
        })
}
