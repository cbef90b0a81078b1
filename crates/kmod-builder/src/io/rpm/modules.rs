use std::fs::File;
use std::io::{self, BufReader, Read};

use object::read::ReadCache;

use super::RpmError;
use crate::io::decompress;
use crate::model::elf::ElfFile;
use crate::model::packages::Package;
use crate::model::verify::PackagedModule;

/// The header must be verified already.
pub(super) fn read(file: File) -> Result<Vec<PackagedModule>, RpmError> {
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

/// Unpacks a module into an unnamed temporary file, because its tables are at the end, and reads its metadata.
fn module(path: &str, file: &mut impl Read) -> io::Result<PackagedModule> {
    let mut unpacked = tempfile::tempfile()?;
    io::copy(&mut decompress::module_reader(path, file)?, &mut unpacked)?;
    let elf = ElfFile::parse(&ReadCache::new(BufReader::new(unpacked))).map_err(io::Error::other)?;
    if elf.modinfo.is_none() {
        return Err(io::Error::other("no section `.modinfo`"));
    }
    let vermagic = elf.modinfo("vermagic").map(str::to_owned);
    Ok(PackagedModule { path: path.to_owned(), arch: elf.arch, vermagic })
}
