//! Changes one character of each piece of an image's evidence in the registry, and restores it.
//!
//! Not in a copy: the signed content names the repository, so verifiers reject a copy for that reason.

use std::{fs, path::Path};

use serde_json::Value;

use super::{LabImage, Verifiers};
use crate::error::{Context, Result};
use crate::lab::cache;
use crate::tools;

const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

const BUNDLE: &str = "application/vnd.dev.sigstore.bundle";

/// The original manifests, to be restored.
pub(super) struct TamperedEvidence<'a> {
    verifiers: &'a Verifiers,
    before: [(String, &'static str, Vec<u8>); 2],
}

pub(super) fn change<'a>(verifiers: &'a Verifiers, image: &LabImage<'_>) -> Result<TamperedEvidence<'a>> {
    let (index_at, signature_at) = (image.tag(""), image.tag(".sig"));
    let index = verifiers.fetch_manifest(&index_at)?;
    let signature = verifiers.fetch_manifest(&signature_at)?;
    let mut document: Value = serde_json::from_slice(&index)?;
    for entry in document["manifests"].as_array_mut().context("the index has no manifests")? {
        let digest = entry["digest"].as_str().context("the entry has no digest")?;
        let manifest = verifiers.fetch_manifest(&format!("{}@{digest}", image.repository))?;
        if !String::from_utf8_lossy(&manifest).contains(BUNDLE) {
            // The inputs are not signed; the image's label has their digest.
            continue;
        }
        let manifest = verifiers.with_changed_bundle(image, &manifest)?;
        let digest = format!("sha256:{}", cache::digest(&manifest));
        verifiers.push_manifest(&format!("{}@{digest}", image.repository), MANIFEST, &manifest)?;
        entry["digest"] = digest.into();
        entry["size"] = manifest.len().into();
    }
    verifiers.push_manifest(&index_at, INDEX, document.to_string().as_bytes())?;
    let text = String::from_utf8(signature.clone())?;
    let marker = "cosign/signature\":\"";
    verifiers.push_manifest(&signature_at, MANIFEST, other_character(&text, marker, 20)?.as_bytes())?;
    Ok(TamperedEvidence {
        verifiers,
        before: [(index_at, INDEX, index), (signature_at, MANIFEST, signature)],
    })
}

impl TamperedEvidence<'_> {
    pub(super) fn restore(self) -> Result {
        for (at, media_type, bytes) in &self.before {
            self.verifiers.push_manifest(at, media_type, bytes)?;
        }
        Ok(())
    }
}

impl Verifiers {
    fn with_changed_bundle(&self, image: &LabImage<'_>, manifest: &[u8]) -> Result<Vec<u8>> {
        let mut document: Value = serde_json::from_slice(manifest)?;
        let layer = &mut document["layers"][0];
        let digest = layer["digest"].as_str().context("the layer has no digest")?;
        let mut fetch = self.program("oras");
        let at = format!("{}@{digest}", image.repository);
        fetch.args(["blob", "fetch", "--plain-http", "--output", "-", &at]);
        let bundle = String::from_utf8(tools::output(&mut fetch)?)?;
        let bundle = other_character(&bundle, "\"payload\":\"", 60)?;
        layer["digest"] = format!("sha256:{}", cache::digest(&bundle)).into();
        layer["size"] = bundle.len().into();
        self.push(&["blob", "push", "--plain-http", image.repository], bundle.as_bytes())?;
        Ok(document.to_string().into_bytes())
    }

    fn fetch_manifest(&self, at: &str) -> Result<Vec<u8>> {
        let mut command = self.program("oras");
        command.args(["manifest", "fetch", "--plain-http", at]);
        tools::output(&mut command)
    }

    fn push_manifest(&self, at: &str, media_type: &str, bytes: &[u8]) -> Result {
        self.push(&["manifest", "push", "--plain-http", "--media-type", media_type, at], bytes)
    }

    fn push(&self, arguments: &[&str], bytes: &[u8]) -> Result {
        let directory = tempfile::tempdir()?;
        // oras accepts only files below its working directory.
        fs::write(directory.path().join("file"), bytes)?;
        let mut command = self.program("oras");
        command.args(arguments).arg(Path::new("file")).current_dir(directory.path());
        tools::output(&mut command).map(drop)
    }
}

/// Replaces the character at a distance after a marker.
fn other_character(text: &str, marker: &str, distance: usize) -> Result<String> {
    let at =
        text.find(marker).context(format_args!("no {marker} in the document"))? + marker.len() + distance;
    let other = if text.as_bytes().get(at) == Some(&b'A') { "B" } else { "A" };
    let (before, after) =
        (text.get(..at).context("the document is too short")?, text.get(at + 1..).unwrap_or_default());
    Ok(format!("{before}{other}{after}"))
}
