use std::fs::File;
use std::io;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rpm::IndexSignatureTag::{RPMSIGTAG_DSA, RPMSIGTAG_OPENPGP, RPMSIGTAG_RSA};

use super::{RpmError, RpmFileError, convert, drain, finish, headers};
use crate::model::Digest;
use crate::model::packages::Package;
use crate::model::rpm_signature::HeaderSignatures;

/// Like [`super::read`], with the header as it is in the file and its signatures, which are not verified.
pub fn read_signed(path: &Path) -> Result<(Package, HeaderSignatures), RpmFileError> {
    let read = || {
        let (headers, metadata) = headers::read(File::open(path).map_err(RpmError::Read)?)?;
        let header = headers.bytes[headers.main..].to_vec();
        let signatures = HeaderSignatures { header, signatures: signatures(&metadata)? };
        let mut rest = headers.rest;
        let payload = drain(&mut rest, &mut io::sink())?;
        Ok((finish(&metadata, &payload, rest)?, signatures))
    };
    read().map_err(|error| RpmFileError { path: path.to_owned(), error })
}

/// Writes the package with another signature header, and returns the digest of the file.
pub fn with_signature(package: &Path, signature: &[u8], to: &Path) -> Result<Digest, RpmError> {
    let file = File::open(package).map_err(RpmError::Read)?;
    let mut signed = Vec::new();
    headers::replace_signature(io::BufReader::new(file), signature, &mut signed)?;
    std::fs::write(to, &signed).map_err(RpmError::Read)?;
    Ok(Digest::of(&signed))
}

/// One of RSA and DSA (which stands for other algorithms, too), and since rpm 4.20 any number in base64.
fn signatures(metadata: &rpm::PackageMetadata) -> Result<Vec<Vec<u8>>, RpmError> {
    let header = &metadata.signature;
    let mut signatures = Vec::new();
    for tag in [RPMSIGTAG_RSA, RPMSIGTAG_DSA] {
        signatures.extend(convert::optional(header.get_entry_data_as_binary(tag))?.map(<[u8]>::to_vec));
    }
    let encoded = convert::optional(header.get_entry_data_as_string_array(RPMSIGTAG_OPENPGP))?;
    signatures.extend(encoded.into_iter().flatten().filter_map(|text| STANDARD.decode(text).ok()));
    Ok(signatures)
}
