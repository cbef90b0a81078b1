use std::io::{Cursor, Read};
use std::path::Path;
use std::process::Command;

use kmod_builder::io::rpm;
use kmod_builder::model::packages::PackageGroup;
use proptest::prelude::*;

use crate::rpms::{self, KERNEL};

fn kmod_bytes(modules: &[(String, Vec<u8>)]) -> Vec<u8> {
    let directory = tempfile::tempdir().unwrap();
    std::fs::read(rpms::kmod(KERNEL, modules).write(directory.path())).unwrap()
}

fn read(mut encoder: impl Read) -> Vec<u8> {
    let mut compressed = Vec::new();
    encoder.read_to_end(&mut compressed).unwrap();
    compressed
}

#[test]
fn finds_modules_in_every_compression() {
    let path = |end: &str| format!("/usr/lib/modules/{KERNEL}/extra/zfs/{end}");
    let (_, bytes) = rpms::module("", KERNEL);
    let xz = read(liblzma::read::XzEncoder::new(bytes.as_slice(), 1));
    let gz = read(flate2::read::GzEncoder::new(bytes.as_slice(), flate2::Compression::fast()));
    let modules = [
        (path("a.ko"), bytes.clone()),
        (path("b.ko.xz"), xz),
        (path("c.ko.zst"), zstd::encode_all(bytes.as_slice(), 1).unwrap()),
        (path("d.ko.gz"), gz),
        (format!("/usr/lib/debug/lib/modules/{KERNEL}/extra/zfs/e.ko.debug"), bytes),
    ];
    let (package, found) = rpm::inspect(Cursor::new(kmod_bytes(&modules))).unwrap();
    assert_eq!((package.group(), package.modules().count(), found.len()), (PackageGroup::Main, 4, 4));
    for module in found {
        let release = module.vermagic.as_deref().and_then(|text| text.split(' ').next());
        assert_eq!(release, Some(KERNEL), "{}", module.path);
    }
}

#[test]
fn rejects_what_is_not_a_module() {
    let path = format!("/lib/modules/{KERNEL}/extra/zfs/zfs.ko");
    for (bytes, reason) in [
        (b"#!/bin/sh\n".repeat(20), "not a 64-bit little-endian ELF file"),
        (b"\x7fELF\x02\x01".to_vec(), "not a 64-bit little-endian ELF file"),
        (replace(&rpms::module_file(62, "x"), b".modinfo", b".modinfx"), "no section `.modinfo`"),
    ] {
        let error = rpm::inspect(Cursor::new(kmod_bytes(&[(path.clone(), bytes)]))).unwrap_err().to_string();
        assert!(error.contains(&path) && error.contains(reason), "{error}");
    }
}

fn replace(bytes: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let at = bytes.windows(from.len()).position(|window| window == from).unwrap();
    [&bytes[..at], to, &bytes[at + from.len()..]].concat()
}

#[test]
fn damage_is_named() {
    let bytes = kmod_bytes(&rpms::modules(KERNEL));
    let mut payload = bytes.clone();
    let last = payload.len() - 200;
    payload[last] ^= 1;
    for (bytes, sentence) in [
        (b"no RPM".to_vec(), "not an RPM: truncated headers"),
        (vec![0; 4096], "not an RPM: no RPM lead"),
        (bytes[..400].to_vec(), "not an RPM: truncated headers"),
        (payload, "its payload does not have the digest in its header"),
        (bytes[..bytes.len() - 1].to_vec(), "its payload does not have the digest"),
        (replace(&bytes, b"to control", b"to destroy"), "its header does not have the digest"),
    ] {
        let error = rpm::parse(Cursor::new(bytes)).unwrap_err().to_string();
        assert!(error.contains(sentence), "{error}");
    }
}

/// Decoded, each entry would be a copy of the string.
#[test]
fn entries_that_share_a_string_are_refused() {
    const ENTRIES: u32 = 4096;
    let text = [vec![b'a'; 64 << 10], vec![0]].concat();
    let magic = [0x8e, 0xad, 0xe8, 1, 0, 0, 0, 0];
    let mut bytes = vec![0; 96];
    bytes[..4].copy_from_slice(&[0xed, 0xab, 0xee, 0xdb]);
    bytes.extend([&magic[..], &[0; 8], &magic].concat());
    bytes.extend([ENTRIES.to_be_bytes(), u32::try_from(text.len()).unwrap().to_be_bytes()].concat());
    for tag in 0..ENTRIES {
        // A string at the start of the data.
        bytes.extend([1000 + tag, 6, 0, 1].map(u32::to_be_bytes).concat());
    }
    bytes.extend(text);
    let error = rpm::parse(Cursor::new(bytes)).unwrap_err().to_string();
    assert!(error.contains("a header points to data that it does not have"), "{error}");
}

proptest! {
    #[test]
    fn no_change_makes_the_reader_panic(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..20),
        within_headers: bool,
    ) {
        let mut bytes = kmod_bytes(&rpms::modules(KERNEL));
        let end = if within_headers { 2000 } else { bytes.len() };
        for (position, byte) in changes {
            bytes[position.index(end)] = byte;
        }
        rpm::inspect(Cursor::new(bytes)).ok();
    }

    #[test]
    fn no_number_makes_the_reader_panic(position in 96..1500_usize, number in prop_oneof![
        any::<u32>(), Just(u32::MAX), Just(i32::MAX as u32), Just(0), 0..5000_u32,
    ]) {
        let mut bytes = kmod_bytes(&rpms::modules(KERNEL));
        let position = position / 4 * 4;
        bytes[position..position + 4].copy_from_slice(&number.to_be_bytes());
        rpm::inspect(Cursor::new(bytes)).ok();
    }

    /// The payload's digest is right, so the module's tables are read.
    #[test]
    fn no_module_makes_the_reader_panic(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..10),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut module = rpms::module_file(62, KERNEL);
        for (position, byte) in changes {
            let position = position.index(module.len());
            module[position] = byte;
        }
        module.truncate(cut.index(module.len()) + 1);
        let path = format!("/lib/modules/{KERNEL}/extra/zfs/zfs.ko");
        rpm::inspect(Cursor::new(kmod_bytes(&[(path, module)]))).ok();
    }
}

/// rpm itself and this program must read the same out of a package. Where rpm is not installed, the lab compares.
#[test]
fn rpm_agrees() {
    let directory = tempfile::tempdir().unwrap();
    let (userland, kmod) = rpms::good();
    for recipe in userland.into_iter().chain(kmod) {
        let path = recipe.write(directory.path());
        let package = rpm::read(&path).unwrap();
        let format = "%{NAME}|%{VERSION}|%{RELEASE}|%{ARCH}|%{LONGSIZE}|%{LICENSE}|%{SUMMARY}|%{URL}\\n";
        let Some(lines) = rpm_says(&path, &["--qf", format]) else { return };
        let (size, url) = (package.installed_size.to_string(), package.url.as_deref().unwrap_or("(none)"));
        let names =
            [&package.name, &package.version, &package.release, &package.arch, &size].map(String::as_str);
        let texts = [package.license.as_str(), &package.summary, url];
        assert_eq!(lines, [[&names[..], &texts].concat().join("|")]);
        for (question, answer) in [("--requires", &package.requires), ("--provides", &package.provides)] {
            let ours: Vec<_> = answer.iter().map(ToString::to_string).collect();
            assert_eq!(rpm_says(&path, &[question]).unwrap(), ours, "{question} of {}", package.name);
        }
    }
}

fn rpm_says(path: &Path, arguments: &[&str]) -> Option<Vec<String>> {
    let output = Command::new("rpm").arg("-qp").args(arguments).arg(path).output().ok()?;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Some(String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect())
}
