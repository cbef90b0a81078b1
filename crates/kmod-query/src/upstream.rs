use std::collections::BTreeMap;

use futures_util::future::{join_all, try_join};
use kmod_compat::{Arch, FedoraVersion, KernelRelease, ZfsLine};
use secrecy::SecretString;

use crate::coreos::{self, CoreOsRelease, Stream};
use crate::headers::{self, KernelPackage, KernelRpm};
use crate::image::{BaseImage, Credentials, Registry};
use crate::{Endpoints, Http, OpenZfs, PinnedImage, QueryError, ZfsRelease};

/// Everything upstream behind one door: the client, the addresses and the credentials put together.
#[derive(Clone, Debug)]
pub struct Upstream {
    /// The client, for what it has counted.
    pub http: Http,
    /// The addresses.
    pub endpoints: Endpoints,
    /// OpenZFS's releases.
    pub openzfs: OpenZfs,
    /// The registry of the images to build for and in.
    pub registry: Registry,
}

impl Upstream {
    /// `token` is for GitHub, `credentials` for the registries of base and builder images.
    pub fn new(
        http: Http,
        endpoints: Endpoints,
        token: Option<SecretString>,
        credentials: Credentials,
    ) -> Result<Self, QueryError> {
        let openzfs = OpenZfs::new(&http, &endpoints, token)?;
        let registry = Registry::new(&http, credentials);
        Ok(Self { http, endpoints, openzfs, registry })
    }

    /// The newest release of a stream and the newest of a line of OpenZFS, asked at the same time.
    pub async fn newest(
        &self,
        stream: Stream,
        arch: Arch,
        line: ZfsLine,
    ) -> Result<(CoreOsRelease, ZfsRelease), QueryError> {
        try_join(self.coreos(stream, arch), self.openzfs.fetch_newest(line)).await
    }

    /// The newest release of a stream.
    pub async fn coreos(&self, stream: Stream, arch: Arch) -> Result<CoreOsRelease, QueryError> {
        coreos::fetch(&self.http, &self.endpoints, stream, arch).await
    }

    /// The newest release of several streams for several architectures, each with its own success or failure.
    ///
    /// All at the same time, and each stream's index once for all architectures.
    pub async fn coreos_all(
        &self,
        streams: &[Stream],
        arches: &[Arch],
    ) -> BTreeMap<(Stream, Arch), Result<CoreOsRelease, QueryError>> {
        let of_stream = |stream: Stream| async move {
            match coreos::fetch_index(&self.http, &self.endpoints, stream).await {
                Ok(index) => {
                    let index = &index;
                    let releases = arches.iter().map(|arch| async move {
                        let release = coreos::fetch_newest(&self.http, &self.endpoints, index, *arch).await;
                        ((stream, *arch), release)
                    });
                    join_all(releases).await
                }
                Err(error) => arches.iter().map(|arch| ((stream, *arch), Err(error.clone()))).collect(),
            }
        };
        join_all(streams.iter().copied().map(of_stream)).await.into_iter().flatten().collect()
    }

    /// An image that the user named.
    pub async fn base(&self, reference: &str, arch: Arch) -> Result<BaseImage, QueryError> {
        self.registry.resolve(reference, arch).await?.into_base()
    }

    /// The image in which is built, by digest.
    pub async fn builder_image(&self, fedora: FedoraVersion) -> Result<PinnedImage, QueryError> {
        self.registry.resolve_digest(&self.endpoints.builder_image(fedora)).await
    }

    /// The headers of a kernel.
    pub async fn kernel_devel(
        &self,
        kernel: &KernelRelease,
        fedora: FedoraVersion,
    ) -> Result<KernelRpm, QueryError> {
        self.kernel_package(KernelPackage::Devel, kernel, fedora).await
    }

    /// Any package of a kernel.
    pub async fn kernel_package(
        &self,
        package: KernelPackage,
        kernel: &KernelRelease,
        fedora: FedoraVersion,
    ) -> Result<KernelRpm, QueryError> {
        headers::find(&self.http, &self.endpoints, package, kernel, fedora).await
    }
}
