//! Reads RPMs as untrusted input: headers and kernel modules.

mod convert;
mod headers;
mod modules;
mod payload;
mod rpm_metadata;
mod signatures;

use std::fs::File;
use std::io::{self, Read, Seek as _, Write};
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

pub use payload::{Files, files};
pub use rpm_metadata::rpm_metadata;
pub use signatures::{read_signed, with_signature};

use super::layer::Hashing;
use crate::model::Digest;
use crate::model::packages::Package;
use crate::model::verify::PackagedModule;

/// Reads an RPM to its end and returns its header.
///
/// Verifies the header's digests, including the payload's. Holds only the header in memory.
pub fn parse(reader: impl Read) -> Result<Package, RpmError> {
    let (headers, metadata) = headers::read(reader)?;
    let mut rest = headers.rest;
    let payload = drain(&mut rest, &mut io::sink())?;
    finish(&metadata, &payload, rest)
}

/// Reads an RPM to its end and returns its header and kernel modules.
///
/// An RPM with modules is written to an unnamed temporary file, because its payload is read after its header.
pub fn inspect(reader: impl Read) -> Result<(Package, Vec<PackagedModule>), RpmError> {
    let (headers, metadata) = headers::read(reader)?;
    let has_modules = convert::files(&metadata)?.iter().any(|path| Package::is_module(path));
    let mut rest = headers.rest;
    if !has_modules {
        let payload = drain(&mut rest, &mut io::sink())?;
        return Ok((finish(&metadata, &payload, rest)?, Vec::new()));
    }
    let (package, file) = copy(&headers.bytes, rest, &metadata)?;
    Ok((package, modules::read(file)?))
}

/// Copies an RPM to an unnamed temporary file and verifies its digests before the payload is unpacked.
fn copy(
    headers: &[u8],
    mut rest: Hashing<impl Read>,
    metadata: &rpm::PackageMetadata,
) -> Result<(Package, File), RpmError> {
    let mut file = tempfile::tempfile().map_err(RpmError::Read)?;
    file.write_all(headers).map_err(RpmError::Read)?;
    let payload = drain(&mut rest, &mut file)?;
    let package = finish(metadata, &payload, rest)?;
    file.rewind().map_err(RpmError::Read)?;
    Ok((package, file))
}

pub fn read(path: &Path) -> Result<Package, RpmFileError> {
    let file = File::open(path).map_err(RpmError::Read);
    file.and_then(parse).map_err(|error| RpmFileError { path: path.to_owned(), error })
}

/// Copies what follows the header and returns its digest.
fn drain(rest: &mut impl Read, to: &mut impl Write) -> Result<String, RpmError> {
    let mut payload = Hashing::new(rest);
    io::copy(&mut payload, to).map_err(RpmError::Read)?;
    let (_, digest, _) = payload.finish();
    Ok(digest.hex().to_owned())
}

fn finish<R>(metadata: &rpm::PackageMetadata, payload: &str, rest: Hashing<R>) -> Result<Package, RpmError> {
    let mut header = Sha256::new();
    header.update(metadata.header_bytes().map_err(RpmError::from_crate)?);
    let header = Digest::finish(header);
    let named = metadata.signature.get_entry_data_as_string(rpm::IndexSignatureTag::RPMSIGTAG_SHA256);
    if named.map_err(RpmError::from_crate)? != header.hex() {
        return Err(RpmError::Changed("header"));
    }
    let named = metadata.header.get_entry_data_as_string(rpm::IndexTag::RPMTAG_PAYLOADSHA256);
    if named.map_err(RpmError::from_crate)? != payload {
        return Err(RpmError::Changed("payload"));
    }
    let (_, digest, size) = rest.finish();
    convert::package(metadata, digest, size)
}

#[derive(Debug, thiserror::Error, miette::Diagnostic)]
#[error("{}: {error}", path.display())]
pub struct RpmFileError {
    path: PathBuf,
    // Not a source, because the message contains it.
    error: RpmError,
}

/// Continues a sentence that names the RPM.
#[derive(Debug, thiserror::Error)]
pub enum RpmError {
    #[error("not an RPM: {0}")]
    Malformed(&'static str),
    #[error("invalid header: {0}")]
    Header(String),
    #[error("damaged: its {0} does not have the digest in its header")]
    Changed(&'static str),
    #[error("cannot read its module {path}: {reason}")]
    Module { path: String, reason: String },
    #[error("cannot read it: {0}")]
    Read(#[source] io::Error),
}

impl RpmError {
    fn from_crate(error: rpm::Error) -> Self {
        match error {
            rpm::Error::Io(error) => Self::Read(error),
            other => Self::Header(other.to_string()),
        }
    }
}
