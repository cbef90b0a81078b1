use kmod_compat::Arch;
use serde::Serialize;

use super::Boot;

/// File names in the emulator's working directory. Relative, because QEMU's arguments would need escaped paths.
pub const KERNEL: &str = "vmlinuz";
pub const INITRAMFS: &str = "initramfs";
pub const DISK: &str = "disk";

/// System calls that QEMU does not need (QEMU's manual, `-sandbox`). The guest runs modules that are under test.
pub const SANDBOX: [&str; 2] =
    ["-sandbox", "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny"];

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Accelerator {
    Kvm,
    Tcg,
}

impl Accelerator {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Kvm => "kvm",
            Self::Tcg => "tcg",
        }
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum AcceleratorMode {
    /// KVM where it works, which is tried; emulation elsewhere
    #[default]
    Auto,
    /// KVM; without it nothing is tested
    Kvm,
    /// Emulation, which works everywhere
    Tcg,
}

/// x86_64 and aarch64 differ in these values only. aarch64 is untested.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Machine {
    pub arch: Arch,
    pub accelerator: Accelerator,
    /// In MiB.
    pub memory: u32,
}

impl Machine {
    pub fn program(arch: Arch) -> String {
        format!("qemu-system-{arch}")
    }

    pub const fn kind(self) -> &'static str {
        match self.arch {
            Arch::X86_64 => "q35",
            Arch::Aarch64 => "virt",
        }
    }

    const fn processor(self) -> &'static str {
        match (self.accelerator, self.arch) {
            (Accelerator::Kvm, _) => "host",
            (Accelerator::Tcg, Arch::X86_64) => "max",
            // Emulating the architected pointer authentication algorithm takes half of the CPU time.
            (Accelerator::Tcg, Arch::Aarch64) => "max,pauth-impdef=on",
        }
    }

    const fn console(self) -> &'static str {
        match self.arch {
            Arch::X86_64 => "ttyS0",
            Arch::Aarch64 => "ttyAMA0",
        }
    }

    /// QEMU's arguments. Standard output is the guest's serial console.
    pub fn arguments(self, boot: Boot, run: &str) -> Vec<String> {
        // No network and no display. A panic reboots at once, which ends QEMU.
        let command_line = format!(
            "console={} panic=-1 oops=panic selinux=0 zfs_kmods.boot={} zfs_kmods.run={run}",
            self.console(),
            boot.number()
        );
        let (memory, disk) = (
            self.memory.to_string(),
            // The host does not lose power between the boots, so no flush to its disk is needed.
            format!("file={DISK},format=raw,if=none,id=pool,cache=unsafe"),
        );
        let options = [
            ("-display", "none"),
            ("-machine", self.kind()),
            ("-accel", self.accelerator.as_str()),
            ("-cpu", self.processor()),
            // Two CPUs, to allow concurrency.
            ("-smp", "2"),
            ("-m", &memory),
            ("-chardev", "stdio,id=console,signal=off"),
            ("-serial", "chardev:console"),
            ("-kernel", KERNEL),
            ("-initrd", INITRAMFS),
            ("-append", &command_line),
            ("-drive", &disk),
            ("-device", "virtio-blk-pci,drive=pool"),
        ];
        let flags = ["-nodefaults", "-no-user-config", "-no-reboot"];
        let options = options.into_iter().flat_map(|(name, value)| [name, value]);
        flags.into_iter().chain(options).map(str::to_owned).collect()
    }
}

/// In MiB, from `1G` or `1536M`.
pub fn parse_memory(text: &str) -> Result<u32, String> {
    let amount = || {
        let (number, factor) = match text.strip_suffix('G') {
            Some(number) => (number, 1024),
            None => (text.strip_suffix('M')?, 1),
        };
        number.parse::<u32>().ok()?.checked_mul(factor).filter(|amount| (512..=65536).contains(amount))
    };
    amount().ok_or_else(|| format!("`{text}` is not a memory size (expected from `512M` to `64G`)"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machines() {
        let arguments = |arch, accelerator| {
            Machine { arch, accelerator, memory: 1024 }.arguments(Boot::First, "abc").join(" ")
        };
        insta::assert_snapshot!(arguments(Arch::X86_64, Accelerator::Tcg), @"-nodefaults -no-user-config -no-reboot -display none -machine q35 -accel tcg -cpu max -smp 2 -m 1024 -chardev stdio,id=console,signal=off -serial chardev:console -kernel vmlinuz -initrd initramfs -append console=ttyS0 panic=-1 oops=panic selinux=0 zfs_kmods.boot=1 zfs_kmods.run=abc -drive file=disk,format=raw,if=none,id=pool,cache=unsafe -device virtio-blk-pci,drive=pool");
        insta::assert_snapshot!(arguments(Arch::Aarch64, Accelerator::Kvm), @"-nodefaults -no-user-config -no-reboot -display none -machine virt -accel kvm -cpu host -smp 2 -m 1024 -chardev stdio,id=console,signal=off -serial chardev:console -kernel vmlinuz -initrd initramfs -append console=ttyAMA0 panic=-1 oops=panic selinux=0 zfs_kmods.boot=1 zfs_kmods.run=abc -drive file=disk,format=raw,if=none,id=pool,cache=unsafe -device virtio-blk-pci,drive=pool");
        assert_eq!(Machine::program(Arch::Aarch64), "qemu-system-aarch64");
    }

    #[test]
    fn amounts_of_memory() {
        assert_eq!((parse_memory("1G"), parse_memory("1536M")), (Ok(1024), Ok(1536)));
        for text in ["", "G", "1", "511M", "65G", "4194305G", "1g", "-1G"] {
            assert!(parse_memory(text).is_err(), "{text}");
        }
    }
}
