use std::collections::BTreeMap;

use kmod_compat::{FedoraKeys, FedoraVersion};

/// Upstream addresses. Each can be replaced, for example by a mirror. A trailing slash is ignored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoints {
    /// Fedora CoreOS build metadata.
    pub coreos: String,
    /// GitHub's REST API, for the releases of `openzfs/zfs`.
    pub github_api: String,
    /// OpenPGP keys of OpenZFS's release managers; `{fingerprint}` stands for that of the key.
    pub openzfs_key: String,
    /// Fedora's package tree, with the directories `releases`, `updates` and `development`.
    pub fedora: String,
    /// All packages that were ever an update of Fedora.
    pub updates_archive: String,
    /// The packages of Fedora CoreOS.
    pub coreos_pool: String,
    /// The package store of Fedora's build system.
    pub koji: String,
    /// Of the keys that sign Fedora's packages; they are part of Koji's paths.
    pub signing_key_ids: BTreeMap<FedoraVersion, String>,
    /// The image repository of Fedora CoreOS. If it is not the default, it replaces the repository in the metadata;
    /// the digest stays.
    pub coreos_image: String,
    /// `{fedora}` stands for Fedora's release number.
    pub builder_image: String,
}

const COREOS_IMAGE: &str = "quay.io/fedora/fedora-coreos";

impl Default for Endpoints {
    fn default() -> Self {
        Self {
            coreos: "https://builds.coreos.fedoraproject.org".to_owned(),
            github_api: "https://api.github.com".to_owned(),
            openzfs_key: "https://keyserver.ubuntu.com/pks/lookup?op=get&options=mr&search=0x{fingerprint}"
                .to_owned(),
            fedora: "https://dl.fedoraproject.org/pub/fedora/linux".to_owned(),
            updates_archive: "https://fedoraproject-updates-archive.fedoraproject.org/fedora".to_owned(),
            coreos_pool: "https://kojipkgs.fedoraproject.org/repos-dist/coreos-pool/latest".to_owned(),
            koji: "https://kojipkgs.fedoraproject.org/packages".to_owned(),
            signing_key_ids: BTreeMap::new(),
            coreos_image: COREOS_IMAGE.to_owned(),
            builder_image: "quay.io/fedora/fedora:{fedora}".to_owned(),
        }
    }
}

impl Endpoints {
    #[must_use]
    pub fn with_keys(self, keys: &FedoraKeys) -> Self {
        Self { signing_key_ids: keys.iter().map(|key| (key.fedora, key.short_id())).collect(), ..self }
    }

    pub fn builder_image(&self, fedora: FedoraVersion) -> String {
        self.builder_image.replace("{fedora}", &fedora.to_string())
    }

    /// The replacement for the repository in the metadata, if any.
    pub(crate) fn other_coreos_image(&self) -> Option<&str> {
        Some(self.coreos_image.as_str()).filter(|image| *image != COREOS_IMAGE)
    }
}

pub(crate) fn join(base: &str, path: &str) -> String {
    format!("{}/{path}", base.trim_end_matches('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_builder_image_follows_fedora() {
        let image = Endpoints::default().builder_image("43".parse().unwrap());
        assert_eq!(image, "quay.io/fedora/fedora:43");
        assert_eq!(join("http://localhost/a/", "b"), "http://localhost/a/b");
    }
}
