use std::io::Write as _;

use kmod_builder::io::layer::{LayerError, LayerReader};
use kmod_builder::io::layout::Layout;
use kmod_builder::model::compose::Layer;
use kmod_builder::model::oci::Descriptor;
use kmod_builder::model::packages::{LayerKind, PackageGroup};
use kmod_builder::model::{Compression, Digest};
use proptest::prelude::*;

/// A tar entry, also with names that the tar crate refuses to write.
pub(crate) fn entry(name: &str, kind: u8, bytes: &[u8]) -> Vec<u8> {
    let mut entry = header(name, kind, bytes.len() as u64);
    entry.extend(bytes);
    entry.resize(entry.len().next_multiple_of(512), 0);
    entry
}

fn header(name: &str, kind: u8, size: u64) -> Vec<u8> {
    let mut header = tar::Header::new_gnu();
    header.as_mut_bytes()[..name.len()].copy_from_slice(name.as_bytes());
    header.set_entry_type(tar::EntryType::new(kind));
    header.set_size(size);
    header.set_mode(0o644);
    header.set_cksum();
    header.as_bytes().to_vec()
}

pub(crate) fn archive(entries: &[Vec<u8>]) -> Vec<u8> {
    let mut archive = entries.concat();
    archive.extend([0; 1024]);
    archive
}

/// The compressed archive, its descriptor, and its diff ID.
pub(crate) fn layer(archive: &[u8], compression: Compression) -> (Vec<u8>, Descriptor, Digest) {
    let compressed = match compression {
        Compression::Zstd => zstd::encode_all(archive, 1).unwrap(),
        Compression::Gzip => {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            encoder.write_all(archive).unwrap();
            encoder.finish().unwrap()
        }
    };
    let descriptor = Descriptor::of(compression.media_type(), &compressed);
    (compressed, descriptor, Digest::of(archive))
}

pub(crate) fn store(layout: &Layout, files: &[Vec<u8>], compression: Compression, kind: LayerKind) -> Layer {
    let (blob, descriptor, diff_id) = layer(&archive(files), compression);
    layout.put(&descriptor.media_type, &blob).unwrap();
    Layer::new(descriptor, diff_id, kind, &[PackageGroup::Main].into())
}

type Files = Vec<(String, Vec<u8>)>;

fn read(archive: &[u8], compression: Compression) -> Result<Files, LayerError> {
    let (compressed, descriptor, diff_id) = layer(archive, compression);
    read_blob(&compressed, &descriptor, &diff_id)
}

fn read_blob(blob: &[u8], descriptor: &Descriptor, diff_id: &Digest) -> Result<Files, LayerError> {
    let mut files = Vec::new();
    LayerReader::new().read::<LayerError>(blob, descriptor, diff_id, |entry| {
        let mut bytes = Vec::new();
        // An error is reported for the layer as a whole.
        entry.reader.read_to_end(&mut bytes).ok();
        files.push((entry.path.to_owned(), bytes));
        Ok(())
    })?;
    Ok(files)
}

#[track_caller]
fn refused(entries: &[Vec<u8>], sentence: &str) {
    for compression in [Compression::Zstd, Compression::Gzip] {
        let error = read(&archive(entries), compression).unwrap_err().to_string();
        assert!(error.contains(sentence), "{error}");
    }
}

#[test]
fn files_in_their_places_are_read() {
    let long = format!("kmod-zfs-devel-{}.rpm", "6".repeat(100));
    let entries = [
        entry("./", b'5', b""),
        entry("zfs.rpm", b'0', b"one"),
        entry("devel/", b'5', b""),
        entry("./devel/libzfs7-devel.rpm", b'0', b"two"),
        entry("././@LongLink", b'L', format!("src/{long}\0").as_bytes()),
        entry("cut-off", b'0', b"three"),
    ];
    let files = read(&archive(&entries), Compression::Zstd).unwrap();
    let expected =
        [("zfs.rpm", "one"), ("devel/libzfs7-devel.rpm", "two"), (&format!("src/{long}"), "three")];
    assert_eq!(files, expected.map(|(name, text)| (name.to_owned(), text.as_bytes().to_vec())));
}

#[test]
fn has_a_message_for_each_kind_of_hostile_entry() {
    let sentences = [
        (entry("/etc/zfs.rpm", b'0', b""), "`/etc/zfs.rpm`, which is an absolute path"),
        (entry("devel/../../zfs.rpm", b'0', b""), "which leads out of the image by `..`"),
        (entry("..", b'5', b""), "`..`, which leads out of the image"),
        (entry("zfs.rpm", b'2', b""), "`zfs.rpm`, which is a symbolic link"),
        (entry("zfs.rpm", b'1', b""), "which is a hard link"),
        (entry("zfs.rpm", b'3', b""), "which is a device"),
        (entry("zfs.rpm", b'4', b""), "which is a device"),
        (entry("zfs.rpm", b'6', b""), "which is neither a file nor a directory"),
        (entry("pax", b'x', b"20 size=100000000000\n"), "which is neither a file nor a directory"),
        (header("zfs.rpm", b'0', 2 << 30), "claims to have 2147483648 bytes"),
        (entry("etc/passwd", b'0', b"root"), "`etc/passwd`, which is not an RPM in the root, `devel`"),
        (entry("etc/", b'5', b""), "which is not an RPM in the root"),
        (entry(".wh.zfs.rpm", b'0', b""), "which is not an RPM in the root"),
        (entry("devel/devel/zfs.rpm", b'0', b""), "which is not an RPM in the root"),
        (entry("zfs\u{1b}[2J.rpm", b'0', b""), r"`zfs\x1b[2J.rpm`, which is not an RPM"),
        (entry("-e.rpm", b'0', b""), "which is not an RPM in the root"),
    ];
    for (entry, sentence) in sentences {
        refused(&[entry], sentence);
    }
}

#[test]
fn rejects_a_name_that_occurs_twice() {
    let twice = [entry("zfs.rpm", b'0', b"a"), entry("./zfs.rpm", b'0', b"b")];
    refused(&twice, "`./zfs.rpm`, which occurs twice");
    let (blob, descriptor, diff_id) = layer(&archive(&[entry("zfs.rpm", b'0', b"a")]), Compression::Zstd);
    let mut reader = LayerReader::new();
    let mut again = || reader.read::<LayerError>(blob.as_slice(), &descriptor, &diff_id, |_| Ok(())).err();
    assert!(again().is_none());
    assert!(again().unwrap().to_string().contains("occurs twice"), "also not in another layer");
}

#[test]
fn entries_are_counted() {
    let entries: Vec<_> = (0..300).map(|number| entry(&format!("zfs-{number}.rpm"), b'0', b"")).collect();
    refused(&entries, "exceeds the maximum");
}

#[test]
fn limits_the_length_of_names() {
    refused(&[entry("x", b'L', &[b'a'; 5000]), entry("x", b'0', b"")], "is not a complete tar archive");
    refused(&[entry("x", b'L', b"zfs.rpm\0")], "has data after the end");
}

#[test]
fn rejects_data_after_the_end_of_the_archive() {
    let mut hidden = archive(&[entry("zfs.rpm", b'0', b"a")]);
    hidden.extend(entry("hidden.rpm", b'0', b"b"));
    let error = read(&hidden, Compression::Zstd).unwrap_err().to_string();
    assert!(error.contains("has data after the end of its archive"), "{error}");
}

#[test]
fn rejects_a_truncated_archive() {
    let archive = archive(&[entry("zfs.rpm", b'0', &[1; 2000])]);
    let error = read(&archive[..1024], Compression::Gzip).unwrap_err().to_string();
    assert!(error.contains("is not a complete tar archive"), "{error}");
}

#[test]
fn rejects_a_layer_that_differs_from_its_descriptor() {
    let (blob, descriptor, diff_id) = layer(&archive(&[entry("zfs.rpm", b'0', b"a")]), Compression::Zstd);
    let check = |descriptor: &Descriptor, diff_id: &Digest, sentence: &str| {
        let error = read_blob(&blob, descriptor, diff_id).unwrap_err().to_string();
        assert!(error.contains(sentence), "{error}");
    };
    check(&descriptor, &Digest::of(b""), "has the uncompressed digest");
    check(&Descriptor { size: descriptor.size - 2, ..descriptor.clone() }, &diff_id, "was changed after");
    check(&Descriptor { size: descriptor.size + 1, ..descriptor.clone() }, &diff_id, "in the manifest");
    let media_type = "application/vnd.oci.image.layer.v1.tar".to_owned();
    check(&Descriptor { media_type, ..descriptor.clone() }, &diff_id, "zfs-kmods never writes");
}

proptest! {
    #[test]
    fn reports_any_changed_byte_as_a_changed_blob(position in any::<prop::sample::Index>(), change in 1..=255_u8, gzip: bool) {
        let compression = if gzip { Compression::Gzip } else { Compression::Zstd };
        let archive = archive(&[entry("zfs.rpm", b'0', &[7; 3000]), entry("devel/x.rpm", b'0', b"y")]);
        let (mut blob, descriptor, diff_id) = layer(&archive, compression);
        let position = position.index(blob.len());
        blob[position] ^= change;
        let error = read_blob(&blob, &descriptor, &diff_id).unwrap_err();
        prop_assert!(matches!(error, LayerError::Changed { .. }), "{error}");
    }

    #[test]
    fn no_archive_makes_the_reader_panic(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..30),
        cut in any::<prop::sample::Index>(),
        gzip: bool,
    ) {
        let compression = if gzip { Compression::Gzip } else { Compression::Zstd };
        let long = entry("x", b'L', b"devel/libzfs7-devel.rpm\0");
        let mut archive = archive(&[long, entry("y", b'0', &[7; 700]), entry("zfs.rpm", b'0', b"z")]);
        for (position, byte) in changes {
            let position = position.index(archive.len());
            archive[position] = byte;
        }
        archive.truncate(cut.index(archive.len() + 1));
        if let Ok(files) = read(&archive, compression) {
            prop_assert!(files.iter().all(|(name, _)| !name.starts_with('/') && !name.contains("..")));
        }
    }

    #[test]
    fn no_bytes_make_the_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..2000), gzip: bool) {
        let compression = if gzip { Compression::Gzip } else { Compression::Zstd };
        let descriptor = Descriptor::of(compression.media_type(), &bytes);
        read_blob(&bytes, &descriptor, &Digest::of(b"")).ok();
    }
}
