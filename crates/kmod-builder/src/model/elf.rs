//! ELF files: programs, libraries and kernel modules (System V ABI, "Object Files" and "Program Loading and Dynamic
//! Linking"). Only the 64-bit little-endian format of the supported architectures.

use kmod_compat::Arch;
use object::LittleEndian;
use object::elf::{self, FileHeader64};
use object::read::ReadRef;
use object::read::elf::{Dyn as _, FileHeader as _, ProgramHeader as _, SectionHeader as _};

/// Limits for malformed files; real ones stay far below.
const MAX_HEADERS: usize = 1 << 16;
const MAX_TABLE: u64 = 16 << 20;
const MAX_LIBRARIES: usize = 1000;
const MAX_NAME: u64 = 4096;

const MODINFO: &[u8] = b".modinfo\0";

type Header = FileHeader64<LittleEndian>;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ElfFile {
    /// `None` for unsupported machines.
    pub arch: Option<Arch>,
    /// `DT_NEEDED`.
    pub needed: Vec<String>,
    /// `DT_SONAME`.
    pub soname: Option<String>,
    /// `PT_INTERP`: the path of the dynamic loader.
    pub interpreter: Option<String>,
    /// Names and values in the section `.modinfo` of a kernel module, in order; `None` without that section.
    pub modinfo: Option<Vec<(String, String)>>,
}

/// Continues a sentence that names the file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ElfError {
    #[error("not a 64-bit little-endian ELF file")]
    NotElf,
    #[error("damaged ELF file: {0}")]
    Damaged(String),
}

impl From<object::read::Error> for ElfError {
    fn from(error: object::read::Error) -> Self {
        Self::Damaged(error.to_string())
    }
}

fn damaged(what: &str) -> ElfError {
    ElfError::Damaged(what.to_owned())
}

impl ElfFile {
    /// `data` is in memory, or read in pieces by [`object::read::ReadCache`].
    pub fn parse<'data>(data: impl ReadRef<'data>) -> Result<Self, ElfError> {
        let header = Header::parse(data).map_err(|_| ElfError::NotElf)?;
        let endian = header.endian().map_err(|_| ElfError::NotElf)?;
        if header.phnum(endian, data)?.max(header.shnum(endian, data)?) > MAX_HEADERS {
            return Err(damaged("too many headers"));
        }
        let arch = match header.e_machine(endian) {
            elf::EM_X86_64 => Some(Arch::X86_64),
            elf::EM_AARCH64 => Some(Arch::Aarch64),
            _ => None,
        };
        let mut file = Self { arch, modinfo: modinfo(header, endian, data)?, ..Self::default() };
        file.read_segments(header.program_headers(endian, data)?, endian, data)?;
        Ok(file)
    }

    /// The first value of a name in `.modinfo`.
    pub fn modinfo(&self, name: &str) -> Option<&str> {
        let mut values = self.modinfo.iter().flatten();
        values.find(|(found, _)| found == name).map(|(_, value)| value.as_str())
    }

    fn read_segments<'data>(
        &mut self,
        segments: &[elf::ProgramHeader64<LittleEndian>],
        endian: LittleEndian,
        data: impl ReadRef<'data>,
    ) -> Result<(), ElfError> {
        let find = |kind| segments.iter().find(|segment| segment.p_type(endian) == kind);
        if let Some(segment) = find(elf::PT_INTERP) {
            self.interpreter = Some(text(data, segment.p_offset(endian))?);
        }
        let Some(segment) = find(elf::PT_DYNAMIC) else { return Ok(()) };
        if segment.p_filesz(endian) > MAX_TABLE {
            return Err(damaged("the dynamic segment is too large"));
        }
        let entries = segment.dynamic(endian, data)?.unwrap_or_default();
        let entries = || entries.iter().take_while(|entry| entry.d_tag(endian) != u64::from(elf::DT_NULL));
        let values = |tag: u32| {
            let tagged = entries().filter(move |entry| entry.d_tag(endian) == u64::from(tag));
            tagged.map(|entry| entry.d_val(endian))
        };
        let Some(address) = values(elf::DT_STRTAB).next() else { return Ok(()) };
        // The value is an address in memory; the segment that is loaded there has the offset in the file.
        let strings = segments
            .iter()
            .filter(|segment| segment.p_type(endian) == elf::PT_LOAD)
            .find_map(|segment| {
                let within = address.checked_sub(segment.p_vaddr(endian))?;
                (within < segment.p_filesz(endian)).then(|| segment.p_offset(endian).checked_add(within))?
            })
            .ok_or_else(|| damaged("the dynamic string table is not loaded"))?;
        let string = |offset| text(data, strings.checked_add(offset).ok_or_else(|| damaged("overflow"))?);
        if values(elf::DT_NEEDED).count() > MAX_LIBRARIES {
            return Err(damaged("too many libraries"));
        }
        self.needed = values(elf::DT_NEEDED).map(string).collect::<Result<_, _>>()?;
        self.soname = values(elf::DT_SONAME).next().map(string).transpose()?;
        Ok(())
    }
}

/// The section `.modinfo`: strings `name=value`, each terminated by a zero byte.
fn modinfo<'data>(
    header: &Header,
    endian: LittleEndian,
    data: impl ReadRef<'data>,
) -> Result<Option<Vec<(String, String)>>, ElfError> {
    let sections = header.section_headers(endian, data)?;
    let names = header.shstrndx(endian, data).ok().and_then(|index| sections.get(index as usize));
    let Some(names) = names.map(|names| names.sh_offset(endian)) else { return Ok(None) };
    // Only as many bytes as the name has are compared: names that do not end would make the search quadratic.
    let is_modinfo = |section: &&elf::SectionHeader64<LittleEndian>| {
        let offset = names.checked_add(u64::from(section.sh_name(endian)));
        let name = offset.and_then(|offset| data.read_bytes_at(offset, MODINFO.len() as u64).ok());
        name == Some(MODINFO)
    };
    let Some(section) = sections.iter().find(is_modinfo) else { return Ok(None) };
    if section.sh_size(endian) > MAX_TABLE {
        return Err(damaged("a section is too large"));
    }
    let entries = section.data(endian, data)?.split(|&byte| byte == 0).filter_map(|text| {
        let text = String::from_utf8_lossy(text);
        text.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned()))
    });
    Ok(Some(entries.collect()))
}

/// The string at an offset, terminated by a zero byte.
fn text<'data>(data: impl ReadRef<'data>, offset: u64) -> Result<String, ElfError> {
    let bad_name = || damaged("a name does not end");
    let end = offset.saturating_add(MAX_NAME).min(data.len().map_err(|()| bad_name())?);
    let bytes = data.read_bytes_at_until(offset..end, 0).map_err(|()| bad_name())?;
    Ok(String::from_utf8_lossy(bytes).into_owned())
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A module with only this `.modinfo`.
    pub(in crate::model) fn module(modinfo: &str) -> Vec<u8> {
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

    #[test]
    fn sections_with_endless_names_are_read() {
        const SECTIONS: usize = 65_000;
        let mut bytes = header(0, 0);
        let strings = bytes.len();
        bytes.resize(strings + (2 << 20), b'a');
        let table = bytes.len();
        for number in 0..SECTIONS {
            let mut section = [0; 64];
            section[..4].copy_from_slice(&u32::to_le_bytes(u32::try_from(number).unwrap()));
            section[24..32].copy_from_slice(&(strings as u64).to_le_bytes());
            section[32..40].copy_from_slice(&(2_u64 << 20).to_le_bytes());
            bytes.extend(section);
        }
        bytes[40..48].copy_from_slice(&(table as u64).to_le_bytes());
        bytes[58..60].copy_from_slice(&64_u16.to_le_bytes());
        bytes[60..62].copy_from_slice(&u16::try_from(SECTIONS).unwrap().to_le_bytes());
        bytes[62] = 1;
        assert_eq!(ElfFile::parse(bytes.as_slice()).unwrap().modinfo, None);
    }

    pub(in crate::model) fn program(soname: Option<&str>, needed: &[&str]) -> Vec<u8> {
        let mut bytes = header(64, 2);
        let segments = bytes.len();
        bytes.resize(segments + 2 * 56, 0);
        let strings = bytes.len();
        bytes.push(0);
        let mut dynamic = Vec::new();
        for (tag, name) in
            needed.iter().map(|name| (elf::DT_NEEDED, *name)).chain(soname.map(|name| (elf::DT_SONAME, name)))
        {
            dynamic.push((tag, (bytes.len() - strings) as u64));
            bytes.extend(name.as_bytes());
            bytes.push(0);
        }
        // At another address than in the file, as in real files.
        let address = 0x1000 + strings as u64;
        dynamic.extend([(elf::DT_STRTAB, address), (0, 0)]);
        let table = bytes.len();
        for (tag, value) in &dynamic {
            bytes.extend(u64::from(*tag).to_le_bytes());
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
        segment(0, elf::PT_LOAD, 0, 0x1000, all);
        segment(1, elf::PT_DYNAMIC, table as u64, 0, dynamic.len() as u64 * 16);
        bytes
    }

    fn header(segments: u64, count: u16) -> Vec<u8> {
        let mut header = vec![0; 64];
        header[..7].copy_from_slice(&[0x7f, b'E', b'L', b'F', 2, 1, 1]);
        header[18] = 62;
        header[32..40].copy_from_slice(&segments.to_le_bytes());
        header[54] = 56;
        header[56..58].copy_from_slice(&count.to_le_bytes());
        header
    }

    #[test]
    fn reads_the_dependencies_of_modules() {
        let elf =
            ElfFile::parse(module("name=zfs\0depends=spl,crc32\0vermagic=6.1 SMP \0").as_slice()).unwrap();
        assert_eq!(elf.arch, Some(Arch::X86_64));
        assert_eq!(elf.modinfo("depends"), Some("spl,crc32"));
        assert_eq!(elf.modinfo("vermagic"), Some("6.1 SMP "));
        assert_eq!(elf.modinfo("version"), None);
    }

    #[test]
    fn reads_the_dependencies_of_libraries() {
        let elf =
            ElfFile::parse(program(Some("libzfs.so.7"), &["libc.so.6", "libm.so.6"]).as_slice()).unwrap();
        assert_eq!(elf.needed, ["libc.so.6", "libm.so.6"]);
        assert_eq!((elf.soname.as_deref(), elf.interpreter), (Some("libzfs.so.7"), None));
        assert_eq!(ElfFile::parse(program(None, &[]).as_slice()).unwrap().needed, Vec::<String>::new());
        assert_eq!(ElfFile::parse(&b"#!/bin/sh\n"[..]), Err(ElfError::NotElf));
    }

    #[test]
    fn rejects_files_beyond_the_limits() {
        let libraries = vec!["libc.so.6"; MAX_LIBRARIES + 1];
        let name = "x".repeat(5000);
        let mut section = module("name=zfs\0");
        let table = section.len() - 2 * 64;
        section[table + 32..table + 40].copy_from_slice(&u64::MAX.to_le_bytes());
        let mut headers = module("name=zfs\0");
        // The header has no section count; the first section has it.
        headers[60..62].copy_from_slice(&[0, 0]);
        let table = headers.len() - 3 * 64;
        headers[table + 32..table + 40].copy_from_slice(&u64::from(u32::MAX).to_le_bytes());
        for (file, reason) in [
            (program(None, &libraries), "too many libraries"),
            (program(None, &[&name]), "a name does not end"),
            (section, "a section is too large"),
            (headers, "too many headers"),
        ] {
            assert_eq!(ElfFile::parse(file.as_slice()), Err(damaged(reason)));
            let cache = object::read::ReadCache::new(std::io::Cursor::new(file));
            assert_eq!(ElfFile::parse(&cache), Err(damaged(reason)));
        }
    }

    proptest! {
        #[test]
        fn nothing_makes_it_panic(bytes: Vec<u8>, at in 0_usize..400, value: u8, cut in 0_usize..600) {
            let _ = ElfFile::parse([&[0x7f, b'E', b'L', b'F', 2, 1, 1][..], &bytes].concat().as_slice());
            for mut file in [module("name=zfs\0"), program(Some("a"), &["b"])] {
                if let Some(byte) = file.get_mut(at) {
                    *byte = value;
                }
                let _ = ElfFile::parse(file.as_slice());
                file.truncate(cut);
                let _ = ElfFile::parse(file.as_slice());
            }
        }
    }
}
