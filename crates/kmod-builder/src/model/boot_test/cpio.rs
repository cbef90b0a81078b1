use std::collections::BTreeMap;
use std::io::Write as _;

/// A cpio archive in the `newc` format, which the kernel unpacks as its first file system (kernel documentation,
/// `driver-api/early-userspace/buffer-format.rst`).
///
/// Reproducible: sorted by path, no times, owner root.
#[derive(Clone, Debug, Default)]
pub struct CpioArchive {
    nodes: BTreeMap<String, CpioEntry>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CpioEntry {
    Directory,
    File(Vec<u8>),
    Link(String),
    Device(u32, u32),
}

impl CpioArchive {
    /// Adds a node and its parent directories. The path has no leading slash.
    pub fn add(&mut self, path: &str, node: CpioEntry) {
        for (position, _) in path.match_indices('/') {
            self.nodes.entry(path[..position].to_owned()).or_insert(CpioEntry::Directory);
        }
        self.nodes.insert(path.to_owned(), node);
    }

    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (number, (path, node)) in (1..).zip(&self.nodes) {
            entry(&mut bytes, number, path, node);
        }
        // The end is marked by this name; the kernel ignores the rest of the entry.
        entry(&mut bytes, 0, "TRAILER!!!", &CpioEntry::File(Vec::new()));
        bytes
    }
}

/// Appends an entry: 13 numbers of eight hexadecimal digits, the name, and the data, the latter two padded to a
/// multiple of four bytes.
fn entry(bytes: &mut Vec<u8>, inode: u32, path: &str, node: &CpioEntry) {
    // `st_mode` (inode(7)), links, data, major and minor number.
    let (mode, links, data, major, minor) = match node {
        CpioEntry::Directory => (0o040_755, 2, &[][..], 0, 0),
        CpioEntry::File(bytes) => (0o100_755, 1, bytes.as_slice(), 0, 0),
        CpioEntry::Link(target) => (0o120_777, 1, target.as_bytes(), 0, 0),
        CpioEntry::Device(major, minor) => (0o020_600, 1, &[][..], *major, *minor),
    };
    let size = |size: usize| u32::try_from(size).expect("files of the guest are smaller than 4 GiB");
    let (size, name_size) = (size(data.len()), size(path.len() + 1));
    let (user, group, modified, checksum) = (0, 0, 0, 0);
    // The device of the archive, and the one that the entry is.
    let (own, device) = ([0, 0], [major, minor]);
    let fields =
        [&[inode, mode, user, group, links, modified, size][..], &own, &device, &[name_size, checksum]];
    bytes.extend_from_slice(b"070701");
    for field in fields.concat() {
        write!(bytes, "{field:08X}").expect("writing to a Vec cannot fail");
    }
    bytes.extend_from_slice(path.as_bytes());
    bytes.push(0);
    fill(bytes);
    bytes.extend_from_slice(data);
    fill(bytes);
}

fn fill(bytes: &mut Vec<u8>) {
    bytes.resize(bytes.len().next_multiple_of(4), 0);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_archive_byte_for_byte() {
        let mut archive = CpioArchive::default();
        archive.add("etc/hello", CpioEntry::File(b"hello".to_vec()));
        archive.add("dev/console", CpioEntry::Device(5, 1));
        archive.add("sh", CpioEntry::Link("busybox".to_owned()));
        let bytes = archive.to_bytes();
        assert!(bytes.starts_with(b"07070100000001000041ED00000000"));
        // Inode number, mode and data with padding.
        let text = String::from_utf8(bytes).unwrap().replace('\0', ".");
        let entries: Vec<_> = text
            .split("070701")
            .skip(1)
            .map(|entry| {
                let (numbers, rest) = entry.split_at(104);
                let fields: Vec<_> = (0..13)
                    .map(|field| u32::from_str_radix(&numbers[field * 8..][..8], 16).unwrap())
                    .collect();
                format!("{} {:o} {} {}:{} {rest}", fields[0], fields[1], fields[6], fields[9], fields[10])
            })
            .collect();
        insta::assert_snapshot!(entries.join("\n"), @r"
        1 40755 0 0:0 dev...
        2 20600 0 5:1 dev/console...
        3 40755 0 0:0 etc...
        4 100755 5 0:0 etc/hello.hello...
        5 120777 7 0:0 sh....busybox.
        0 100755 0 0:0 TRAILER!!!....
        ");
    }

    #[test]
    fn the_order_of_adding_does_not_matter() {
        let archive = |paths: &[&str]| {
            let mut archive = CpioArchive::default();
            for path in paths {
                archive.add(path, CpioEntry::File(path.as_bytes().to_vec()));
            }
            archive.to_bytes()
        };
        assert_eq!(archive(&["b/c/d", "b/a", "a"]), archive(&["a", "b/a", "b/c/d"]));
    }
}
