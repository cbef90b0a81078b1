//! Changes one character of each piece of an image's evidence in the registry, and restores it.
//!
//! Not in a copy: the signed content names the repository, so verifiers reject a copy for that reason.

use std::fs;

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
    before: [(String, &'static str, String); 2],
}

pub(super) fn change<'a>(verifiers: &'a Verifiers, image: &LabImage<'_>) -> Result<TamperedEvidence<'a>> {
    let (index_at, signature_at) = (image.tag(""), image.tag(".sig"));
    let index = verifiers.fetch_manifest(&index_at)?;
    let signature = verifiers.fetch_manifest(&signature_at)?;
    let mut document: Value = serde_json::from_str(&index)?;
    for entry in document["manifests"].as_array_mut().context("the index has no manifests")? {
        let digest = entry["digest"].as_str().context("the entry has no digest")?;
        let manifest = verifiers.fetch_manifest(&format!("{}@{digest}", image.repository))?;
        if !manifest.contains(BUNDLE) {
            // The inputs are not signed; the image's label has their digest.
            continue;
        }
        let manifest = verifiers.with_changed_bundle(image, &manifest)?;
        let digest = format!("sha256:{}", cache::digest(&manifest));
        verifiers.push_manifest(&format!("{}@{digest}", image.repository), MANIFEST, &manifest)?;
        entry["digest"] = digest.into();
        entry["size"] = manifest.len().into();
    }
    verifiers.push_manifest(&index_at, INDEX, &document.to_string())?;
    let changed = other_character(&signature, "cosign/signature\":\"", 20)?;
    verifiers.push_manifest(&signature_at, MANIFEST, &changed)?;
    let before = [(index_at, INDEX, index), (signature_at, MANIFEST, signature)];
    Ok(TamperedEvidence { verifiers, before })
}

impl TamperedEvidence<'_> {
    pub(super) fn restore(self) -> Result {
        let mut before = self.before.iter();
        before.try_for_each(|(at, media_type, text)| self.verifiers.push_manifest(at, media_type, text))
    }
}

impl Verifiers {
    fn with_changed_bundle(&self, image: &LabImage<'_>, manifest: &str) -> Result<String> {
        let mut document: Value = serde_json::from_str(manifest)?;
        let layer = &mut document["layers"][0];
        let digest = layer["digest"].as_str().context("the layer has no digest")?;
        let at = format!("{}@{digest}", image.repository);
        let bundle = self.oras(&["blob", "fetch", "--output", "-"], &at)?;
        let bundle = other_character(&bundle, "\"payload\":\"", 60)?;
        layer["digest"] = format!("sha256:{}", cache::digest(&bundle)).into();
        layer["size"] = bundle.len().into();
        self.push(&["blob", "push", "--plain-http", image.repository], &bundle)?;
        Ok(document.to_string())
    }

    fn fetch_manifest(&self, at: &str) -> Result<String> {
        self.oras(&["manifest", "fetch"], at)
    }

    fn push_manifest(&self, at: &str, media_type: &str, text: &str) -> Result {
        self.push(&["manifest", "push", "--plain-http", "--media-type", media_type, at], text)
    }

    fn push(&self, arguments: &[&str], text: &str) -> Result {
        let directory = tempfile::tempdir()?;
        // oras accepts only files below its working directory.
        fs::write(directory.path().join("file"), text)?;
        let mut command = self.program("oras");
        tools::output(command.args(arguments).arg("file").current_dir(directory.path())).map(drop)
    }
}

/// Replaces the character at a distance after a marker.
fn other_character(text: &str, marker: &str, distance: usize) -> Result<String> {
    let found = text.find(marker).context(format_args!("no {marker} in the document"))?;
    let at = found + marker.len() + distance;
    let before = text.get(..at).context("the document is too short")?;
    let other = if text[at..].starts_with('A') { "B" } else { "A" };
    Ok(format!("{before}{other}{}", text.get(at + 1..).unwrap_or_default()))
}
