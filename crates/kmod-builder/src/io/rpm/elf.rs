use std::io::{self, Read, Seek, SeekFrom};

use kmod_compat::Arch;

/// What a kernel module says of itself.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct ModuleInfo {
    /// `None` for machines for which no images are built.
    pub(super) arch: Option<Arch>,
    /// `6.17.8-300.fc43.x86_64 SMP preempt mod_unload `: the kernel's release, and options that must agree with it.
    pub(super) vermagic: Option<String>,
}

/// The size of an ELF file's header, and of an entry of its section table (System V ABI, "Object Files"; 64 bits).
const FILE_HEADER: usize = 64;
const SECTION_HEADER: usize = 64;
/// Where in the file header `e_machine`, `e_shoff`, `e_shentsize`, `e_shnum` and `e_shstrndx` are.
const MACHINE: usize = 18;
const SECTIONS_OFFSET: usize = 40;
const SECTION_SIZE: usize = 58;
const SECTION_COUNT: usize = 60;
const NAMES_INDEX: usize = 62;
/// The names of the sections of a module come to a few kilobytes, its `.modinfo` likewise.
const MAX_TABLE: u64 = 16 << 20;

/// Reads the `.modinfo` section of a module: texts `name=value`, a zero byte after each.
pub(super) fn module_info(file: &mut (impl Read + Seek)) -> io::Result<ModuleInfo> {
    let mut header = [0; FILE_HEADER];
    file.read_exact(&mut header)?;
    // The magic number, then 64 bits, then the lowest byte first: what both of our architectures have.
    if header[..6] != [0x7f, b'E', b'L', b'F', 2, 1] {
        return Err(bad("it is no ELF file of 64 bits and little endian"));
    }
    let arch = match u16_at(&header, MACHINE) {
        62 => Some(Arch::X86_64),
        183 => Some(Arch::Aarch64),
        _ => None,
    };
    if usize::from(u16_at(&header, SECTION_SIZE)) != SECTION_HEADER {
        return Err(bad("its section table has entries of an unknown size"));
    }
    let table = u64_at(&header, SECTIONS_OFFSET);
    let names_index = u16_at(&header, NAMES_INDEX);
    let mut sections = Vec::new();
    file.seek(SeekFrom::Start(table))?;
    for _ in 0..u16_at(&header, SECTION_COUNT) {
        let mut section = [0; SECTION_HEADER];
        file.read_exact(&mut section)?;
        sections.push(section);
    }
    let names = sections.get(usize::from(names_index)).ok_or_else(|| bad("its sections have no names"))?;
    let names = contents(file, names)?;
    for section in &sections {
        let name = names.get(u32_at(section, 0) as usize..).unwrap_or_default();
        if name.starts_with(b".modinfo\0") {
            let info = contents(file, section)?;
            return Ok(ModuleInfo { arch, vermagic: value(&info, b"vermagic=") });
        }
    }
    Err(bad("it has no section `.modinfo`"))
}

/// The value of a name in `.modinfo`.
fn value(info: &[u8], name: &[u8]) -> Option<String> {
    let text = info.split(|&byte| byte == 0).find_map(|text| text.strip_prefix(name))?;
    Some(String::from_utf8_lossy(text).into_owned())
}

fn contents(file: &mut (impl Read + Seek), section: &[u8; SECTION_HEADER]) -> io::Result<Vec<u8>> {
    let (offset, size) = (u64_at(section, 24), u64_at(section, 32));
    if size > MAX_TABLE {
        return Err(bad("a section is larger than any module has"));
    }
    file.seek(SeekFrom::Start(offset))?;
    let mut bytes = Vec::new();
    file.take(size).read_to_end(&mut bytes)?;
    if (bytes.len() as u64) < size {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(bytes)
}

fn bad(reason: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, reason)
}

fn u16_at(bytes: &[u8; 64], offset: usize) -> u16 {
    u16::from_le_bytes([bytes[offset], bytes[offset + 1]])
}

fn u32_at(bytes: &[u8; 64], offset: usize) -> u32 {
    u32::from(u16_at(bytes, offset)) | u32::from(u16_at(bytes, offset + 2)) << 16
}

fn u64_at(bytes: &[u8; 64], offset: usize) -> u64 {
    u64::from(u32_at(bytes, offset)) | u64::from(u32_at(bytes, offset + 4)) << 32
}
