use kmod_compat::FedoraVersion;

/// Where upstream lives. Each address can be replaced: by a mirror, by the lab, by a test.
///
/// A trailing slash makes no difference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoints {
    /// Fedora CoreOS build metadata.
    pub coreos: String,
    /// GitHub's REST API, for the releases of `openzfs/zfs`.
    pub github_api: String,
    /// Fedora's package tree: the folder with `releases`, `updates` and `development` in it.
    pub fedora: String,
    /// The repository of every package that ever was an update of Fedora.
    pub updates_archive: String,
    /// The repository of the packages that Fedora CoreOS is made of.
    pub coreos_pool: String,
    /// The build system's store of packages.
    pub koji: String,
    /// The image repository of Fedora CoreOS. If it is another than the default, its name replaces the
    /// one in the metadata; the digest stays.
    pub coreos_image: String,
    /// The image in which is built; `{fedora}` stands for Fedora's release number.
    pub builder_image: String,
}

const COREOS_IMAGE: &str = "quay.io/fedora/fedora-coreos";

impl Default for Endpoints {
    fn default() -> Self {
        Self {
            coreos: "https://builds.coreos.fedoraproject.org".to_owned(),
            github_api: "https://api.github.com".to_owned(),
            fedora: "https://dl.fedoraproject.org/pub/fedora/linux".to_owned(),
            updates_archive: "https://fedoraproject-updates-archive.fedoraproject.org/fedora".to_owned(),
            coreos_pool: "https://kojipkgs.fedoraproject.org/repos-dist/coreos-pool/latest".to_owned(),
            koji: "https://kojipkgs.fedoraproject.org/packages".to_owned(),
            coreos_image: COREOS_IMAGE.to_owned(),
            builder_image: "registry.fedoraproject.org/fedora:{fedora}".to_owned(),
        }
    }
}

impl Endpoints {
    /// The image in which is built for a release of Fedora.
    pub fn builder_image(&self, fedora: FedoraVersion) -> String {
        self.builder_image.replace("{fedora}", &fedora.to_string())
    }

    /// The image repository that takes the place of the one in the metadata, if any does.
    pub(crate) fn other_coreos_image(&self) -> Option<&str> {
        Some(self.coreos_image.as_str()).filter(|image| *image != COREOS_IMAGE)
    }
}

/// A base URL and a path below it.
pub(crate) fn join(base: &str, path: &str) -> String {
    format!("{}/{path}", base.trim_end_matches('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_builder_image_follows_fedora() {
        let image = Endpoints::default().builder_image("43".parse().unwrap());
        assert_eq!(image, "registry.fedoraproject.org/fedora:43");
        assert_eq!(join("http://localhost/a/", "b"), "http://localhost/a/b");
    }
}
