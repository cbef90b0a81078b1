//! Faults, each of which only one check detects.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::{FileExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::error::{Context, Result};
use crate::tools;

/// Lets a kernel module begin with `ud2`, the instruction behind the kernel's `BUG()`.
pub(super) fn plant_bug(root: &Path) -> Result {
    const UD2: [u8; 2] = [0x0f, 0x0b];
    let module = find(root, "zfs.ko")?;
    let begin = first_instruction(&module)?;
    write_at(&module, begin, UD2)
}

/// Makes a kernel without output: its first instruction is a jump to itself.
///
/// The boot protocol's 32-bit entry point follows the real-mode code, whose length in sectors is at 0x1f1
/// (Linux, `Documentation/arch/x86/boot.rst`).
pub(super) fn silence(root: &Path) -> Result {
    const JUMP_TO_ITSELF: [u8; 2] = [0xeb, 0xfe];
    let kernel = find(root, "vmlinuz")?;
    let sectors = *fs::read(&kernel)?.get(0x1f1).context("the kernel is too short")?;
    let begin = (u64::from(sectors) + 1) * 512;
    write_at(&kernel, begin, JUMP_TO_ITSELF)
}

/// Makes a `zpool` that overwrites the labels of the pool after an export.
pub(super) fn lose_pool(root: &Path) -> Result {
    let zpool = find(root, "zpool")?;
    let script = |length: usize| {
        format!(
            "#!/bin/sh\n\
             tail -c +{length:04} \"$0\" >/tmp/zpool.real; chmod 755 /tmp/zpool.real\n\
             /tmp/zpool.real \"$@\"; status=$?\n\
             if [ \"$1\" = export ]; then\n\
             \x20 size=$(cat /sys/class/block/vda1/size)\n\
             \x20 dd if=/dev/zero of=/dev/vda1 bs=1M count=4 2>/dev/null\n\
             \x20 dd if=/dev/zero of=/dev/vda1 bs=1M seek=$((size / 2048 - 5)) count=6 2>/dev/null; sync\n\
             fi\n\
             exit $status\n"
        )
    };
    // The labels are in the first and the last half megabyte of a disk.
    let mut bytes = script(script(0).len() + 1).into_bytes();
    bytes.extend(fs::read(&zpool)?);
    fs::write(&zpool, bytes)?;
    fs::set_permissions(&zpool, fs::Permissions::from_mode(0o755))?;
    Ok(())
}

pub(super) fn foreign_module(root: &Path, other: &Path) -> Result {
    fs::copy(find(other, "zfs.ko")?, find(root, "zfs.ko")?)?;
    Ok(())
}

fn write_at(file: &Path, begin: u64, instruction: [u8; 2]) -> Result {
    OpenOptions::new().write(true).open(file)?.write_all_at(&instruction, begin)?;
    Ok(())
}

/// The file offset of the module's `init_module`.
fn first_instruction(module: &Path) -> Result<u64> {
    let number = |text| u64::from_str_radix(text, 16).context(format_args!("`{text}` is not an address"));
    let symbols = tools::text(Command::new("nm").arg(module))?;
    let symbol = symbols.lines().find_map(|line| line.strip_suffix(" T init_module"));
    let symbol = number(symbol.context("the module has no init_module")?)?;
    let sections = tools::text(Command::new("readelf").args(["--section-headers", "--wide"]).arg(module))?;
    let section = sections.lines().find_map(|line| line.split_once(" .init.text ")).map(|(_, rest)| rest);
    // Columns: type, address, offset.
    let offset = section.and_then(|rest| rest.split_whitespace().nth(2)).context("no section .init.text")?;
    Ok(symbol + number(offset)?)
}

/// Finds a binary by its name.
fn find(directory: &Path, name: &str) -> Result<PathBuf> {
    // Shell completions have the names of their programs.
    let is_binary =
        |file: &Path| fs::read(file).is_ok_and(|bytes| bytes.iter().take(512).any(|byte| *byte == 0));
    let mut files = tools::files_below(directory)?.into_iter();
    let found = files.find(|file| file.ends_with(name) && !file.is_symlink() && is_binary(file));
    found.context(format_args!("no {name} in {}", directory.display()))
}
