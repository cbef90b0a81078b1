//! The addresses of the lab's services, and the variables that make the program use them.

use std::path::{Path, PathBuf};

/// The registry.
pub(crate) const REGISTRY: &str = "127.0.0.1:5855";
/// The HTTP server.
pub(crate) const HTTP: &str = "127.0.0.1:5856";

/// A URL on the HTTP server.
pub(crate) fn url(path: &str) -> String {
    format!("http://{HTTP}{path}")
}

/// The list of keys of the lab's Fedora.
pub(crate) fn fedora_keys(run: &Path) -> PathBuf {
    run.join("fedora-keys.toml")
}

/// The program's environment. Its cache is in `run`.
pub(crate) fn variables(run: &Path) -> Vec<(&'static str, String)> {
    vec![
        ("ZFS_KMODS_CACHE", run.join("program").display().to_string()),
        // Containers do not start on every machine of the lab.
        ("BUILDAH_ISOLATION", "chroot".to_owned()),
        ("ZFS_KMODS_FEDORA_KEYS", fedora_keys(run).display().to_string()),
        ("ZFS_KMODS_COREOS_URL", url("/coreos")),
        ("GITHUB_API_URL", url("/github")),
        ("ZFS_KMODS_FEDORA_URL", url("/fedora")),
        ("ZFS_KMODS_UPDATES_ARCHIVE_URL", url("/updates-archive")),
        ("ZFS_KMODS_COREOS_POOL_URL", url("/coreos-pool")),
        ("ZFS_KMODS_KOJI_URL", url("/koji")),
        ("ZFS_KMODS_BUILDER_IMAGE", format!("{REGISTRY}/fedora/fedora:{{fedora}}")),
        ("ZFS_KMODS_COREOS_IMAGE", format!("{REGISTRY}/fedora/fedora-coreos")),
    ]
}
