//! Signs the result of a boot test and attaches it to the image in its registry.

use jiff::Timestamp;
use miette::Result;

use crate::io::environment;
use crate::io::evidence::signer::SignerSources;
use crate::io::evidence::statement_publisher::StatementPublisher;
use crate::io::progress;
use crate::model::boot_test::{BootTest, BootVerdict};
use crate::model::evidence::{EvidenceKind, lifecycle};
use crate::model::image::{ImageLocation, TagOrDigest};
use crate::model::oci::Manifest;
use crate::model::{Digest, compose};

pub struct TestResultPublisher(StatementPublisher);

impl TestResultPublisher {
    /// Called before the test, so that an unreadable key fails early. `None` if nothing is attached: for a directory
    /// (it holds no evidence), or without a signer (a notice is printed).
    pub async fn find(store: &ImageLocation, sources: &SignerSources) -> Result<Option<Self>> {
        let publisher = StatementPublisher::find(store, sources).await?;
        if publisher.is_none() && matches!(store, ImageLocation::Registry(_)) {
            progress::print_notice(
                "The result will not be attached to the image: there is no signer (give --key FILE, or `id-token: write` in \
                 GitHub Actions).",
            );
        }
        Ok(publisher.map(Self))
    }

    /// Attaches failed results too; attaches nothing if no test ran. Returns the digests of the attached manifests.
    pub async fn attach(&self, test: &BootTest, finished: Timestamp) -> Result<Vec<Digest>> {
        let Some(result) = test.result(finished, environment::run_url()) else { return Ok(Vec::new()) };
        let (image, kind) = (&test.image.digest, EvidenceKind::BootTest);
        let attached = self.0.attach_to_image(image, kind, &result.predicate(), finished).await?;
        if let BootVerdict::Failed(failure) = &test.verdict
            && let Some(inputs) = self.inputs_of(image).await?
        {
            let predicate = lifecycle::failed_boot_test(image, &failure.to_string(), finished);
            self.0.attach_to_inputs(&inputs, EvidenceKind::FailedBuilds, &predicate, finished).await?;
        }
        Ok(attached)
    }

    /// The digest of the inputs. `None` for an image of another program.
    async fn inputs_of(&self, image: &Digest) -> Result<Option<Digest>> {
        let manifest = self.0.registry().manifest(&TagOrDigest::Digest(image.clone())).await?;
        let manifest = manifest.and_then(|manifest| Manifest::parse(&manifest.bytes).ok());
        Ok(manifest.and_then(|manifest| manifest.annotations.get(compose::INPUTS)?.parse().ok()))
    }
}
