use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Write};
use std::path::PathBuf;

use super::Hashing;
use crate::model::{Compression, Digest};

/// Levels are fixed: the digest of a layer depends on them. Both are where more effort stops to pay for RPMs, which
/// are compressed already.
const ZSTD_LEVEL: i32 = 3;
const GZIP_LEVEL: u32 = 6;

/// Where the bytes of a layer's file are.
#[derive(Clone, Debug)]
pub struct LayerFile {
    pub file: PathBuf,
    /// Its size in bytes. The file must not change while it is read.
    pub size: u64,
}

/// Writes a layer: the files by their paths in the image, and the directories that they need.
///
/// Same files, same bytes: entries are sorted by path, owned by root, have the modes 0644 and 0755 and the same time,
/// and the compressors run with one thread at a fixed level, without a time or name of their own.
/// One file's buffer is in memory at a time.
///
/// Returns what the bytes went to and the digest of the uncompressed archive.
pub fn write<W: Write>(
    files: &BTreeMap<String, LayerFile>,
    source_date_epoch: u64,
    compression: Compression,
    output: W,
) -> io::Result<(W, Digest)> {
    match compression {
        Compression::Zstd => {
            let mut encoder = zstd::Encoder::new(output, ZSTD_LEVEL)?;
            // Lets a reader notice damage without knowing any digest.
            encoder.include_checksum(true)?;
            let (encoder, diff_id) = archive(files, source_date_epoch, encoder)?;
            Ok((encoder.finish()?, diff_id))
        }
        Compression::Gzip => {
            // flate2 writes no time and no name, and calls the operating system unknown, unless told otherwise.
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
    // A directory sorts before what is in it: `devel/` is the beginning of `devel/zfs.rpm`.
    let mut entries: BTreeMap<String, Option<&LayerFile>> = BTreeMap::new();
    for (path, source) in files {
        if let Some((directory, _)) = path.rsplit_once('/') {
            entries.insert(format!("{directory}/"), None);
        }
        entries.insert(path.clone(), Some(source));
    }
    let mut builder = tar::Builder::new(Hashing::new(output));
    for (path, source) in entries {
        // The GNU form, because paths with long kernel releases may exceed the 100 bytes of the old one.
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
                // The archive would be out of step with its headers, and no reader could make sense of it.
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
