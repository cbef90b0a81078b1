use std::collections::BTreeSet;
use std::fmt;
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
    pub file_name: &'a str,
    pub group: PackageGroup,
    /// In bytes.
    pub size: u64,
    /// Yields exactly `size` bytes or an error. Verified only when the whole layer has been read.
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
        let compression =
            Compression::of_media_type(&descriptor.media_type).ok_or_else(|| LayerError::MediaType {
                layer: descriptor.digest.clone(),
                media_type: descriptor.media_type.clone(),
            })?;
        // One extra byte reveals a blob that is too long.
        let mut blob = Hashing::new(blob.take(descriptor.size.saturating_add(1)));
        let unpacked = self.unpack(&mut blob, compression, descriptor, &mut on_file);
        let drained = io::copy(&mut blob, &mut io::sink());
        let (_, digest, size) = blob.finish();
        match drained {
            // A verifying store reports a wrong digest this way; the error is created below.
            Err(error) if error.kind() == io::ErrorKind::InvalidData && digest != descriptor.digest => {}
            Err(error) => return Err(LayerError::Read { layer: descriptor.digest.clone(), error }.into()),
            Ok(_) => {}
        }
        if digest == descriptor.digest && size != descriptor.size {
            let (layer, said) = (digest, descriptor.size);
            return Err(LayerError::Size { layer, said, size }.into());
        }
        if digest != descriptor.digest {
            return Err(LayerError::Changed { layer: descriptor.digest.clone(), found: digest }.into());
        }
        let found = unpacked?;
        if found != *diff_id {
            let (layer, diff_id) = (descriptor.digest.clone(), diff_id.clone());
            return Err(LayerError::DiffId { layer, diff_id, found }.into());
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
        let fail = |error| LayerError::Unpack { layer: descriptor.digest.clone(), compression, error };
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
            let refuse = |fault| LayerError::Entry { name: name.escape_ascii().to_string(), fault };
            if count > MAX_ENTRIES {
                Err(refuse(EntryRejection::TooMany))?;
            }
            let size = entry.size();
            let Some((path, group)) = self.admit(&name, entry.header().entry_type(), size).map_err(refuse)?
            else {
                continue;
            };
            let file_name = path.rsplit_once('/').map_or(path, |(_, file_name)| file_name);
            let mut reader = ExactReader { inner: &mut entry, remaining: size };
            on_file(LayerEntry { path, file_name, group, size, reader: &mut reader })?;
        }
        let mut rest = archive.into_inner();
        let zeros = only_zeros(&mut rest).map_err(fail)?;
        let (_, diff_id, size) = rest.finish();
        if size > MAX_LAYER {
            Err(LayerError::TooLarge { layer: descriptor.digest.clone() })?;
        }
        if !zeros || long_name.is_some() {
            Err(LayerError::Hidden { layer: descriptor.digest.clone() })?;
        }
        Ok(diff_id)
    }

    /// Validates an entry by its header: a file with its group, or a directory (`None`).
    fn admit<'a>(
        &mut self,
        name: &'a [u8],
        kind: tar::EntryType,
        size: u64,
    ) -> Result<Option<(&'a str, PackageGroup)>, EntryRejection> {
        let name = std::str::from_utf8(name).map_err(|_| EntryRejection::Foreign)?;
        if name.starts_with('/') {
            return Err(EntryRejection::Absolute);
        }
        if name.split('/').any(|part| part == "..") {
            return Err(EntryRejection::Traversal);
        }
        match kind {
            tar::EntryType::Regular | tar::EntryType::Directory => {}
            tar::EntryType::Symlink => return Err(EntryRejection::Symlink),
            tar::EntryType::Link => return Err(EntryRejection::HardLink),
            tar::EntryType::Char | tar::EntryType::Block => return Err(EntryRejection::Device),
            _ => return Err(EntryRejection::Kind),
        }
        // Some tools write `./` before every path.
        let name = name.strip_prefix("./").unwrap_or(name);
        let path = name.strip_suffix('/').unwrap_or(name);
        if kind == tar::EntryType::Directory {
            let ours = path.is_empty() || path == "." || PackageGroup::of_directory(path).is_some();
            return if ours && size == 0 { Ok(None) } else { Err(EntryRejection::Foreign) };
        }
        let (directory, file_name) = name.rsplit_once('/').unwrap_or(("", name));
        let group = PackageGroup::of_directory(directory).ok_or(EntryRejection::Foreign)?;
        if !is_rpm_name(file_name) {
            return Err(EntryRejection::Foreign);
        }
        if size > MAX_ENTRY {
            return Err(EntryRejection::Oversized(size));
        }
        if !self.seen.insert(name.to_owned()) {
            return Err(EntryRejection::Duplicate);
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
    #[error("the layer {layer} has {size} bytes, not {said} as the manifest says")]
    Size { layer: Digest, said: u64, size: u64 },
    #[error(
        "the layer {layer} does not hold what the image's configuration says: \
         unpacked it has the digest {found}, not {diff_id}"
    )]
    DiffId { layer: Digest, diff_id: Digest, found: Digest },
    #[error("the layer holds `{name}`, which {fault}")]
    #[diagnostic(help("nothing of this layer was kept; zfs-kmods never writes such an entry"))]
    Entry {
        /// Non-printable characters are escaped.
        name: String,
        fault: EntryRejection,
    },
    /// Data after the end of the archive, or a name without a file.
    #[error("the layer {layer} goes on after the end of its archive")]
    Hidden { layer: Digest },
    #[error("the layer {layer} unpacks to more than {} GiB", MAX_LAYER >> 30)]
    TooLarge { layer: Digest },
    #[error("the layer {layer} is of the type `{media_type}`, which zfs-kmods never writes")]
    MediaType { layer: Digest, media_type: String },
    /// The digest is right, but the blob was never an archive.
    #[error("the layer {layer} is not a whole tar archive compressed with {compression}")]
    Unpack {
        layer: Digest,
        compression: Compression,
        #[source]
        error: io::Error,
    },
    #[error("could not read the layer {layer}")]
    Read {
        layer: Digest,
        #[source]
        error: io::Error,
    },
}

/// Continues "the layer holds `name`, which …".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EntryRejection {
    Absolute,
    Traversal,
    Symlink,
    HardLink,
    Device,
    /// Neither file nor directory, such as a pipe or an extended header.
    Kind,
    /// In this or another layer.
    Duplicate,
    /// Size in bytes.
    Oversized(u64),
    Foreign,
    TooMany,
}

impl fmt::Display for EntryRejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Absolute => f.write_str("is an absolute path: it would be written outside of the target"),
            Self::Traversal => f.write_str("leads out of the image by `..`"),
            Self::Symlink => f.write_str("is a symbolic link, where only files may be"),
            Self::HardLink => f.write_str("is a hard link, where only files may be"),
            Self::Device => f.write_str("is a device, where only files may be"),
            Self::Kind => f.write_str("is neither a file nor a directory"),
            Self::Duplicate => f.write_str("occurs twice"),
            Self::Oversized(size) => {
                write!(f, "claims to be of {size} bytes: no package of OpenZFS is larger than {MAX_ENTRY}")
            }
            Self::Foreign => {
                f.write_str("is not an RPM in the root, `devel`, `debug`, `other` or `src` of the image")
            }
            Self::TooMany => write!(f, "is one too many: a layer has no more than {MAX_ENTRIES} entries"),
        }
    }
}
