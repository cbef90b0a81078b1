//! Published images of planned targets.

use std::path::Path;

use super::evidence;
use super::registry::{self, Access, ContentCache, Registries, Registry, RequestStats};
use crate::model::Target;
use crate::model::evidence::verify::{StoredEvidence, TrustPolicy, proven_inputs};
use crate::model::image::{ImageLocation, TagOrDigest};
use crate::model::plan::Existing;
use crate::model::verify::CheckStatus;

/// A repository of published images, with its trusted signers.
pub struct PublishedImages {
    registries: Registries,
    registry: Registry,
    trust: TrustPolicy,
}

impl PublishedImages {
    /// Keeps evidence in `cache`, so that an unchanged image costs three small requests.
    pub async fn open(store: &ImageLocation, trust: TrustPolicy, cache: &Path) -> miette::Result<Self> {
        let ImageLocation::Registry(repository) = store else {
            return Err(miette::miette!(
                help = "name a repository in a registry: --repository docker://HOST/NAME",
                "{store} is a directory, and directories store no evidence"
            ));
        };
        let registries = registry::connect();
        let registry = registries.open(repository, Access::Pull).await?;
        let registry = registry.cached_by(ContentCache::new(cache.join("evidence")));
        Ok(Self { registries, registry, trust })
    }

    pub fn stats(&self) -> RequestStats {
        self.registries.stats()
    }

    /// Costs one HEAD, and a few small documents if the image exists.
    pub async fn existing(&self, target: &Target) -> Result<Existing, UnknownImage> {
        let tag = TagOrDigest::Tag(target.tag());
        let resolved = self.registry.resolve(&tag).await.map_err(|error| UnknownImage(error.to_string()))?;
        let Some(digest) = resolved else { return Ok(Existing::Nothing) };
        let bundles = evidence::stored_bundles(&self.registry, &digest).await;
        // Simple signatures do not state inputs.
        let evidence = StoredEvidence { bundles, simple_signatures: Ok(Vec::new()) };
        match proven_inputs(&digest, &evidence, &self.trust) {
            Ok(inputs) => Ok(Existing::Proven { digest, inputs: Box::new(inputs) }),
            Err(CheckStatus::Unknown(reason)) => Err(UnknownImage(reason)),
            Err(outcome) => {
                let why = outcome.reason().unwrap_or("it is not valid").to_owned();
                Ok(Existing::Unproven { digest, why })
            }
        }
    }
}

#[derive(Debug, thiserror::Error, miette::Diagnostic)]
#[error("cannot read the published images: {0}")]
#[diagnostic(help("run the command again when the registry responds; nothing was built"))]
pub struct UnknownImage(String);
