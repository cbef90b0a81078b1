use std::collections::BTreeMap;

use super::libraries::file_name;
use super::{Boot, BootStep, CpioArchive, CpioEntry, DIRECTORY_OF_LIBRARIES, KernelModule};

const INIT: &str = include_str!("init.sh");
/// The busybox applets that `init.sh` calls.
const APPLETS: &str =
    "cat cp cut dd dmesg grep head insmod mount poweroff printf sh sha256sum sleep sync tail test tr uname";
const MOUNT_POINTS: [&str; 5] = ["dev", "proc", "sys", "tmp", "tank"];
/// By default a failed OpenZFS assertion stops only its thread, and the guest hangs.
const SPL_PARAMETERS: &str = " spl_panic_halt=1";

#[derive(Clone, Debug, Default)]
pub struct InitramfsContents {
    /// `busybox`, `zpool` and `zfs`, by name.
    pub programs: BTreeMap<String, Vec<u8>>,
    /// By the name in `DT_NEEDED`.
    pub libraries: BTreeMap<String, Vec<u8>>,
    /// The paths of the dynamic loader, which is one of the libraries.
    pub interpreters: Vec<String>,
    /// In load order.
    pub modules: Vec<(BootStep, Vec<KernelModule>)>,
}

/// Uncompressed, because decompression is slow under emulation.
pub fn initramfs(contents: InitramfsContents) -> Vec<u8> {
    let InitramfsContents { programs, libraries, interpreters, modules } = contents;
    let mut archive = CpioArchive::default();
    for directory in MOUNT_POINTS {
        archive.add(directory, CpioEntry::Directory);
    }
    // The kernel opens it for process 1 before any file system is mounted.
    archive.add("dev/console", CpioEntry::Device(5, 1));
    archive.add("etc/mtab", CpioEntry::Link("/proc/self/mounts".to_owned()));
    archive.add("init", CpioEntry::File(INIT.as_bytes().to_vec()));
    for applet in APPLETS.split(' ') {
        archive.add(&format!("bin/{applet}"), CpioEntry::Link("busybox".to_owned()));
    }
    for (name, bytes) in programs {
        archive.add(&format!("bin/{name}"), CpioEntry::File(bytes));
    }
    for interpreter in interpreters {
        let path = interpreter.trim_start_matches('/');
        let home = format!("{DIRECTORY_OF_LIBRARIES}/{}", file_name(path));
        if path != home {
            archive.add(path, CpioEntry::Link(format!("/{home}")));
        }
    }
    for (name, bytes) in libraries {
        archive.add(&format!("{DIRECTORY_OF_LIBRARIES}/{name}"), CpioEntry::File(bytes));
    }
    for (step, modules) in modules {
        let mut list = String::new();
        for KernelModule { name, bytes, .. } in modules {
            let parameters = if name == "spl" { SPL_PARAMETERS } else { "" };
            list = format!("{list}{name}.ko{parameters}\n");
            archive.add(&format!("modules/{name}.ko"), CpioEntry::File(bytes));
        }
        archive.add(&format!("modules/{step}"), CpioEntry::File(list.into_bytes()));
    }
    for boot in [Boot::Probe, Boot::First, Boot::Second] {
        let steps: Vec<_> = boot.steps().iter().map(|step| step.as_str()).collect();
        let list = format!("{}\n", steps.join(" "));
        archive.add(&format!("steps/{}", boot.number()), CpioEntry::File(list.into_bytes()));
    }
    archive.to_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_has_its_place() {
        let module = |name: &str| KernelModule {
            name: name.to_owned(),
            depends: vec![],
            vermagic: None,
            bytes: name.as_bytes().to_vec(),
        };
        let bytes = initramfs(InitramfsContents {
            programs: [("zpool".to_owned(), b"ZPOOL".to_vec())].into(),
            libraries: [("ld-linux-aarch64.so.1".to_owned(), b"LOADER".to_vec())].into(),
            interpreters: vec!["/lib/ld-linux-aarch64.so.1".to_owned()],
            modules: vec![
                (BootStep::Spl, vec![module("spl")]),
                (BootStep::Zfs, vec![module("icp"), module("zfs")]),
            ],
        });
        // Without the padding.
        let text = String::from_utf8(bytes).unwrap().replace('\0', "");
        for expected in [
            "modules/splspl.ko spl_panic_halt=1\n",
            "modules/zfsicp.ko\nzfs.ko\n",
            "start drivers spl zfs import",
            "lib64/ld-linux-aarch64.so.1LOADER",
            "lib/ld-linux-aarch64.so.1/lib64/ld-linux-aarch64.so.1",
        ] {
            assert!(text.contains(expected), "{expected:?}");
        }
        assert!(text.contains("bin/zpoolZPOOL"));
    }

    #[test]
    fn init_calls_only_what_is_there() {
        let called = |name: &str| {
            INIT.lines().filter(|line| !line.trim_start().starts_with('#')).any(|line| {
                line.split(|letter: char| !letter.is_ascii_alphanumeric()).any(|word| word == name)
            })
        };
        let unused: Vec<_> = APPLETS.split(' ').filter(|applet| *applet != "sh" && !called(applet)).collect();
        assert!(unused.is_empty(), "{unused:?}");
    }
}
