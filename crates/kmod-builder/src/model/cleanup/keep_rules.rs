use kmod_compat::KernelRelease;

use super::evaluator::{Evaluated, LifetimeKind};
use super::reason::Details;
use super::{ManifestKind, RetentionReason, TagClass};

/// A reason to keep a manifest. JSON, text and `docs/cleanup.md` follow from it (checked by a test).
#[derive(Debug)]
pub struct KeepRule {
    /// In kebab-case; written to plans.
    pub id: &'static str,
    /// With the names of the details in braces.
    pub text: &'static str,
    /// Protects regardless of flags and age.
    pub is_absolute: bool,
    /// The flags of `cleanup` that set its policy.
    pub flags: &'static [&'static str],
    /// `None` for rules that follow from other manifests.
    pub(super) applies: Option<fn(&Evaluated<'_>) -> Option<Details>>,
}

/// The first rule that applies is reported.
pub const KEEP_RULES: [KeepRule; 13] = [
    absolute("channel", "the channel {tag} points to it", |it| it.tag_of(&TagClass::Channel)),
    absolute("audit", "it was promoted ({tag})", |it| it.tag_of(&TagClass::Audit)),
    absolute("unknown-tag", "the tag {tag} is not one of this program's", |it| it.tag_of(&TagClass::Unknown)),
    absolute("unknown-kind", "the media type `{media_type}` is unknown", |it| {
        let info = &it.manifest.info;
        (info.kind == ManifestKind::Unknown).then(|| vec![("media_type", info.media_type.clone())])
    }),
    by_policy(
        "host-kernel",
        "hosts can still run {kernel} ({seen})",
        &["--keep-kernels-of", "--keep-releases"],
        |it| {
            it.targets().find_map(|target| {
                let host = it
                    .evaluator
                    .policy
                    .keep_kernels
                    .iter()
                    .find(|host| is_same(&host.kernel, &target.kernel))?;
                Some(vec![("kernel", target.kernel.to_string()), ("seen", host.seen.clone())])
            })
        },
    ),
    by_policy(
        "newest",
        "it is among the {of} newest of OpenZFS {line} for {arch}",
        &["--keep-newest"],
        |it| {
            let (line, arch) =
                it.targets().map(|target| (target.zfs.line(), target.arch())).find(|group| {
                    it.evaluator.newest.get(group).is_some_and(|newest| newest.contains(&it.position))
                })?;
            let of = it.evaluator.policy.keep_newest.to_string();
            Some(vec![("line", line.to_string()), ("arch", arch.to_string()), ("of", of)])
        },
    ),
    by_policy("young", "it is younger than {until}", &["--older-than"], |it| {
        it.younger_than(&[LifetimeKind::Released, LifetimeKind::Untagged])
    }),
    by_policy(
        "young-candidate",
        "it is a candidate younger than {until}",
        &["--candidates-older-than"],
        |it| it.younger_than(&[LifetimeKind::Candidate]),
    ),
    by_policy(
        "young-branch",
        "it was built from a branch and is younger than {until}",
        &["--branches-older-than"],
        |it| it.younger_than(&[LifetimeKind::Branch]),
    ),
    by_policy("young-failed-builds", "it records failed builds and is younger than {until}", &[], |it| {
        it.younger_than(&[LifetimeKind::FailedBuilds])
    }),
    by_policy("grace", "younger than {until}: its image may still be uploading", &[], |it| {
        it.younger_than(&[LifetimeKind::Orphan, LifetimeKind::Superseded, LifetimeKind::Attached])
    }),
    absolute("age-unknown", "its age is unknown", |it| {
        // Attached evidence follows its image, whose age is checked instead.
        let needs_age = it.lifetimes.iter().any(|lifetime| lifetime.kind != LifetimeKind::Attached);
        (needs_age && it.manifest.since().is_none()).then(Vec::new)
    }),
    NEEDED,
];

/// Applied by the closure over dependencies.
const NEEDED: KeepRule =
    KeepRule { id: "needed", text: "{by} needs it", is_absolute: true, flags: &[], applies: None };

const fn absolute(
    id: &'static str,
    text: &'static str,
    applies: fn(&Evaluated<'_>) -> Option<Details>,
) -> KeepRule {
    KeepRule { id, text, is_absolute: true, flags: &[], applies: Some(applies) }
}

const fn by_policy(
    id: &'static str,
    text: &'static str,
    flags: &'static [&'static str],
    applies: fn(&Evaluated<'_>) -> Option<Details>,
) -> KeepRule {
    KeepRule { id, text, is_absolute: false, flags, applies: Some(applies) }
}

pub(super) fn needed_by(digest: &crate::model::Digest) -> RetentionReason {
    RetentionReason::new(NEEDED.id, NEEDED.text, vec![("by", digest.to_string())])
}

/// Variants count as the same kernel: a host may switch between the debug and the plain build.
fn is_same(one: &KernelRelease, other: &KernelRelease) -> bool {
    let plain =
        |kernel: &KernelRelease| (kernel.version().to_owned(), kernel.release().to_owned(), kernel.arch());
    plain(one) == plain(other)
}
