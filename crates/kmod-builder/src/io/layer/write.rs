use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Write};
use std::path::PathBuf;

use super::Hashing;
use crate::model::{Compression, Digest};

/// Fixed, because a layer's digest depends on them. Higher levels gain little: RPMs are compressed already.
const ZSTD_LEVEL: i32 = 3;
const GZIP_LEVEL: u32 = 6;

#[derive(Clone, Debug)]
pub struct LayerFile {
    pub file: PathBuf,
    /// In bytes. The file must not change while it is read.
    pub size: u64,
}

/// Writes a layer reproducibly: the files by their paths in the image, and their directories.
///
/// Entries are sorted by path, owned by root, with modes 0644 and 0755 and the same time. Compressors run with one
/// thread at a fixed level, without time or name. One file's buffer is in memory at a time.
///
/// Returns the writer and the digest of the uncompressed archive.
pub fn write<W: Write>(
    files: &BTreeMap<String, LayerFile>,
    source_date_epoch: u64,
    compression: Compression,
    output: W,
) -> io::Result<(W, Digest)> {
    match compression {
        Compression::Zstd => {
            let mut encoder = zstd::Encoder::new(output, ZSTD_LEVEL)?;
            // Lets readers detect damage without a digest.
            encoder.include_checksum(true)?;
            let (encoder, diff_id) = archive(files, source_date_epoch, encoder)?;
            Ok((encoder.finish()?, diff_id))
        }
        Compression::Gzip => {
            // By default, flate2 writes neither time nor name, and an unknown operating system.
            let encoder = flate2::GzBuilder::new()
                .mtime(0)
                .operating_system(255)
                .write(output, flate2::Compression::new(GZIP_LEVEL));
            let (encoder, diff_id) = archive(files, source_date_epoch, encoder)?;
            Ok((encoder.finish()?, diff_id))
        }
    }
}

fn archive<W: Write>(
    files: &BTreeMap<String, LayerFile>,
    source_date_epoch: u64,
    output: W,
) -> io::Result<(W, Digest)> {
    // A directory sorts before its content: `devel/` is a prefix of `devel/zfs.rpm`.
    let mut entries: BTreeMap<String, Option<&LayerFile>> = BTreeMap::new();
    for (path, source) in files {
        if let Some((directory, _)) = path.rsplit_once('/') {
            entries.insert(format!("{directory}/"), None);
        }
        entries.insert(path.clone(), Some(source));
    }
    let mut builder = tar::Builder::new(Hashing::new(output));
    for (path, source) in entries {
        // GNU format, because paths with long kernel releases may exceed the 100 bytes of the old format.
        let mut header = tar::Header::new_gnu();
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(source_date_epoch);
        match source {
            None => {
                header.set_entry_type(tar::EntryType::Directory);
                header.set_mode(0o755);
                header.set_size(0);
                builder.append_data(&mut header, &path, io::empty())?;
            }
            Some(source) => {
                header.set_entry_type(tar::EntryType::Regular);
                header.set_mode(0o644);
                header.set_size(source.size);
                let mut file = Hashing::new(File::open(&source.file)?);
                builder.append_data(&mut header, &path, &mut file)?;
                // A different size would misalign the archive.
                if file.size() != source.size {
                    return Err(io::Error::other(format!(
                        "{} changed while it was read",
                        source.file.display()
                    )));
                }
            }
        }
    }
    let (output, diff_id, _) = builder.into_inner()?.finish();
    Ok((output, diff_id))
}
