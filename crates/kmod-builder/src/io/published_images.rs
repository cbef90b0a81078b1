//! What a registry has already of what is planned.

use std::path::Path;

use miette::Result;

use super::content_cache::ContentCache;
use super::evidence;
use super::registry::{Access, CredentialSources, Registries, Registry, RetryPolicy, Usage};
use crate::model::Target;
use crate::model::evidence::verify::{StoredEvidence, TrustPolicy, proven_inputs};
use crate::model::image::{ImageLocation, TagOrDigest};
use crate::model::plan::Existing;
use crate::model::verify::CheckStatus;

/// A repository of published images, and whose word counts there.
pub struct PublishedImages {
    registries: Registries,
    registry: Registry,
    trust: TrustPolicy,
}

impl PublishedImages {
    /// Opens the repository. Without anybody to trust, evidence counts whoever signed it, as long as it is whole.
    ///
    /// Evidence that was read once is kept in `cache`, so that a day on which nothing happened costs three small
    /// requests for each image.
    pub async fn open(store: &ImageLocation, trust: TrustPolicy, cache: &Path) -> Result<Self> {
        let ImageLocation::Registry(repository) = store else {
            return Err(miette::miette!(
                help = "name a repository in a registry: --image docker://HOST/NAME",
                "{store} is a directory, in which images have no evidence"
            ));
        };
        let sources = CredentialSources::from_variables(|name| std::env::var_os(name));
        let registries = Registries::new(sources, RetryPolicy::default());
        let registry = registries.open(repository, Access::Pull).await?;
        let registry = registry.remembering(ContentCache::new(cache.join("evidence")));
        Ok(Self { registries, registry, trust })
    }

    /// What asking has cost.
    pub fn usage(&self) -> Usage {
        self.registries.usage()
    }

    /// What is there for a target: one HEAD, and a few small documents if there is an image.
    pub async fn existing(&self, target: &Target) -> Result<Existing, UnknownImage> {
        let tag = TagOrDigest::Tag(target.tag());
        let resolved = self.registry.resolve(&tag).await.map_err(|error| UnknownImage(error.to_string()))?;
        let Some(digest) = resolved else { return Ok(Existing::Nothing) };
        let bundles = evidence::stored_bundles(&self.registry, &digest).await;
        // What an image was built from stands in the bundles; simple signatures say nothing about it.
        let evidence = StoredEvidence { bundles, simple_signatures: Ok(Vec::new()) };
        match proven_inputs(&digest, &evidence, &self.trust) {
            Ok(inputs) => Ok(Existing::Proven { digest, inputs: Box::new(inputs) }),
            Err(CheckStatus::Unknown(reason)) => Err(UnknownImage(reason)),
            Err(outcome) => {
                let why = outcome.reason().unwrap_or("it does not hold").to_owned();
                Ok(Existing::Unproven { digest, why })
            }
        }
    }
}

/// It could not be found out what is published.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
#[error("what is published is not known: {0}")]
#[diagnostic(help("run it again when the registry answers; nothing is built over what is not known"))]
pub struct UnknownImage(String);
