use kmod_compat::{Arch, FedoraVersion, KernelRelease};
use secrecy::SecretString;

use crate::coreos::{self, CoreOsRelease, ReleaseIndex, Stream};
use crate::image::{self, ResolvedImage};
use crate::kernel_packages::{self, KernelPackage, KernelRpm};
use crate::reference::ImageRef;
use crate::registry::{CredentialProvider, Registries};
use crate::retry::RetryPolicy;
use crate::{Endpoints, Http, OpenZfs, PinnedImage, QueryError};

#[derive(Clone, Debug)]
pub struct Upstream {
    pub http: Http,
    pub endpoints: Endpoints,
    pub openzfs: OpenZfs,
    pub registries: Registries,
}

impl Upstream {
    /// `token` is for GitHub, `credentials` for registries.
    pub fn new(
        http: Http,
        endpoints: Endpoints,
        token: Option<SecretString>,
        credentials: impl CredentialProvider + 'static,
        registry_policy: RetryPolicy,
    ) -> Result<Self, QueryError> {
        let openzfs = OpenZfs::new(&http, &endpoints, token)?;
        let registries = Registries::new(credentials, registry_policy).counted_by(http.counter());
        Ok(Self { http, endpoints, openzfs, registries })
    }

    pub async fn coreos_index(&self, stream: Stream) -> Result<ReleaseIndex, QueryError> {
        coreos::fetch_index(&self.http, &self.endpoints, stream).await
    }

    /// One index serves every architecture.
    pub async fn coreos_newest(&self, index: &ReleaseIndex, arch: Arch) -> Result<CoreOsRelease, QueryError> {
        coreos::fetch_newest(&self.http, &self.registries, &self.endpoints, index, arch).await
    }

    /// `reference` is an image named by the user.
    pub async fn image(&self, reference: &str, arch: Arch) -> Result<ResolvedImage, QueryError> {
        image::resolve(&self.registries, &reference.parse()?, arch).await
    }

    pub async fn builder_image(&self, fedora: FedoraVersion) -> Result<PinnedImage, QueryError> {
        let image: ImageRef = self.endpoints.builder_image(fedora).parse()?;
        image::resolve_digest(&self.registries, &image).await
    }

    pub async fn kernel_package(
        &self,
        package: KernelPackage,
        kernel: &KernelRelease,
        fedora: FedoraVersion,
    ) -> Result<KernelRpm, QueryError> {
        kernel_packages::find(&self.http, &self.endpoints, package, kernel, fedora).await
    }
}
