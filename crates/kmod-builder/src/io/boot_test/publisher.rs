//! Signs the result of a boot test and attaches it to the image in its registry.

use jiff::Timestamp;
use miette::Result;

use crate::io::environment;
use crate::io::evidence::attach;
use crate::io::evidence::signer::{Signer, SignerSources};
use crate::io::progress;
use crate::io::registry::{self, Access, RegistryWriter};
use crate::model::Digest;
use crate::model::boot_test::BootTest;
use crate::model::evidence::{EvidenceKind, Statement, StatementSubject, artifact};
use crate::model::image::{ImageLocation, TagOrDigest};

pub struct TestResultPublisher {
    signer: Signer,
    registry: RegistryWriter,
}

impl TestResultPublisher {
    /// Called before the test, so that an unreadable key fails early. `None` if nothing is attached: for a directory
    /// (it holds no evidence), or without a signer (a notice is printed).
    pub async fn find(store: &ImageLocation, sources: &SignerSources) -> Result<Option<Self>> {
        let ImageLocation::Registry(repository) = store else { return Ok(None) };
        let Some(signer) = sources.available_signer().await? else {
            progress::print_notice(
                "The result will not be attached to the image: there is no signer (give --key FILE, or `id-token: write` in \
                 GitHub Actions).",
            );
            return Ok(None);
        };
        let registry = RegistryWriter::open(&registry::connect(), repository, Access::Push).await?;
        Ok(Some(Self { signer, registry }))
    }

    /// Attaches failed results too; attaches nothing if no test ran. Returns the digests of the attached manifests.
    pub async fn attach(&self, test: &BootTest, finished: Timestamp) -> Result<Vec<Digest>> {
        let Some(result) = test.result(finished, environment::run_url()) else { return Ok(Vec::new()) };
        let digest = &test.image.digest;
        let manifest = self.registry.manifest(&TagOrDigest::Digest(digest.clone())).await?;
        let size = manifest
            .ok_or_else(|| miette::miette!("the image {digest} is gone from the registry"))?
            .bytes
            .len();
        let name = self.registry.repository().to_string();
        let subject = StatementSubject::image(name, digest.clone(), size as u64);
        let statement = Statement::new(EvidenceKind::BootTest, &subject, &result.predicate());
        let mut made = Vec::new();
        for signer_kind in self.signer.signer_kinds() {
            if let Some(signed) = self.signer.sign(signer_kind, &statement).await? {
                made.push(artifact::referrer(&signed.bundle, signed.kind, &subject, finished));
            }
        }
        attach::attach(&self.registry, digest, &made).await?;
        Ok(made.iter().map(|manifest| manifest.digest().clone()).collect())
    }
}
