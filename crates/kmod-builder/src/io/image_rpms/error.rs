use std::io;
use std::path::PathBuf;

use crate::io::layer::LayerError;
use crate::io::rpm::RpmError;
use crate::io::store::StoreError;
use crate::model::image::ImageRef;

#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum ImageRpmsError {
    #[error(transparent)]
    #[diagnostic(transparent)]
    Store(#[from] StoreError),
    #[error("{image}: {reason}")]
    #[diagnostic(help("`zfs-kmods verify` runs every check; select one image of an index by its digest"))]
    Invalid { image: ImageRef, reason: String },
    #[error(transparent)]
    #[diagnostic(transparent)]
    Layer(#[from] LayerError),
    #[error("{path}: {error}")]
    Rpm { path: String, error: RpmError },
    /// `files` is the subject of the sentence.
    #[error("{files} already there, with other contents")]
    #[diagnostic(help(
        "nothing was written: extract into another directory, or replace existing files with --replace"
    ))]
    Differs { files: String },
    #[error("could not write {}", path.display())]
    Io { path: PathBuf, source: io::Error },
}
