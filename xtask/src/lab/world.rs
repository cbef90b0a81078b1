//! Where the lab's services are, and how the program is told to ask them instead of the real world.

use std::path::Path;

/// The registry: stand-ins of the Fedora and CoreOS images, and whatever is pushed to it.
pub(crate) const REGISTRY: &str = "127.0.0.1:5855";
/// Everything else, in one HTTP server.
pub(crate) const HTTP: &str = "127.0.0.1:5856";

/// An address on the HTTP server.
pub(crate) fn url(path: &str) -> String {
    format!("http://{HTTP}{path}")
}

/// What the program reads from its environment. What it keeps for later, it keeps in `run`.
pub(crate) fn environment(run: &Path) -> Vec<(&'static str, String)> {
    vec![
        ("ZFS_KMODS_CACHE", run.join("program").display().to_string()),
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
