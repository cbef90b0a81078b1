use kmod_compat::Arch;

/// What an ELF file says of itself, as far as a guest has to know it (System V ABI, "Object Files" and "Program
/// Loading and Dynamic Linking"; only 64 bits with the lowest byte first, which both of our architectures have).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Elf {
    /// The machine; `None` if no images are built for it.
    pub arch: Option<Arch>,
    /// The libraries that it needs, by name.
    pub needed: Vec<String>,
    /// The name under which others need it.
    pub soname: Option<String>,
    /// The program that loads it, by path.
    pub interpreter: Option<String>,
    /// What a kernel module says of itself: names and values, in their order.
    pub modinfo: Vec<(String, String)>,
}

/// A file is no ELF file, or a damaged one; continues a sentence that names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ElfError {
    /// Its beginning is another.
    #[error("it is no ELF file of 64 bits with the lowest byte first")]
    Other,
    /// It points to what it does not have.
    #[error("it is a damaged ELF file")]
    Damaged,
}

const SEGMENT_LOAD: u32 = 1;
const SEGMENT_DYNAMIC: u32 = 2;
const SEGMENT_INTERPRETER: u32 = 3;
const DYNAMIC_NEEDED: u64 = 1;
const DYNAMIC_STRINGS: u64 = 5;
const DYNAMIC_SONAME: u64 = 14;

impl Elf {
    /// Reads the tables of a file.
    pub fn parse(bytes: &[u8]) -> Result<Self, ElfError> {
        let file = File(bytes);
        if !bytes.starts_with(&[0x7f, b'E', b'L', b'F', 2, 1]) {
            return Err(ElfError::Other);
        }
        let arch = match file.u16(18)? {
            62 => Some(Arch::X86_64),
            183 => Some(Arch::Aarch64),
            _ => None,
        };
        let mut elf = Self { arch, ..Self::default() };
        elf.read_segments(file)?;
        elf.read_modinfo(file)?;
        Ok(elf)
    }

    /// The first value of a name in `.modinfo`.
    pub fn modinfo(&self, name: &str) -> Option<&str> {
        self.modinfo.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str())
    }

    fn read_segments(&mut self, file: File<'_>) -> Result<(), ElfError> {
        let (table, size, count) = (file.u64(32)?, file.u16(54)?, file.u16(56)?);
        let mut loaded = Vec::new();
        let mut dynamic = None;
        for number in 0..u64::from(count) {
            let at = add(table, number * u64::from(size))?;
            let (offset, address, length) =
                (file.u64(add(at, 8)?)?, file.u64(add(at, 16)?)?, file.u64(add(at, 32)?)?);
            match file.u32(at)? {
                SEGMENT_LOAD => loaded.push((address, length, offset)),
                SEGMENT_DYNAMIC => dynamic = Some((offset, length)),
                SEGMENT_INTERPRETER => self.interpreter = Some(file.text(offset)?),
                _ => {}
            }
        }
        let Some((offset, length)) = dynamic else { return Ok(()) };
        let mut entries = Vec::new();
        for number in 0..length / 16 {
            let at = add(offset, number * 16)?;
            match (file.u64(at)?, file.u64(add(at, 8)?)?) {
                (0, _) => break,
                entry => entries.push(entry),
            }
        }
        let find = |tag| entries.iter().find(|(found, _)| *found == tag).map(|(_, value)| *value);
        let Some(address) = find(DYNAMIC_STRINGS) else { return Ok(()) };
        // The table's address in memory; where in the file it is, the segment that is loaded there says.
        let strings = loaded
            .iter()
            .find_map(|(start, length, offset)| {
                let within = address.checked_sub(*start).filter(|within| within < length)?;
                offset.checked_add(within)
            })
            .ok_or(ElfError::Damaged)?;
        for (_, value) in entries.iter().filter(|(tag, _)| *tag == DYNAMIC_NEEDED) {
            self.needed.push(file.text(add(strings, *value)?)?);
        }
        if let Some(value) = find(DYNAMIC_SONAME) {
            self.soname = Some(file.text(add(strings, value)?)?);
        }
        Ok(())
    }

    /// The section `.modinfo`: texts `name=value`, a zero byte after each.
    fn read_modinfo(&mut self, file: File<'_>) -> Result<(), ElfError> {
        let (table, size, count) = (file.u64(40)?, file.u16(58)?, file.u16(60)?);
        let section = |number: u16| add(table, u64::from(number) * u64::from(size));
        if table == 0 || count == 0 {
            return Ok(());
        }
        let names = file.u64(add(section(file.u16(62)?)?, 24)?)?;
        for number in 0..count {
            let at = section(number)?;
            if file.text(add(names, u64::from(file.u32(at)?))?)? != ".modinfo" {
                continue;
            }
            let bytes = file.slice(file.u64(add(at, 24)?)?, file.u64(add(at, 32)?)?)?;
            for text in bytes.split(|&byte| byte == 0) {
                if let Some((name, value)) = String::from_utf8_lossy(text).split_once('=') {
                    self.modinfo.push((name.to_owned(), value.to_owned()));
                }
            }
        }
        Ok(())
    }
}

/// A sum of what the file says; one that overflows is no place in a file.
fn add(one: u64, other: u64) -> Result<u64, ElfError> {
    one.checked_add(other).ok_or(ElfError::Damaged)
}

#[derive(Clone, Copy)]
struct File<'a>(&'a [u8]);

impl<'a> File<'a> {
    fn slice(self, offset: u64, length: u64) -> Result<&'a [u8], ElfError> {
        let range =
            || Some(usize::try_from(offset).ok()?..usize::try_from(offset.checked_add(length)?).ok()?);
        range().and_then(|range| self.0.get(range)).ok_or(ElfError::Damaged)
    }

    fn number<const SIZE: usize>(self, offset: u64) -> Result<[u8; SIZE], ElfError> {
        let bytes = self.slice(offset, SIZE as u64)?;
        bytes.try_into().map_err(|_| ElfError::Damaged)
    }

    fn u16(self, offset: u64) -> Result<u16, ElfError> {
        self.number(offset).map(u16::from_le_bytes)
    }

    fn u32(self, offset: u64) -> Result<u32, ElfError> {
        self.number(offset).map(u32::from_le_bytes)
    }

    fn u64(self, offset: u64) -> Result<u64, ElfError> {
        self.number(offset).map(u64::from_le_bytes)
    }

    /// The text that begins here and ends before a zero byte.
    fn text(self, offset: u64) -> Result<String, ElfError> {
        let start = usize::try_from(offset).map_err(|_| ElfError::Damaged)?;
        let bytes = self.0.get(start..).ok_or(ElfError::Damaged)?;
        let end = bytes.iter().position(|&byte| byte == 0).ok_or(ElfError::Damaged)?;
        Ok(String::from_utf8_lossy(&bytes[..end]).into_owned())
    }
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A module with nothing in it but what it says of itself.
    pub(in super::super) fn module(modinfo: &str) -> Vec<u8> {
        let names = b"\0.modinfo\0";
        let mut bytes = header(0, 0);
        let data = bytes.len();
        bytes.extend(modinfo.as_bytes());
        let strings = bytes.len();
        bytes.extend(names);
        let table = bytes.len();
        for (name, offset, size) in [(0, 0, 0), (1, data, modinfo.len()), (0, strings, names.len())] {
            let mut section = [0; 64];
            section[..4].copy_from_slice(&u32::to_le_bytes(name));
            section[24..32].copy_from_slice(&(offset as u64).to_le_bytes());
            section[32..40].copy_from_slice(&(size as u64).to_le_bytes());
            bytes.extend(section);
        }
        bytes[40..48].copy_from_slice(&(table as u64).to_le_bytes());
        bytes[58..64].copy_from_slice(&[64, 0, 3, 0, 2, 0]);
        bytes
    }

    /// A program or library that needs these libraries.
    pub(in super::super) fn program(soname: Option<&str>, needed: &[&str]) -> Vec<u8> {
        let mut bytes = header(64, 2);
        let segments = bytes.len();
        bytes.resize(segments + 2 * 56, 0);
        let strings = bytes.len();
        bytes.push(0);
        let mut dynamic = Vec::new();
        for (tag, name) in
            needed.iter().map(|name| (DYNAMIC_NEEDED, *name)).chain(soname.map(|name| (DYNAMIC_SONAME, name)))
        {
            dynamic.push((tag, (bytes.len() - strings) as u64));
            bytes.extend(name.as_bytes());
            bytes.push(0);
        }
        // At another address than in the file, as in real ones.
        let address = 0x1000 + strings as u64;
        dynamic.extend([(DYNAMIC_STRINGS, address), (0, 0)]);
        let table = bytes.len();
        for (tag, value) in &dynamic {
            bytes.extend(tag.to_le_bytes());
            bytes.extend(value.to_le_bytes());
        }
        let all = bytes.len() as u64;
        let mut segment = |number: usize, kind: u32, offset: u64, address: u64, size: u64| {
            let at = segments + number * 56;
            bytes[at..at + 4].copy_from_slice(&kind.to_le_bytes());
            bytes[at + 8..at + 16].copy_from_slice(&offset.to_le_bytes());
            bytes[at + 16..at + 24].copy_from_slice(&address.to_le_bytes());
            bytes[at + 32..at + 40].copy_from_slice(&size.to_le_bytes());
        };
        segment(0, SEGMENT_LOAD, 0, 0x1000, all);
        segment(1, SEGMENT_DYNAMIC, table as u64, 0, dynamic.len() as u64 * 16);
        bytes
    }

    fn header(segments: u64, count: u16) -> Vec<u8> {
        let mut header = vec![0; 64];
        header[..6].copy_from_slice(&[0x7f, b'E', b'L', b'F', 2, 1]);
        header[18] = 62;
        header[32..40].copy_from_slice(&segments.to_le_bytes());
        header[54] = 56;
        header[56..58].copy_from_slice(&count.to_le_bytes());
        header
    }

    #[test]
    fn modules_say_what_they_depend_on() {
        let elf = Elf::parse(&module("name=zfs\0depends=spl,crc32\0vermagic=6.1 SMP \0")).unwrap();
        assert_eq!(elf.arch, Some(Arch::X86_64));
        assert_eq!(elf.modinfo("depends"), Some("spl,crc32"));
        assert_eq!(elf.modinfo("vermagic"), Some("6.1 SMP "));
        assert_eq!(elf.modinfo("version"), None);
    }

    #[test]
    fn libraries_say_what_they_need() {
        let elf = Elf::parse(&program(Some("libzfs.so.7"), &["libc.so.6", "libm.so.6"])).unwrap();
        assert_eq!(elf.needed, ["libc.so.6", "libm.so.6"]);
        assert_eq!((elf.soname.as_deref(), elf.interpreter), (Some("libzfs.so.7"), None));
        assert_eq!(Elf::parse(&program(None, &[])).unwrap().needed, Vec::<String>::new());
        assert_eq!(Elf::parse(b"#!/bin/sh\n"), Err(ElfError::Other));
    }

    proptest! {
        #[test]
        fn nothing_makes_it_panic(bytes: Vec<u8>, at in 0_usize..400, value: u8, cut in 0_usize..600) {
            let _ = Elf::parse(&[&[0x7f, b'E', b'L', b'F', 2, 1][..], &bytes].concat());
            for mut file in [module("name=zfs\0"), program(Some("a"), &["b"])] {
                if let Some(byte) = file.get_mut(at) {
                    *byte = value;
                }
                let _ = Elf::parse(&file);
                file.truncate(cut);
                let _ = Elf::parse(&file);
            }
        }
    }
}
