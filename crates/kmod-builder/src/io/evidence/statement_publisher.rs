//! Signs statements about an image, and attaches them to it in its registry.

use jiff::Timestamp;
use miette::Result;
use serde_json::Value;

use super::attach::attach;
use super::signer::{Signer, SignerSources};
use crate::io::registry::{self, Access, RegistryWriter};
use crate::model::Digest;
use crate::model::evidence::simple_signing::SimpleSignature;
use crate::model::evidence::{EvidenceKind, PublicKey, Statement, StatementSubject, artifact};
use crate::model::image::{ImageLocation, TagOrDigest};

pub struct StatementPublisher {
    signer: Signer,
    registry: RegistryWriter,
}

impl StatementPublisher {
    /// `None` if nothing can be attached: to a directory (it holds no evidence), or without a signer.
    pub async fn find(store: &ImageLocation, sources: &SignerSources) -> Result<Option<Self>> {
        let ImageLocation::Registry(repository) = store else { return Ok(None) };
        let Some(signer) = sources.available_signer().await? else { return Ok(None) };
        let registry = RegistryWriter::open(&registry::connect(), repository, Access::Push).await?;
        Ok(Some(Self { signer, registry }))
    }

    pub const fn registry(&self) -> &RegistryWriter {
        &self.registry
    }

    pub fn public_key(&self) -> Option<&PublicKey> {
        self.signer.public_key()
    }

    /// `None` without a key.
    pub async fn sign_simple(&self, image: &Digest) -> Result<Option<SimpleSignature>> {
        Ok(self.signer.sign_simple(&self.subject(image).await?)?)
    }

    async fn subject(&self, image: &Digest) -> Result<StatementSubject> {
        let manifest = self.registry.manifest(&TagOrDigest::Digest(image.clone())).await?;
        let manifest =
            manifest.ok_or_else(|| miette::miette!("the image {image} is gone from the registry"))?;
        let name = self.registry.repository().to_string();
        Ok(StatementSubject::image(name, image.clone(), manifest.bytes.len() as u64))
    }

    /// Returns the digests of the attached manifests, one for each signer.
    pub async fn attach_to_image(
        &self,
        image: &Digest,
        kind: EvidenceKind,
        predicate: &Value,
        now: Timestamp,
    ) -> Result<Vec<Digest>> {
        let subject = self.subject(image).await?;
        self.attach(&subject, kind, predicate, now).await
    }

    /// The same for inputs, which are no manifest: registries keep referrers of a digest that they do not have.
    pub async fn attach_to_inputs(
        &self,
        identity: &Digest,
        kind: EvidenceKind,
        predicate: &Value,
        now: Timestamp,
    ) -> Result<Vec<Digest>> {
        let name = self.registry.repository().to_string();
        let subject = StatementSubject { name, digest: identity.clone(), size: 0 };
        self.attach(&subject, kind, predicate, now).await
    }

    async fn attach(
        &self,
        subject: &StatementSubject,
        kind: EvidenceKind,
        predicate: &Value,
        now: Timestamp,
    ) -> Result<Vec<Digest>> {
        let statement = Statement::new(kind, subject, predicate);
        let mut made = Vec::new();
        for signer_kind in self.signer.signer_kinds() {
            if let Some(signed) = self.signer.sign(signer_kind, &statement).await? {
                made.push(artifact::referrer(&signed.bundle, signed.kind, subject, now));
            }
        }
        attach(&self.registry, &subject.digest, &made).await?;
        Ok(made.iter().map(|manifest| manifest.digest().clone()).collect())
    }
}
