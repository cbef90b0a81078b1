use std::collections::BTreeSet;
use std::io::{self, BufReader, Read};

use super::Hashing;
use crate::model::oci::Descriptor;
use crate::model::packages::PackageGroup;
use crate::model::{Compression, Digest};

/// Bytes. Our largest RPM, with debug information of all modules, has about a tenth.
const MAX_ENTRY: u64 = 1 << 30;
const MAX_LAYER: u64 = 4 << 30;
/// Entries per layer; ours have about twenty.
const MAX_ENTRIES: usize = 200;
/// Bytes per path; our longest have about 150.
const MAX_PATH: u64 = 1024;

pub const DUPLICATE: &str = "occurs twice";

/// Reads the layers of one image and rejects what this program does not write.
///
/// The input is untrusted and is later installed by root: sizes, names and uniqueness are checked.
#[derive(Debug, Default)]
pub struct LayerReader {
    seen: BTreeSet<String>,
}

pub struct LayerEntry<'a> {
    /// Path in the image, relative and validated.
    pub path: &'a str,
    pub group: PackageGroup,
    /// Yields the whole file or an error. Verified only when the whole layer has been read.
    pub reader: &'a mut dyn Read,
}

impl LayerReader {
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads one layer and passes each RPM to `on_file` in archive order.
    ///
    /// Success means that the blob matches its descriptor and the archive matches `diff_id`; until then, results of
    /// `on_file` are preliminary. A wrong blob digest takes precedence over every other error.
    pub fn read<E: From<LayerError>>(
        &mut self,
        blob: impl Read,
        descriptor: &Descriptor,
        diff_id: &Digest,
        mut on_file: impl FnMut(LayerEntry<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        let invalid = |reason| LayerError::Invalid { layer: descriptor.digest.clone(), reason };
        let compression = Compression::of_media_type(&descriptor.media_type).ok_or_else(|| {
            invalid(format!("has the type `{}`, which zfs-kmods never writes", descriptor.media_type))
        })?;
        // One extra byte reveals a blob that is too long.
        let mut blob = Hashing::new(blob.take(descriptor.size.saturating_add(1)));
        let unpacked = self.unpack(&mut blob, compression, descriptor, &mut on_file);
        let drained = io::copy(&mut blob, &mut io::sink());
        let (_, digest, size) = blob.finish();
        match drained {
            // A verifying store reports a wrong digest this way; the error is created below.
            Err(error) if error.kind() == io::ErrorKind::InvalidData && digest != descriptor.digest => {}
            Err(error) => {
                return Err(LayerError::Read { layer: descriptor.digest.clone(), source: error }.into());
            }
            Ok(_) => {}
        }
        if digest == descriptor.digest && size != descriptor.size {
            let reason = format!("has {size} bytes, but {} in the manifest", descriptor.size);
            return Err(invalid(reason).into());
        }
        if digest != descriptor.digest {
            return Err(LayerError::Changed { layer: descriptor.digest.clone(), found: digest }.into());
        }
        let found = unpacked?;
        if found != *diff_id {
            let reason =
                format!("has the uncompressed digest {found}, but {diff_id} in the image's configuration");
            return Err(invalid(reason).into());
        }
        Ok(())
    }

    fn unpack<E: From<LayerError>>(
        &mut self,
        blob: &mut impl Read,
        compression: Compression,
        descriptor: &Descriptor,
        on_file: &mut impl FnMut(LayerEntry<'_>) -> Result<(), E>,
    ) -> Result<Digest, E> {
        let invalid = |reason| LayerError::Invalid { layer: descriptor.digest.clone(), reason };
        let fail = |source| LayerError::Unpack { layer: descriptor.digest.clone(), compression, source };
        let blob = BufReader::new(blob);
        let decoder: Box<dyn Read + '_> = match compression {
            Compression::Zstd => Box::new(zstd::Decoder::with_buffer(blob).map_err(fail)?),
            Compression::Gzip => Box::new(flate2::bufread::MultiGzDecoder::new(blob)),
        };
        let mut archive = tar::Archive::new(Hashing::new(decoder.take(MAX_LAYER + 1)));
        // Raw, because the crate otherwise reads names of any length into memory.
        let mut entries = archive.entries().map_err(fail)?.raw(true);
        let mut long_name = None;
        let mut count = 0;
        for entry in &mut entries {
            let mut entry = entry.map_err(fail)?;
            count += 1;
            if entry.header().entry_type().is_gnu_longname() && long_name.is_none() {
                long_name = Some(read_long_name(&mut entry).map_err(fail)?);
                continue;
            }
            let name = long_name.take().unwrap_or_else(|| entry.path_bytes().into_owned());
            let refuse = |reason| LayerError::Entry { name: name.escape_ascii().to_string(), reason };
            if count > MAX_ENTRIES {
                Err(refuse(format!("exceeds the maximum of {MAX_ENTRIES} entries per layer")))?;
            }
            let size = entry.size();
            let Some((path, group)) = self.admit(&name, entry.header().entry_type(), size).map_err(refuse)?
            else {
                continue;
            };
            let mut reader = ExactReader { inner: &mut entry, remaining: size };
            on_file(LayerEntry { path, group, reader: &mut reader })?;
        }
        let mut rest = archive.into_inner();
        let zeros = only_zeros(&mut rest).map_err(fail)?;
        let (_, diff_id, size) = rest.finish();
        if size > MAX_LAYER {
            Err(invalid(format!("unpacks to more than {} GiB", MAX_LAYER >> 30)))?;
        }
        // A long name without a file also hides data.
        if !zeros || long_name.is_some() {
            Err(invalid("has data after the end of its archive".to_owned()))?;
        }
        Ok(diff_id)
    }

    /// Validates an entry by its header: a file with its group, or a directory (`None`).
    fn admit<'a>(
        &mut self,
        name: &'a [u8],
        kind: tar::EntryType,
        size: u64,
    ) -> Result<Option<(&'a str, PackageGroup)>, String> {
        const FOREIGN: &str = "is not an RPM in the root, `devel`, `debug`, `other` or `src` of the image";
        let name = std::str::from_utf8(name).map_err(|_| FOREIGN)?;
        if name.starts_with('/') {
            return Err("is an absolute path and would be written outside of the target".to_owned());
        }
        if name.split('/').any(|part| part == "..") {
            return Err("leads out of the image by `..`".to_owned());
        }
        match kind {
            tar::EntryType::Regular | tar::EntryType::Directory => {}
            tar::EntryType::Symlink => return Err("is a symbolic link".to_owned()),
            tar::EntryType::Link => return Err("is a hard link".to_owned()),
            tar::EntryType::Char | tar::EntryType::Block => return Err("is a device".to_owned()),
            _ => return Err("is neither a file nor a directory".to_owned()),
        }
        // Some tools write `./` before every path.
        let name = name.strip_prefix("./").unwrap_or(name);
        let path = name.strip_suffix('/').unwrap_or(name);
        if kind == tar::EntryType::Directory {
            let ours = path.is_empty() || path == "." || PackageGroup::of_directory(path).is_some();
            return if ours && size == 0 { Ok(None) } else { Err(FOREIGN.to_owned()) };
        }
        let (directory, file_name) = name.rsplit_once('/').unwrap_or(("", name));
        let group = PackageGroup::of_directory(directory).ok_or(FOREIGN)?;
        if !is_rpm_name(file_name) {
            return Err(FOREIGN.to_owned());
        }
        if size > MAX_ENTRY {
            return Err(format!("claims to have {size} bytes; the maximum is {MAX_ENTRY}"));
        }
        if !self.seen.insert(name.to_owned()) {
            return Err(DUPLICATE.to_owned());
        }
        Ok(Some((name, group)))
    }
}

/// Accepts only rpmbuild's file names, without characters that a shell or terminal interprets.
fn is_rpm_name(file_name: &str) -> bool {
    file_name.strip_suffix(".rpm").is_some_and(|stem| !stem.is_empty())
        && file_name.starts_with(|first: char| first.is_ascii_alphanumeric())
        && file_name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._+~^-".contains(&byte))
}

fn read_long_name(entry: &mut impl Read) -> io::Result<Vec<u8>> {
    let mut name = Vec::new();
    entry.take(MAX_PATH + 1).read_to_end(&mut name)?;
    if name.len() as u64 > MAX_PATH {
        return Err(io::Error::other(format!("a name is longer than {MAX_PATH} bytes")));
    }
    // GNU tar ends the name with a zero byte.
    if name.last() == Some(&0) {
        name.pop();
    }
    Ok(name)
}

/// Reads to the end. Only some programs see data after the end of the archive, so only zeros are accepted.
fn only_zeros(reader: &mut impl Read) -> io::Result<bool> {
    let mut buffer = [0; 8192];
    let mut zeros = true;
    loop {
        match reader.read(&mut buffer)? {
            0 => return Ok(zeros),
            read => zeros &= buffer[..read].iter().all(|&byte| byte == 0),
        }
    }
}

/// Fails at an early end, which otherwise looks like a complete file.
struct ExactReader<R> {
    inner: R,
    remaining: u64,
}

impl<R: Read> Read for ExactReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        if read == 0 && self.remaining > 0 && !buffer.is_empty() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.remaining = self.remaining.saturating_sub(read as u64);
        Ok(read)
    }
}

#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum LayerError {
    #[error("the layer {layer} was changed after the image was made: its bytes now have the digest {found}")]
    #[diagnostic(help(
        "the copy is damaged or was tampered with: get the image again, or from another place"
    ))]
    Changed {
        layer: Digest,
        /// Of a blob that is too long, only the expected length and one byte are hashed.
        found: Digest,
    },
    #[error("the layer holds `{name}`, which {reason}")]
    #[diagnostic(help("nothing of this layer was kept; zfs-kmods never writes such an entry"))]
    Entry {
        /// Non-printable characters are escaped.
        name: String,
        /// Continues "which …".
        reason: String,
    },
    /// Differs from its descriptor or diff ID, or is not an archive that this program writes.
    #[error("the layer {layer} {reason}")]
    Invalid { layer: Digest, reason: String },
    /// The digest is right, but the blob was never an archive.
    #[error("the layer {layer} is not a complete tar archive compressed with {compression}")]
    Unpack { layer: Digest, compression: Compression, source: io::Error },
    #[error("could not read the layer {layer}")]
    Read { layer: Digest, source: io::Error },
}
