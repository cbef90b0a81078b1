//! Signs the result of a boot test and attaches it to the image in its registry.

use jiff::Timestamp;
use miette::Result;

use crate::io::environment;
use crate::io::evidence::signer::SignerSources;
use crate::io::evidence::statement_publisher::StatementPublisher;
use crate::io::progress;
use crate::model::Digest;
use crate::model::boot_test::BootTest;
use crate::model::evidence::EvidenceKind;
use crate::model::image::ImageLocation;

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
        let kind = EvidenceKind::BootTest;
        self.0.attach_to_image(&test.image.digest, kind, &result.predicate(), finished).await
    }
}
