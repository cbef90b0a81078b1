//! The differences between two images: documents, layers, packages, and within a package files and header tags.
//!
//! Images with different digests always have a difference, those with equal digests none.

mod rpm_metadata;

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use serde_json::Value;

use super::Digest;
use super::compose::{self, Layer};
use super::verify::{BlobFault, Inspection};

pub use rpm_metadata::{FileDiff, RpmDiff, RpmFileEntry, RpmMetadata, TagDiff};

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ImageDiff {
    pub first: Digest,
    pub second: Digest,
    pub identical: bool,
    /// Differences of documents, other than the list of layers.
    pub documents: Vec<MemberDiff>,
    pub layers: Vec<LayerDiff>,
    /// By path in the image.
    pub packages: Vec<PackageDiff>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum DiffResult {
    Same,
    Different,
    /// The same archive, compressed to different bytes.
    DifferentlyCompressed,
    OnlyInFirst,
    OnlyInSecond,
}

impl DiffResult {
    fn of<T: PartialEq>(first: Option<&T>, second: Option<&T>) -> Self {
        match (first, second) {
            (Some(_), None) => Self::OnlyInFirst,
            (None, Some(_)) => Self::OnlyInSecond,
            (first, second) if first == second => Self::Same,
            _ => Self::Different,
        }
    }

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Same => "same",
            Self::Different => "different",
            Self::DifferentlyCompressed => "differently compressed",
            Self::OnlyInFirst => "only in the first",
            Self::OnlyInSecond => "only in the second",
        }
    }
}

/// A different member of manifest or configuration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct MemberDiff {
    /// `manifest` or `configuration`.
    pub document: &'static str,
    /// A JSON pointer (RFC 6901); empty if only the encoding of the document differs.
    pub member: String,
    pub first: Option<Value>,
    pub second: Option<Value>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LayerDiff {
    pub part: Option<String>,
    pub result: DiffResult,
    pub first: Option<Digest>,
    pub second: Option<Digest>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PackageDiff {
    /// In the image.
    pub path: String,
    pub result: DiffResult,
    /// Set by [`ImageDiff::explain`].
    #[serde(flatten)]
    pub difference: Option<RpmDiff>,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, miette::Diagnostic)]
#[error("{image} cannot be compared: {reason}")]
#[diagnostic(help("`zfs-kmods verify` checks all of an image"))]
pub struct UnreadableImage {
    image: String,
    reason: String,
}

struct ImageSide<'a> {
    digest: &'a Digest,
    manifest: Value,
    config: Value,
    config_digest: &'a Digest,
    layers: Vec<Layer>,
    packages: BTreeMap<&'a str, &'a Digest>,
}

impl<'a> ImageSide<'a> {
    fn of(inspection: &'a Inspection) -> Result<Self, UnreadableImage> {
        let fail =
            |reason: &str| UnreadableImage { image: inspection.image.to_string(), reason: reason.to_owned() };
        let faulty = |fault: &BlobFault| fail(fault.reason());
        let manifest = inspection.manifest.as_ref().map_err(|reason| fail(reason))?;
        let config = inspection.config.as_ref().map_err(faulty)?;
        inspection.layers.iter().try_for_each(|layer| layer.as_ref().copied().map_err(faulty))?;
        let mut packages = BTreeMap::new();
        for found in &inspection.packages {
            let (package, _) =
                found.content.as_ref().map_err(|reason| fail(&format!("{}: {reason}", found.path)))?;
            packages.insert(found.path.as_str(), &package.digest);
        }
        let layers = manifest.layers.iter().cloned().zip(config.rootfs.diff_ids.iter().cloned());
        let value = |document: serde_json::Result<Value>| document.expect("documents are text and numbers");
        Ok(Self {
            digest: &inspection.image.digest,
            manifest: without(value(serde_json::to_value(manifest)), &["layers", "config"]),
            config: without(value(serde_json::to_value(config)), &["rootfs"]),
            config_digest: &manifest.config.digest,
            layers: layers.map(|(descriptor, diff_id)| Layer { descriptor, diff_id }).collect(),
            packages,
        })
    }
}

/// Removes members that only repeat digests.
fn without(mut document: Value, members: &[&str]) -> Value {
    if let Some(object) = document.as_object_mut() {
        object.retain(|name, _| !members.contains(&name.as_str()));
    }
    document
}

impl ImageDiff {
    /// Compares documents and digests only.
    pub fn of(first: &Inspection, second: &Inspection) -> Result<Self, UnreadableImage> {
        let (first, second) = (ImageSide::of(first)?, ImageSide::of(second)?);
        let mut documents = Vec::new();
        for (document, one, other) in [
            ("manifest", &first.manifest, &second.manifest),
            ("configuration", &first.config, &second.config),
        ] {
            members(document, "", Some(one), Some(other), &mut documents);
        }
        let layers_differ = first.layers != second.layers;
        if documents.is_empty() && !layers_differ && first.digest != second.digest {
            // A different encoding, or members unknown to this program.
            let differs = first.config_digest != second.config_digest;
            let document = if differs { "configuration" } else { "manifest" };
            documents.push(MemberDiff { document, member: String::new(), first: None, second: None });
        }
        let count = first.layers.len().max(second.layers.len());
        let layers = (0..count).map(|number| layer(first.layers.get(number), second.layers.get(number)));
        let paths: BTreeSet<_> = first.packages.keys().chain(second.packages.keys()).collect();
        let packages = paths.into_iter().map(|path| PackageDiff {
            path: (*path).to_owned(),
            result: DiffResult::of(first.packages.get(path), second.packages.get(path)),
            difference: None,
        });
        Ok(Self {
            first: first.digest.clone(),
            second: second.digest.clone(),
            identical: first.digest == second.digest,
            documents,
            layers: layers.collect(),
            packages: packages.collect(),
        })
    }

    pub fn differing(&self) -> BTreeSet<String> {
        let differing = self.packages.iter().filter(|package| package.result == DiffResult::Different);
        differing.map(|package| package.path.clone()).collect()
    }

    pub fn shared_layers(&self) -> BTreeSet<Digest> {
        let shared = self.layers.iter().filter(|layer| layer.result == DiffResult::Same);
        shared.filter_map(|layer| layer.first.clone()).collect()
    }

    /// Adds the differences within packages. Packages in neither map are unchanged.
    #[must_use]
    pub fn explain(
        mut self,
        first: &BTreeMap<String, RpmMetadata>,
        second: &BTreeMap<String, RpmMetadata>,
    ) -> Self {
        for package in &mut self.packages {
            if let (Some(first), Some(second)) = (first.get(&package.path), second.get(&package.path)) {
                package.difference = Some(RpmDiff::of(first, second));
            }
        }
        self
    }
}

fn layer(first: Option<&Layer>, second: Option<&Layer>) -> LayerDiff {
    let digest = |layer: Option<&Layer>| layer.map(|layer| layer.descriptor.digest.clone());
    let diff_id = |layer: Option<&Layer>| layer.map(|layer| layer.diff_id.clone());
    let (one, other) = (digest(first), digest(second));
    let result = match DiffResult::of(one.as_ref(), other.as_ref()) {
        DiffResult::Different if diff_id(first) == diff_id(second) => DiffResult::DifferentlyCompressed,
        verdict => verdict,
    };
    let part = first.or(second).and_then(|layer| layer.descriptor.annotations.get(compose::PART).cloned());
    LayerDiff { part, result, first: one, second: other }
}

/// Collects the innermost members that differ.
fn members(
    document: &'static str,
    pointer: &str,
    first: Option<&Value>,
    second: Option<&Value>,
    found: &mut Vec<MemberDiff>,
) {
    if first == second {
        return;
    }
    if let (Some(Value::Object(one)), Some(Value::Object(other))) = (first, second) {
        let names: BTreeSet<_> = one.keys().chain(other.keys()).collect();
        for name in names {
            let pointer = format!("{pointer}/{}", name.replace('~', "~0").replace('/', "~1"));
            members(document, &pointer, one.get(name), other.get(name), found);
        }
        return;
    }
    let (first, second) = (first.cloned(), second.cloned());
    found.push(MemberDiff { document, member: pointer.to_owned(), first, second });
}

#[cfg(test)]
mod tests;
