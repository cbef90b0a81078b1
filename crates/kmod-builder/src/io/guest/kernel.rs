use std::collections::BTreeSet;
use std::convert::Infallible;
use std::io::{self, Read};
use std::path::PathBuf;
use std::str::FromStr;

use kmod_compat::KernelRelease;
use kmod_query::KernelPackage;

use super::{GuestError, Sources};
use crate::io::progress::ProgressSection;
use crate::io::{blocking, download, rpm};
use crate::model::boot::{Module, Origin, Packing, Stock, packed};
use crate::model::packages::Package;

/// The largest module or kernel, unpacked: with debug information a module can have hundreds of mebibytes.
const LARGEST: u64 = 512 << 20;

/// Where a package of the kernel is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// Wherever upstream has it.
    Upstream,
    /// In a file.
    File(PathBuf),
    /// At an address.
    Url(String),
}

impl FromStr for Place {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(if text.contains("://") { Self::Url(text.to_owned()) } else { Self::File(text.into()) })
    }
}

/// A kernel and the modules at hand for it.
#[derive(Clone, Debug)]
pub struct Kernel {
    /// The kernel, as the emulator takes it.
    pub vmlinuz: Vec<u8>,
    /// Its modules.
    pub stock: Stock,
    /// The packages that were used.
    pub origins: Vec<Origin>,
    release: KernelRelease,
}

impl Kernel {
    /// Fetches the kernel itself.
    pub async fn fetch(
        sources: Sources<'_>,
        release: &KernelRelease,
        section: &ProgressSection,
    ) -> Result<Self, GuestError> {
        let (file, from) = obtain(KernelPackage::Core, release, sources, section).await?;
        let (kernel, built_in) =
            (format!("/lib/modules/{release}/vmlinuz"), format!("/lib/modules/{release}/modules.builtin"));
        let ends = [kernel.clone(), built_in.clone()];
        let read = move |_: &blocking::Stop| {
            rpm::files(&file, |path| ends.iter().any(|end| path.ends_with(end.as_str())))
        };
        let (package, files) = blocking::run(read).await?;
        let origin = origin(KernelPackage::Core, release, &package, from)?;
        let find = |end: &str| files.iter().find(|(path, _)| path.ends_with(end)).map(|(_, bytes)| bytes);
        let vmlinuz = find(&kernel)
            .ok_or_else(|| GuestError::NoFile { nevra: package.nevra(), path: kernel.clone() })?;
        let vmlinuz = unwrap(vmlinuz)
            .map_err(|reason| GuestError::Unpack { path: kernel, reason: reason.to_string() })?;
        let built_in =
            find(&built_in).map_or_else(String::new, |bytes| String::from_utf8_lossy(bytes).into());
        Ok(Self { vmlinuz, stock: Stock::new(&built_in), origins: vec![origin], release: release.clone() })
    }

    /// Takes in the modules that are needed to load these; the package with them is fetched only if there are any.
    pub async fn complete(
        &mut self,
        sources: Sources<'_>,
        goals: &[&str],
        section: &ProgressSection,
    ) -> Result<(), GuestError> {
        if self.stock.missing(goals).is_empty() {
            return Ok(());
        }
        let (file, from) = obtain(KernelPackage::ModulesCore, &self.release, sources, section).await?;
        let mut looked_for = BTreeSet::new();
        loop {
            // What a module depends on is known only when it is there, so the package is read a few times.
            let missing: BTreeSet<_> = self.stock.missing(goals).difference(&looked_for).cloned().collect();
            if missing.is_empty() {
                return Ok(());
            }
            looked_for.extend(missing.iter().cloned());
            let file = file.clone();
            let (package, modules) = blocking::run(move |_| -> Result<_, GuestError> {
                let wanted = |path: &str| Package::is_module(path) && missing.contains(&Module::name(path));
                let (package, files) = rpm::files(&file, wanted)?;
                let modules: Result<Vec<_>, _> =
                    files.into_iter().map(|(path, bytes)| module(&path, bytes)).collect();
                Ok((package, modules?))
            })
            .await?;
            if self.origins.len() == 1 {
                self.origins.push(origin(KernelPackage::ModulesCore, &self.release, &package, from.clone())?);
            }
            for module in modules {
                self.stock.add(module);
            }
        }
    }
}

/// The file of a package, and where it is from.
async fn obtain(
    package: KernelPackage,
    release: &KernelRelease,
    sources: Sources<'_>,
    section: &ProgressSection,
) -> Result<(PathBuf, String), GuestError> {
    let place = match package {
        KernelPackage::ModulesCore => sources.modules,
        KernelPackage::Core | KernelPackage::Devel => sources.core,
    };
    let url = match place {
        Place::File(path) => return Ok((path.clone(), path.display().to_string())),
        Place::Url(url) => url.clone(),
        Place::Upstream => {
            let fedora = release.fedora().ok_or_else(|| GuestError::NoFedora(release.clone()))?;
            sources.upstream.kernel_package(package, release, fedora).await?.url
        }
    };
    let file = sources.scratch.join(format!("{}.rpm", package.nevra(release)));
    download::file(&url, &file, None, section).await?;
    Ok((file, url))
}

/// The package must be the one that was looked for, whoever named it.
fn origin(
    wanted: KernelPackage,
    release: &KernelRelease,
    package: &Package,
    from: String,
) -> Result<Origin, GuestError> {
    let (expected, found) = (wanted.nevra(release), package.nevra());
    if found == expected {
        Ok(Origin { nevra: found, from, digest: package.digest.clone() })
    } else {
        Err(GuestError::OtherPackage { from, expected, found })
    }
}

fn module(path: &str, bytes: Vec<u8>) -> Result<Module, GuestError> {
    let bytes = unpack(path, bytes)
        .map_err(|error| GuestError::Unpack { path: path.to_owned(), reason: error.to_string() })?;
    Module::parse(path, bytes).map_err(|error| GuestError::File { path: path.to_owned(), error })
}

/// Unpacks a module; what it is packed with, its name says.
pub(super) fn unpack(path: &str, bytes: Vec<u8>) -> io::Result<Vec<u8>> {
    let packed = bytes.as_slice();
    match path.rsplit_once('.') {
        Some((_, "xz")) => read(liblzma::read::XzDecoder::new(packed)),
        Some((_, "zst")) => read(zstd::Decoder::new(packed)?),
        Some((_, "gz")) => read(flate2::read::GzDecoder::new(packed)),
        _ => Ok(bytes),
    }
}

/// Takes a kernel out of the program that would unpack it.
fn unwrap(vmlinuz: &[u8]) -> io::Result<Vec<u8>> {
    match packed(vmlinuz).map_err(io::Error::other)? {
        None => Ok(vmlinuz.to_vec()),
        Some(packed) => match packed.packing {
            Packing::Gzip => read(flate2::read::GzDecoder::new(packed.kernel)),
            // What follows the compressed kernel is its length.
            Packing::Zstd => read(zstd::Decoder::new(packed.kernel)?.single_frame()),
        },
    }
}

fn read(reader: impl Read) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let size = reader.take(LARGEST + 1).read_to_end(&mut bytes)?;
    if size as u64 > LARGEST {
        return Err(io::Error::other(format!("it is larger than {} MiB", LARGEST >> 20)));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modules_are_unpacked_by_their_names() {
        let plain = b"module".repeat(100);
        let gzip = {
            let mut encoder = flate2::read::GzEncoder::new(plain.as_slice(), flate2::Compression::fast());
            let mut bytes = Vec::new();
            encoder.read_to_end(&mut bytes).unwrap();
            bytes
        };
        let mut xz = Vec::new();
        liblzma::read::XzEncoder::new(plain.as_slice(), 0).read_to_end(&mut xz).unwrap();
        let zst = zstd::encode_all(plain.as_slice(), 1).unwrap();
        for (path, bytes) in [("a.ko", plain.clone()), ("a.ko.gz", gzip), ("a.ko.xz", xz), ("a.ko.zst", zst)]
        {
            assert_eq!(unpack(path, bytes).unwrap(), plain, "{path}");
        }
        assert!(unpack("a.ko.xz", plain).is_err());
    }

    #[test]
    fn places_are_files_or_addresses() {
        assert_eq!("https://a/b.rpm".parse(), Ok(Place::Url("https://a/b.rpm".into())));
        assert_eq!("./b.rpm".parse(), Ok(Place::File("./b.rpm".into())));
    }
}
