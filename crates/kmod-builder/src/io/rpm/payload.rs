use std::fs::File;
use std::io::{BufReader, Read as _};
use std::path::Path;

use super::{RpmError, RpmFileError};
use crate::model::packages::Package;

/// Bytes per file; a kernel has about 20 MiB.
const LARGEST: u64 = 512 << 20;

/// Paths with contents, in package order.
pub type Files = Vec<(String, Vec<u8>)>;

/// Reads an RPM to its end and returns its header and the wanted files, which are held in memory. Links, directories
/// and devices are skipped.
pub fn files(path: &Path, wanted: impl Fn(&str) -> bool) -> Result<(Package, Files), RpmFileError> {
    // Verifies header and payload before unpacking.
    let package = super::read(path)?;
    let files = unpack(path, wanted).map_err(|error| RpmFileError { path: path.to_owned(), error })?;
    Ok((package, files))
}

fn unpack(path: &Path, wanted: impl Fn(&str) -> bool) -> Result<Files, RpmError> {
    let file = File::open(path).map_err(RpmError::Read)?;
    let mut reader = rpm::PackageReader::parse(BufReader::new(file)).map_err(RpmError::from_crate)?;
    let mut files = Vec::new();
    while let Some(mut file) = reader.next_file().map_err(RpmError::from_crate)? {
        let path = file.metadata.path().to_string_lossy().into_owned();
        if wanted(&path) && file.has_payload() && file.metadata.file_type() == rpm::FileType::Regular {
            let mut bytes = Vec::new();
            let size = (&mut file).take(LARGEST + 1).read_to_end(&mut bytes).map_err(RpmError::Read)?;
            if size as u64 > LARGEST {
                return Err(RpmError::Malformed("a file in it is larger than any that is read"));
            }
            files.push((path, bytes));
        }
        file.finish().map_err(RpmError::Read)?;
    }
    Ok(files)
}
