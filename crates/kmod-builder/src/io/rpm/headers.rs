use std::io::{Read, Write};

use super::RpmError;
use crate::io::layer::Hashing;

/// Bytes. The lead is an obsolete header that only marks the file as an RPM.
const LEAD: usize = 96;
const LEAD_MAGIC: [u8; 4] = [0xed, 0xab, 0xee, 0xdb];
/// Magic and version of a header structure.
const HEADER_MAGIC: [u8; 4] = [0x8e, 0xad, 0xe8, 0x01];
/// Bytes of an index entry: tag, type, offset, count.
const ENTRY: usize = 16;
const MAX_ENTRIES: usize = 1 << 12;
/// Bytes. Our largest header, of the test suite, is below 1 MiB.
const MAX_DATA: usize = 8 << 20;

const BEYOND: RpmError = RpmError::Malformed("a header points to data that it does not have");

pub(super) struct RpmHeaders<R> {
    pub(super) bytes: Vec<u8>,
    /// Where the second header begins in them; the first has the signatures of the second.
    pub(super) main: usize,
    /// The payload. Its digest and size count from the start of the file.
    pub(super) rest: Hashing<R>,
}

/// Reads and validates the headers.
///
/// The rpm crate trusts the offsets and counts of a header's index and panics or over-allocates on false ones, so they
/// are checked first (rpm's manual, "Package format").
pub(super) fn read<R: Read>(reader: R) -> Result<(RpmHeaders<R>, rpm::PackageMetadata), RpmError> {
    let mut rest = Hashing::new(reader);
    let mut bytes = Vec::new();
    take(&mut rest, &mut bytes, LEAD)?;
    if bytes[..4] != LEAD_MAGIC {
        return Err(RpmError::Malformed("no RPM lead"));
    }
    let signature_data = header(&mut rest, &mut bytes)?;
    // The second header is aligned to eight bytes.
    take(&mut rest, &mut bytes, signature_data.next_multiple_of(8) - signature_data)?;
    let main = bytes.len();
    header(&mut rest, &mut bytes)?;
    let metadata = rpm::PackageMetadata::parse(&mut bytes.as_slice()).map_err(RpmError::from_crate)?;
    Ok((RpmHeaders { bytes, main, rest }, metadata))
}

/// Copies a package with another first header, as koji's `splice_rpm_sighdr` does with a detached signature.
pub(super) fn replace_signature(
    mut package: impl Read,
    mut signature: &[u8],
    to: &mut impl Write,
) -> Result<(), RpmError> {
    let (mut lead, mut former, mut new) = (Vec::new(), Vec::new(), Vec::new());
    take(&mut package, &mut lead, LEAD)?;
    if lead[..4] != LEAD_MAGIC {
        return Err(RpmError::Malformed("no RPM lead"));
    }
    let data = header(&mut package, &mut former)?;
    take(&mut package, &mut former, data.next_multiple_of(8) - data)?;
    let data = header(&mut signature, &mut new)?;
    let padding = data.next_multiple_of(8) - data;
    if signature.len() > padding {
        return Err(RpmError::Malformed("the signature has more than a header"));
    }
    new.resize(new.len() + padding, 0);
    let mut copy = || {
        to.write_all(&lead)?;
        to.write_all(&new)?;
        std::io::copy(&mut package, to)
    };
    copy().map(drop).map_err(RpmError::Read)
}

/// Validates one header structure; returns the size of its data.
fn header(reader: &mut impl Read, bytes: &mut Vec<u8>) -> Result<usize, RpmError> {
    let start = bytes.len();
    take(reader, bytes, ENTRY)?;
    if bytes[start..start + 4] != HEADER_MAGIC {
        return Err(RpmError::Malformed("a header has no magic number"));
    }
    let (entries, data) = (number(&bytes[start + 8..]), number(&bytes[start + 12..]));
    if entries > MAX_ENTRIES || data > MAX_DATA {
        return Err(RpmError::Malformed("a header is too large"));
    }
    let index = bytes.len();
    take(reader, bytes, entries * ENTRY + data)?;
    let (index, data_bytes) = bytes[index..].split_at(entries * ENTRY);
    let mut total = 0_usize;
    for entry in index.chunks_exact(ENTRY) {
        let (kind, offset, count) = (number(&entry[4..]), number(&entry[8..]), number(&entry[12..]));
        let from = data_bytes.get(offset..).ok_or(BEYOND)?;
        let size = match kind {
            0 => 0,
            1 | 2 | 7 => count,
            // Strings end with a zero byte; an array says only how many it has.
            6 => strings(from, 1).ok_or(BEYOND)?,
            8 | 9 => strings(from, count).ok_or(BEYOND)?,
            3 => count.saturating_mul(2),
            4 => count.saturating_mul(4),
            5 => count.saturating_mul(8),
            _ => return Err(RpmError::Malformed("a header has data of an unknown type")),
        };
        total = total.saturating_add(size);
        // Entries do not overlap; claimed overlaps could demand much memory.
        if size > from.len() || total > data.saturating_mul(2) {
            return Err(BEYOND);
        }
    }
    Ok(data)
}

/// The length of this many strings with their zero bytes; `None` if there are fewer.
fn strings(bytes: &[u8], count: usize) -> Option<usize> {
    let mut length = 0_usize;
    for _ in 0..count {
        length += bytes[length..].iter().position(|&byte| byte == 0)? + 1;
    }
    Some(length)
}

fn take(reader: &mut impl Read, bytes: &mut Vec<u8>, count: usize) -> Result<(), RpmError> {
    let wanted = bytes.len() + count;
    reader.take(count as u64).read_to_end(bytes).map_err(RpmError::Read)?;
    if bytes.len() < wanted {
        return Err(RpmError::Malformed("truncated headers"));
    }
    Ok(())
}

/// Big-endian; `usize` has at least 32 bits on supported machines.
fn number(bytes: &[u8]) -> usize {
    bytes.iter().take(4).fold(0, |number, &byte| number << 8 | usize::from(byte))
}
