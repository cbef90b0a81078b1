//! Who publishes in the lab: a repository with a key, or a workflow without one.

use std::{fs, path::PathBuf};

use fake_sigstore::FakeSigstore;

use crate::error::Result;
use crate::lab::environment::REGISTRY;
use crate::lab::play::verifiers::{KeyPair, LabImage};

/// A repository of this run alone: earlier runs signed with other keys.
pub(crate) fn repository(name: &str) -> String {
    format!("{REGISTRY}/owner/{name}-{}", std::process::id())
}

/// A repository, and the key that its images are signed with.
pub(crate) struct Publisher {
    /// Host and name, without a tag.
    pub(crate) repository: String,
    pub(crate) key: KeyPair,
}

impl Publisher {
    pub(crate) fn new(name: &str, key: KeyPair) -> Self {
        Self { repository: repository(name), key }
    }

    /// For the program.
    pub(crate) fn store(&self) -> String {
        format!("docker://{}", self.repository)
    }

    /// For the program.
    pub(crate) fn pinned(&self, digest: &str) -> String {
        format!("docker://{}@{digest}", self.repository)
    }

    pub(crate) fn image<'a>(&'a self, digest: &'a str) -> LabImage<'a> {
        LabImage { repository: &self.repository, digest }
    }

    /// What makes the program sign with the key.
    pub(crate) fn environment(&self) -> Vec<(String, String)> {
        vec![
            ("ZFS_KMODS_KEY".to_owned(), self.key.private.display().to_string()),
            ("COSIGN_PASSWORD".to_owned(), KeyPair::PASSWORD.to_owned()),
        ]
    }
}

/// Sigstore and GitHub's token endpoint, for signing without a key.
pub(crate) struct KeylessServices {
    sigstore: FakeSigstore,
    trusted_root: PathBuf,
}

impl KeylessServices {
    /// Starts them. `trusted_root` is a file that is written.
    pub(crate) fn start(trusted_root: PathBuf) -> Result<Self> {
        let sigstore = FakeSigstore::start("127.0.0.1:0", fake_sigstore::claims())?;
        fs::write(&trusted_root, sigstore.trusted_root())?;
        Ok(Self { sigstore, trusted_root })
    }

    /// What a workflow's job of the default branch has with `id-token: write`, and the addresses of the services.
    pub(crate) fn environment(&self) -> Vec<(String, String)> {
        self.environment_of("refs/heads/main")
    }

    /// As [`Self::environment`], of another ref.
    pub(crate) fn environment_of(&self, reference: &str) -> Vec<(String, String)> {
        let trusted_root = self.trusted_root.display().to_string();
        let variables = [
            ("GITHUB_ACTIONS", "true".to_owned()),
            ("ACTIONS_ID_TOKEN_REQUEST_URL", self.sigstore.token_url_of(reference)),
            ("ACTIONS_ID_TOKEN_REQUEST_TOKEN", "any".to_owned()),
            ("ZFS_KMODS_FULCIO_URL", self.sigstore.url()),
            ("ZFS_KMODS_REKOR_URL", self.sigstore.url()),
            ("ZFS_KMODS_TIMESTAMP_URL", self.sigstore.timestamp_url()),
            ("ZFS_KMODS_TRUSTED_ROOT", trusted_root),
        ];
        variables.map(|(name, value)| (name.to_owned(), value)).into()
    }
}
