use std::fmt;
use std::io;
use std::path::PathBuf;

use crate::io::layer::LayerError;
use crate::io::rpm::RpmError;
use crate::io::store::StoreError;
use crate::model::image::ImageRef;
use crate::model::oci::ManifestError;

/// The RPMs of an image cannot be listed or extracted.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum ImageRpmsError {
    /// The store does not give the image.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Store(#[from] StoreError),
    /// What the name stands for is no image.
    #[error("{image}: {error}")]
    #[diagnostic(help("an index of several images has to be named by the digest of the one that is meant"))]
    Manifest {
        /// What was asked for.
        image: ImageRef,
        /// What is wrong.
        error: ManifestError,
    },
    /// The configuration is none.
    #[error("the configuration of {image} cannot be read: {error}")]
    Config {
        /// What was asked for.
        image: ImageRef,
        /// What is wrong.
        error: serde_json::Error,
    },
    /// Manifest and configuration contradict each other.
    #[error("{image} has {layers} layers, and its configuration speaks of {diff_ids}")]
    Layers {
        /// What was asked for.
        image: ImageRef,
        /// In the manifest.
        layers: usize,
        /// In the configuration.
        diff_ids: usize,
    },
    /// A layer is not what it should be.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Layer(#[from] LayerError),
    /// A file is called an RPM and is none.
    #[error("{path}: {error}")]
    Rpm {
        /// Its path in the image.
        path: String,
        /// What is wrong.
        error: RpmError,
    },
    /// Other files have the names already.
    #[error("{files} already there, with other contents")]
    #[diagnostic(help(
        "nothing was written: extract into another directory, or replace what is there with --replace"
    ))]
    Differs {
        /// The files.
        files: FileList,
    },
    /// Reading or writing failed.
    #[error("could not write {}", path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// Why.
        #[source]
        error: io::Error,
    },
}

/// One or more files, as the beginning of a sentence: "a and 2 more are".
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
