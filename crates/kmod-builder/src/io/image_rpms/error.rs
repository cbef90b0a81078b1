use std::fmt;
use std::io;
use std::path::PathBuf;

use crate::io::layer::LayerError;
use crate::io::rpm::RpmError;
use crate::io::store::StoreError;
use crate::model::image::ImageRef;
use crate::model::oci::ManifestError;

#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum ImageRpmsError {
    #[error(transparent)]
    #[diagnostic(transparent)]
    Store(#[from] StoreError),
    #[error("{image}: {error}")]
    #[diagnostic(help("select one image of the index by its digest"))]
    Manifest { image: ImageRef, error: ManifestError },
    #[error("the configuration of {image} cannot be read: {error}")]
    Config { image: ImageRef, error: serde_json::Error },
    #[error("{image} has {layers} layers, but its configuration lists {diff_ids}")]
    Layers { image: ImageRef, layers: usize, diff_ids: usize },
    #[error(transparent)]
    #[diagnostic(transparent)]
    Layer(#[from] LayerError),
    #[error("{path}: {error}")]
    Rpm {
        /// Path in the image.
        path: String,
        error: RpmError,
    },
    #[error("{files} already there, with other contents")]
    #[diagnostic(help(
        "nothing was written: extract into another directory, or replace what is there with --replace"
    ))]
    Differs { files: FileList },
    #[error("could not write {}", path.display())]
    Io {
        path: PathBuf,
        #[source]
        error: io::Error,
    },
}

/// One or more files, as the start of a sentence: "a and 2 more are".
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileList(pub(super) Vec<PathBuf>);

impl fmt::Display for FileList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.as_slice() {
            [] => f.write_str("nothing is"),
            [file] => write!(f, "{} is", file.display()),
            [file, others @ ..] => write!(f, "{} and {} more are", file.display(), others.len()),
        }
    }
}
