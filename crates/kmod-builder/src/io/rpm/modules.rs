use std::fs::File;
use std::io::{self, BufReader, Read, Seek as _, Write as _};

use super::{RpmError, elf};
use crate::model::packages::Package;
use crate::model::verification::Module;

/// The largest module, zfs.ko, has about six mebibytes, and ten times that with debug information.
const MAX_MODULE: u64 = 512 << 20;

/// Reads the kernel modules in the payload of an RPM whose header has been judged.
pub(super) fn read(file: File) -> Result<Vec<Module>, RpmError> {
    let mut reader = rpm::PackageReader::parse(BufReader::new(file)).map_err(RpmError::from_crate)?;
    let mut modules = Vec::new();
    while let Some(mut file) = reader.next_file().map_err(RpmError::from_crate)? {
        let path = file.metadata.path().to_string_lossy().into_owned();
        if Package::is_module(&path) && file.has_payload() {
            let module = module(&path, &mut file)
                .map_err(|error| RpmError::Module { path: path.clone(), reason: error.to_string() })?;
            modules.push(module);
        }
        file.finish().map_err(RpmError::Read)?;
    }
    Ok(modules)
}

/// Unpacks a module into an unnamed temporary file (its tables are at its end) and reads what it says of itself.
fn module(path: &str, file: &mut impl Read) -> io::Result<Module> {
    let reader: Box<dyn Read + '_> = match path.rsplit_once('.') {
        Some((_, "xz")) => Box::new(liblzma::read::XzDecoder::new(file)),
        Some((_, "zst")) => Box::new(zstd::Decoder::new(file)?),
        Some((_, "gz")) => Box::new(flate2::read::GzDecoder::new(file)),
        _ => Box::new(file),
    };
    let mut unpacked = tempfile::tempfile()?;
    let size = io::copy(&mut reader.take(MAX_MODULE + 1), &mut unpacked)?;
    if size > MAX_MODULE {
        return Err(io::Error::other(format!("it is larger than {} MiB", MAX_MODULE >> 20)));
    }
    unpacked.flush()?;
    unpacked.rewind()?;
    let info = elf::module_info(&mut BufReader::new(unpacked))?;
    Ok(Module { path: path.to_owned(), arch: info.arch, vermagic: info.vermagic })
}
