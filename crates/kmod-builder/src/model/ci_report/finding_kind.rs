use std::fmt;
use std::str::FromStr;

use kmod_compat::serde_as_text;

/// [`FindingKind::TABLE`] has a row for each. Records, issue markers, summaries and the README follow from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FindingKind {
    /// No OpenZFS release supports the kernel yet. Not a failure.
    Unsupported,
    /// A metadata server or a download failed.
    Upstream,
    /// No known repository has kernel-devel for the kernel.
    KernelDevelMissing,
    Build,
    /// The built image breaks the RPM contract, or the published one lacks evidence.
    Contract,
    Boot,
    Registry,
    Permission,
    /// Upstream's statements about a release disagree, or its tarball was replaced. Somebody must look.
    UnverifiedRelease,
    /// A followed source does not exist any more. Its tags stay. Somebody must look.
    SourceGone,
    /// An image was recalled. Not a failure.
    Withdrawn,
    DiskFull,
    /// A builder image or a key of a new Fedora release does not exist yet. Not a failure.
    MissingInput,
    /// A job left no record: its machine was lost, it was cancelled, or it timed out.
    Lost,
    Other,
}

#[derive(Clone, Copy, Debug)]
pub struct FindingRow {
    pub kind: FindingKind,
    /// Written to records and issue markers: change it only with an entry in `former_ids`.
    pub id: &'static str,
    /// Accepted when reading.
    pub former_ids: &'static [&'static str],
    pub title: &'static str,
    pub advice: &'static str,
    pub level: FindingLevel,
    /// The stage that a target must have reached to have this finding; `None` if any.
    pub stage: Option<u8>,
}

/// The level of the annotation in GitHub Actions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FindingLevel {
    Notice,
    /// Often temporary.
    Warning,
    Error,
}

impl FindingLevel {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Notice => "notice",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

const OTHER: FindingRow = FindingRow {
    kind: FindingKind::Other,
    id: "other",
    former_ids: &[],
    title: "something else failed",
    advice: "Read the message and the log of the job.",
    level: FindingLevel::Error,
    stage: None,
};

impl FindingKind {
    /// In the order of the summary.
    pub const TABLE: [FindingRow; 15] = [
        FindingRow {
            kind: Self::Unsupported,
            id: "unsupported",
            former_ids: &["held"],
            title: "not supported by OpenZFS",
            advice: "Nothing: it is built automatically when a release of OpenZFS supports the kernel. Until then hosts \
                     stay on the previous kernel.",
            level: FindingLevel::Notice,
            stage: Some(0),
        },
        FindingRow {
            kind: Self::Upstream,
            id: "upstream",
            title: "upstream does not answer",
            advice: "Nothing if it passes: the next scheduled run tries again.",
            level: FindingLevel::Warning,
            ..OTHER
        },
        FindingRow {
            kind: Self::KernelDevelMissing,
            id: "kernel-devel-missing",
            former_ids: &["headers-gone"],
            title: "kernel-devel is missing",
            advice: "Upstream has dropped kernel-devel of a kernel that a stream still ships. Look for it in Fedora's \
                     build system. The next stream release fixes this.",
            stage: Some(1),
            ..OTHER
        },
        FindingRow {
            kind: Self::Build,
            id: "build",
            title: "the build failed",
            advice: "Read the end of the log. If OpenZFS does not compile for this kernel although it declares support, \
                     add an `[[exclude]]` row to compat/zfs.toml with the link to the report.",
            stage: Some(2),
            ..OTHER
        },
        FindingRow {
            kind: Self::Contract,
            id: "contract",
            title: "the RPM contract is broken",
            advice: "The image was not kept. The log names each check that failed; hosts cannot use the packages of this \
                     build.",
            stage: Some(3),
            ..OTHER
        },
        FindingRow {
            kind: Self::Boot,
            id: "boot",
            title: "the boot test failed",
            advice: "The image stays a candidate and is not promoted. The log ends with the console of the guest; report \
                     it to OpenZFS if the modules are at fault.",
            stage: Some(4),
            ..OTHER
        },
        FindingRow {
            kind: Self::Registry,
            id: "registry",
            title: "the registry does not answer",
            advice: "Nothing if it passes: the next scheduled run continues from what is published.",
            level: FindingLevel::Warning,
            ..OTHER
        },
        FindingRow {
            kind: Self::Permission,
            id: "permission",
            title: "a permission is missing",
            advice: "In GitHub: the package's settings, Manage Actions access, must give this repository the role Write, \
                     and Admin for the clean-up; the repository's settings must let workflows request the permissions \
                     that the jobs declare.",
            ..OTHER
        },
        FindingRow {
            kind: Self::UnverifiedRelease,
            id: "unverified-release",
            title: "a release cannot be verified",
            advice: "Find out why upstream's statements about the release disagree; `zfs-kmods matrix sync` shows them. Older \
                     releases stay in use. When it is clear, add the release's row to compat/zfs.toml.",
            stage: Some(0),
            ..OTHER
        },
        FindingRow {
            kind: Self::SourceGone,
            id: "source-gone",
            title: "a source is gone",
            advice: "Its channel stays where it is. Follow another source, or remove it from the configuration.",
            ..OTHER
        },
        FindingRow {
            kind: Self::Withdrawn,
            id: "withdrawn",
            title: "an image is withdrawn",
            advice: "Hosts with it should move to another image; its channels moved already if there is one. Removing the \
                     `[[exclude]]` row reinstates it.",
            level: FindingLevel::Notice,
            stage: Some(0),
            ..OTHER
        },
        FindingRow {
            kind: Self::DiskFull,
            id: "disk-full",
            title: "the disk is full",
            advice: "Free space on the machine of the job: a build needs 12 GB, half of them for the cache.",
            ..OTHER
        },
        FindingRow {
            kind: Self::MissingInput,
            id: "missing-input",
            title: "an input is not there yet",
            advice: "Nothing if it passes: it is built when upstream publishes the builder image. A key of a new Fedora release \
                     comes with an update of the program, or with --fedora-keys.",
            level: FindingLevel::Notice,
            stage: Some(0),
            ..OTHER
        },
        FindingRow {
            kind: Self::Lost,
            id: "lost",
            title: "a job was lost",
            advice: "Run the failed jobs again. If they fail again, check whether they run out of time or disk.",
            ..OTHER
        },
        OTHER,
    ];

    pub fn row(self) -> FindingRow {
        Self::TABLE[self as usize]
    }

    pub fn as_str(self) -> &'static str {
        self.row().id
    }

    pub fn title(self) -> &'static str {
        self.row().title
    }

    pub fn advice(self) -> &'static str {
        self.row().advice
    }

    pub fn is_failure(self) -> bool {
        self.row().level != FindingLevel::Notice
    }
}

impl fmt::Display for FindingKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for FindingKind {
    type Err = UnknownFindingKind;

    fn from_str(id: &str) -> Result<Self, Self::Err> {
        let row = Self::TABLE.into_iter().find(|row| row.id == id || row.former_ids.contains(&id));
        row.map(|row| row.kind).ok_or_else(|| UnknownFindingKind(id.to_owned()))
    }
}

serde_as_text!(FindingKind);

#[derive(Debug, thiserror::Error)]
#[error("`{0}` is not the id of a finding")]
pub struct UnknownFindingKind(String);
