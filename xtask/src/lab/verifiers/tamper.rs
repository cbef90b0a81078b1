//! Changes one character of each piece of an image's evidence, where it is stored, and puts everything back.
//!
//! Not in a copy: the name of the repository is part of what is signed, so a copy would be refused for that.

use std::{fs, path::Path};

use serde_json::Value;

use super::{Image, Verifiers, run, succeeded};
use crate::{
    error::{Context, Result},
    lab::cache,
};

const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

const BUNDLE: &str = "application/vnd.dev.sigstore.bundle";

/// What was stored before, and where it belongs.
pub(super) struct Changed<'a> {
    verifiers: &'a Verifiers,
    before: [(String, &'static str, Vec<u8>); 2],
}

/// Changes a character in the payload of every bundle and in the simple signature.
pub(super) fn change<'a>(verifiers: &'a Verifiers, image: &Image<'_>) -> Result<Changed<'a>> {
    let (index_at, signature_at) = (image.tag(""), image.tag(".sig"));
    let index = verifiers.fetch_manifest(&index_at)?;
    let signature = verifiers.fetch_manifest(&signature_at)?;
    let mut document: Value = serde_json::from_slice(&index)?;
    for entry in document["manifests"].as_array_mut().context("an index without manifests")? {
        let digest = entry["digest"].as_str().context("an entry without a digest")?;
        let manifest = verifiers.fetch_manifest(&format!("{}@{digest}", image.repository))?;
        if !String::from_utf8_lossy(&manifest).contains(BUNDLE) {
            // The inputs, which nobody signs: what they are is on the image's label.
            continue;
        }
        let manifest = verifiers.with_changed_bundle(image, &manifest)?;
        let digest = format!("sha256:{}", cache::digest(&manifest));
        verifiers.push_manifest(&format!("{}@{digest}", image.repository), MANIFEST, &manifest)?;
        entry["digest"] = digest.into();
        entry["size"] = manifest.len().into();
    }
    // From here on something is changed that others see.
    verifiers.push_manifest(&index_at, INDEX, document.to_string().as_bytes())?;
    let text = String::from_utf8(signature.clone())?;
    let marker = "cosign/signature\":\"";
    verifiers.push_manifest(&signature_at, MANIFEST, other_character(&text, marker, 20)?.as_bytes())?;
    Ok(Changed { verifiers, before: [(index_at, INDEX, index), (signature_at, MANIFEST, signature)] })
}

impl Changed<'_> {
    /// Puts back what was there.
    pub(super) fn restore(self) -> Result {
        for (at, media_type, bytes) in &self.before {
            self.verifiers.push_manifest(at, media_type, bytes)?;
        }
        Ok(())
    }
}

impl Verifiers {
    fn with_changed_bundle(&self, image: &Image<'_>, manifest: &[u8]) -> Result<Vec<u8>> {
        let mut document: Value = serde_json::from_slice(manifest)?;
        let layer = &mut document["layers"][0];
        let digest = layer["digest"].as_str().context("a layer without a digest")?;
        let mut fetch = self.program("oras");
        let at = format!("{}@{digest}", image.repository);
        fetch.args(["blob", "fetch", "--plain-http", "--output", "-", &at]);
        let output = run(&mut fetch)?;
        succeeded("oras blob fetch", &output)?;
        let bundle = other_character(&String::from_utf8(output.stdout)?, "\"payload\":\"", 60)?;
        layer["digest"] = format!("sha256:{}", cache::digest(&bundle)).into();
        layer["size"] = bundle.len().into();
        self.push(&["blob", "push", "--plain-http", image.repository], bundle.as_bytes())?;
        Ok(document.to_string().into_bytes())
    }

    fn fetch_manifest(&self, at: &str) -> Result<Vec<u8>> {
        let mut command = self.program("oras");
        command.args(["manifest", "fetch", "--plain-http", at]);
        let output = run(&mut command)?;
        succeeded(&format!("oras manifest fetch {at}"), &output)?;
        Ok(output.stdout)
    }

    fn push_manifest(&self, at: &str, media_type: &str, bytes: &[u8]) -> Result {
        self.push(&["manifest", "push", "--plain-http", "--media-type", media_type, at], bytes)
    }

    fn push(&self, arguments: &[&str], bytes: &[u8]) -> Result {
        let directory = tempfile::tempdir()?;
        // oras takes only files below the directory that it runs in.
        fs::write(directory.path().join("file"), bytes)?;
        let mut command = self.program("oras");
        command.args(arguments).arg(Path::new("file")).current_dir(directory.path());
        succeeded(&format!("oras {}", arguments.join(" ")), &run(&mut command)?)
    }
}

/// The text with another character at some distance after a marker.
fn other_character(text: &str, marker: &str, distance: usize) -> Result<String> {
    let at = text.find(marker).context(format_args!("there is no {marker}"))? + marker.len() + distance;
    let other = if text.as_bytes().get(at) == Some(&b'A') { "B" } else { "A" };
    let (before, after) =
        (text.get(..at).context("too short to be changed")?, text.get(at + 1..).unwrap_or_default());
    Ok(format!("{before}{other}{after}"))
}
