//! Two images side by side: read, compared, and shown.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use miette::Result;
use serde_json::Value;

use crate::io::contents::Contents;
use crate::io::inspecting;
use crate::io::store::Images;
use crate::model::comparison::{Anatomy, Comparison, PackageDifference, Verdict};
use crate::model::image::{ImageName, Pinned, Selector};
use crate::output;

/// How closely is looked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Depth {
    /// Which packages differ.
    Packages,
    /// What in them does, which means to unpack them.
    Files,
}

/// Reads two images and compares them. Of two with one digest, only the second is read.
pub async fn compare(first: &Pinned, second: &Pinned, depth: Depth) -> Result<Comparison> {
    let (one, other) = (name(first), name(second));
    let other_images = Images::open(&other.store).await?;
    let found = inspecting::inspect(&other_images, &other).await?;
    if first.digest == second.digest {
        return Ok(Comparison::of(&found, &found)?);
    }
    let images = Images::open(&one.store).await?;
    let comparison = Comparison::of(&inspecting::inspect(&images, &one).await?, &found)?;
    if depth == Depth::Packages || comparison.differing().is_empty() {
        return Ok(comparison);
    }
    let first = anatomies(&images, &one, &comparison).await?;
    let second = anatomies(&other_images, &other, &comparison).await?;
    Ok(comparison.explain(&first, &second))
}

/// What is in the packages that differ.
async fn anatomies(
    images: &Images,
    name: &ImageName,
    comparison: &Comparison,
) -> Result<BTreeMap<String, Anatomy>> {
    let contents = Contents::open(images, name).await?;
    Ok(contents.anatomies(&comparison.differing(), &comparison.shared_layers()).await?)
}

fn name(image: &Pinned) -> ImageName {
    ImageName { store: image.store.clone(), selector: Some(Selector::Digest(image.digest.clone())) }
}

/// The comparison as tables: layers, packages with what differs in them, and what the documents say differently.
pub fn table(comparison: &Comparison) -> String {
    let layers = comparison.layers.iter().map(|layer| {
        [layer.part.clone().unwrap_or_else(|| "unknown".to_owned()), layer.result.as_str().to_owned()]
    });
    let packages =
        comparison.packages.iter().map(|package| [package.path.clone(), package.result.as_str().to_owned()]);
    let mut text = output::columns(["LAYER", "RESULT"], layers);
    text += "\n";
    text += &output::columns(["RPM", "RESULT"], packages);
    for package in &comparison.packages {
        if let Some(difference) = &package.difference {
            write!(text, "\n{}:\n{}", package.path, lines(difference))
                .expect("writing to a String cannot fail");
        }
    }
    if !comparison.documents.is_empty() {
        text += "\n";
    }
    for difference in &comparison.documents {
        let (first, second) = (value(difference.first.as_ref()), value(difference.second.as_ref()));
        let line = if difference.member.is_empty() {
            format!("the {} is written in other bytes\n", difference.document)
        } else {
            format!("{} {}: {first}, then {second}\n", difference.document, difference.member)
        };
        text += &line;
    }
    text
}

fn lines(difference: &PackageDifference) -> String {
    let files = difference.files.iter().map(|file| {
        let aspects: Vec<_> = file.aspects.iter().map(|aspect| aspect.as_str()).collect();
        let what = match file.result {
            Verdict::Different => aspects.join(", "),
            verdict => verdict.as_str().to_owned(),
        };
        format!("  file  {}: {what}\n", file.path)
    });
    let tags = difference.tags.iter().map(|tag| format!("  tag   {}: {}\n", tag.tag, tag.what));
    if difference.is_empty() {
        return "  files and tags are the same: they are only written in other bytes\n".to_owned();
    }
    files.chain(tags).collect()
}

fn value(value: Option<&Value>) -> String {
    value.map_or_else(|| "nothing".to_owned(), Value::to_string)
}
