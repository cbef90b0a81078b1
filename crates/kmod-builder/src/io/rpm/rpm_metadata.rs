use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, BufReader, Read};

use num_traits::FromPrimitive as _;
use rpm::{IndexData, IndexSignatureTag, IndexTag, PackageMetadata};

use super::{RpmError, copy, headers};
use crate::io::layer::Hashing;
use crate::model::image_diff::{self, RpmMetadata};

/// Reads an RPM to its end and returns all tags and files.
///
/// Writes it to an unnamed temporary file, because the payload is unpacked only after verification. Keeps only the
/// digests of the files.
pub fn rpm_metadata(reader: impl Read) -> Result<RpmMetadata, RpmError> {
    let (headers, metadata) = headers::read(reader)?;
    let (_, file) = copy(&headers.bytes, headers.rest, &metadata)?;
    let (header, signature) = tags(&metadata)?;
    Ok(RpmMetadata { header, signature, files: files(file)? })
}

type RpmTags = BTreeMap<String, Vec<String>>;

/// Tags of the header and of the signature header, without those that only mark data regions.
fn tags(metadata: &PackageMetadata) -> Result<(RpmTags, RpmTags), RpmError> {
    let name = |tag: u32, known: Option<String>, prefix: &str| {
        let known = known.and_then(|name| Some(name.strip_prefix(prefix)?.to_owned()));
        known.unwrap_or_else(|| tag.to_string())
    };
    let header = metadata.header.get_all_entries().map_err(RpmError::from_crate)?.into_iter();
    let header =
        header.filter(|(tag, _)| *tag != IndexTag::RPMTAG_HEADERIMMUTABLE as u32).map(|(tag, data)| {
            let known = IndexTag::from_u32(tag).map(|tag| tag.to_string());
            (name(tag, known, "RPMTAG_"), values(data))
        });
    let signature = metadata.signature.get_all_entries().map_err(RpmError::from_crate)?.into_iter();
    let signature = signature.filter(|(tag, _)| *tag != IndexSignatureTag::HEADER_SIGNATURES as u32).map(
        |(tag, data)| {
            let known = IndexSignatureTag::from_u32(tag).map(|tag| tag.to_string());
            (name(tag, known, "RPMSIGTAG_"), values(data))
        },
    );
    Ok((header.collect(), signature.collect()))
}

fn values(data: IndexData) -> Vec<String> {
    fn numbers<T: ToString>(numbers: &[T]) -> Vec<String> {
        numbers.iter().map(T::to_string).collect()
    }
    match data {
        IndexData::Null => Vec::new(),
        IndexData::Char(bytes) | IndexData::Int8(bytes) => numbers(&bytes),
        IndexData::Int16(list) => numbers(&list),
        IndexData::Int32(list) => numbers(&list),
        IndexData::Int64(list) => numbers(&list),
        IndexData::StringTag(text) => vec![text],
        IndexData::Bin(bytes) => vec![hexadecimal(&bytes)],
        IndexData::StringArray(list) | IndexData::I18NString(list) => list,
    }
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("writing to a String cannot fail");
        text
    })
}

/// The payload's digest must be verified already.
fn files(file: File) -> Result<BTreeMap<String, image_diff::RpmFileEntry>, RpmError> {
    let mut reader = rpm::PackageReader::parse(BufReader::new(file)).map_err(RpmError::from_crate)?;
    let mut files = BTreeMap::new();
    while let Some(mut file) = reader.next_file().map_err(RpmError::from_crate)? {
        let content = if file.has_payload() {
            let mut bytes = Hashing::new(&mut file);
            io::copy(&mut bytes, &mut io::sink()).map_err(RpmError::Read)?;
            let (_, digest, _) = bytes.finish();
            Some(digest)
        } else {
            None
        };
        let metadata = &file.metadata;
        let path = metadata.path().to_string_lossy().into_owned();
        let found = image_diff::RpmFileEntry {
            content,
            size: metadata.size() as u64,
            mode: metadata.mode().raw_mode(),
            modified: metadata.modified_at().0,
            owner: format!("{}:{}", metadata.user(), metadata.group()),
        };
        files.insert(path, found);
        file.finish().map_err(RpmError::Read)?;
    }
    Ok(files)
}
