//! Decompresses kernel modules and kernels, with a size limit because the input is untrusted.

use std::io::{self, Read};

use crate::model::boot_test::{ZbootCompression, zboot_payload};

/// Bytes. A module with debug information can have hundreds of MiB.
const MAX_UNPACKED: u64 = 512 << 20;

/// The suffix of the path selects the compression.
pub fn module_reader<'a>(path: &str, packed: impl Read + 'a) -> io::Result<Box<dyn Read + 'a>> {
    Ok(match path.rsplit_once('.') {
        Some((_, "xz")) => limited(liblzma::read::XzDecoder::new(packed)),
        Some((_, "zst")) => limited(zstd::Decoder::new(packed)?),
        Some((_, "gz")) => limited(flate2::read::GzDecoder::new(packed)),
        _ => limited(packed),
    })
}

/// [`module_reader`] in memory.
pub fn module(path: &str, packed: &[u8]) -> io::Result<Vec<u8>> {
    read(module_reader(path, packed)?)
}

/// The kernel in a `vmlinuz`, without its EFI decompressor.
pub fn kernel(vmlinuz: &[u8]) -> io::Result<Vec<u8>> {
    match zboot_payload(vmlinuz).map_err(io::Error::other)? {
        None => Ok(vmlinuz.to_vec()),
        Some((ZbootCompression::Gzip, kernel)) => read(limited(flate2::read::GzDecoder::new(kernel))),
        // The kernel's length follows its single frame.
        Some((ZbootCompression::Zstd, kernel)) => read(limited(zstd::Decoder::new(kernel)?.single_frame())),
    }
}

fn read(mut reader: impl Read) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    reader.read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn limited<'a>(inner: impl Read + 'a) -> Box<dyn Read + 'a> {
    Box::new(Limited { inner, remaining: MAX_UNPACKED })
}

/// Fails where [`io::Take`] reports the end, so that nothing is truncated silently.
struct Limited<R> {
    inner: R,
    remaining: u64,
}

impl<R: Read> Read for Limited<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.remaining = self
            .remaining
            .checked_sub(read as u64)
            .ok_or_else(|| io::Error::other(format!("larger than {} MiB", MAX_UNPACKED >> 20)))?;
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unpacks_modules_by_their_names() {
        let plain = b"module".repeat(100);
        let mut gzip = Vec::new();
        flate2::read::GzEncoder::new(plain.as_slice(), flate2::Compression::fast())
            .read_to_end(&mut gzip)
            .unwrap();
        let mut xz = Vec::new();
        liblzma::read::XzEncoder::new(plain.as_slice(), 0).read_to_end(&mut xz).unwrap();
        let zst = zstd::encode_all(plain.as_slice(), 1).unwrap();
        for (path, bytes) in [("a.ko", plain.clone()), ("a.ko.gz", gzip), ("a.ko.xz", xz), ("a.ko.zst", zst)]
        {
            assert_eq!(module(path, &bytes).unwrap(), plain, "{path}");
        }
        assert!(module("a.ko.xz", &plain).is_err());
    }

    #[test]
    fn refuses_what_unpacks_to_too_much() {
        let mut reader = limited(io::repeat(0).take(MAX_UNPACKED + 1));
        let error = io::copy(&mut reader, &mut io::sink()).unwrap_err();
        assert_eq!(error.to_string(), "larger than 512 MiB");
        let mut reader = limited(io::repeat(0).take(MAX_UNPACKED));
        assert_eq!(io::copy(&mut reader, &mut io::sink()).unwrap(), MAX_UNPACKED);
    }
}
