use std::collections::{BTreeMap, BTreeSet};

use kmod_compat::KernelRelease;

use super::BootFailure;
use super::libraries::file_name;
use crate::model::elf::{ElfError, ElfFile};

/// Required to see the disk, built in or as modules.
pub const DRIVERS: [&str; 2] = ["virtio_pci", "virtio_blk"];

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KernelModule {
    /// As in the kernel, with underscores: `virtio_blk`.
    pub name: String,
    pub depends: Vec<String>,
    /// The kernel release and options that the module was built for.
    pub vermagic: Option<String>,
    pub bytes: Vec<u8>,
}

impl KernelModule {
    pub fn parse(path: &str, bytes: Vec<u8>) -> Result<Self, ElfError> {
        let elf = ElfFile::parse(bytes.as_slice())?;
        let depends = elf.modinfo("depends").unwrap_or_default();
        let depends = depends.split(',').filter(|name| !name.is_empty()).map(canonical).collect();
        let vermagic = elf.modinfo("vermagic").map(str::to_owned);
        Ok(Self { name: Self::name(path), depends, vermagic, bytes })
    }

    /// The name of the module at a path, compressed or not.
    pub fn name(path: &str) -> String {
        let file = file_name(path);
        canonical(file.split_once(".ko").map_or(file, |(name, _)| name))
    }

    /// Checks that the module was built for exactly this kernel.
    ///
    /// The kernel is less strict: with `CONFIG_MODVERSIONS`, as in Fedora, it loads a module of another release if
    /// the symbol versions agree.
    pub fn check_kernel(&self, kernel: &KernelRelease) -> Result<(), BootFailure> {
        let words = self.vermagic.as_deref().unwrap_or_default();
        let built_for = words.split_whitespace().next().unwrap_or_default();
        if built_for == kernel.to_string() {
            return Ok(());
        }
        let reason = match built_for {
            "" => "it does not say for which".to_owned(),
            other => format!("it says {other}, the image is for {kernel}"),
        };
        Err(BootFailure::Module { module: self.name.clone(), fault: BootFailure::OTHER_KERNEL, reason })
    }
}

/// File names may have hyphens where the kernel has underscores.
fn canonical(name: &str) -> String {
    name.trim().replace('-', "_")
}

/// The available modules, and those built into the kernel.
///
/// No package has a `modules.dep`, so dependencies are read from the modules.
#[derive(Clone, Debug, Default)]
pub struct ModuleSet {
    modules: BTreeMap<String, KernelModule>,
    built_in: BTreeSet<String>,
}

impl ModuleSet {
    /// `built_in` is the content of `modules.builtin`: one path a line.
    pub fn new(built_in: &str) -> Self {
        let built_in = built_in.lines().filter(|line| !line.is_empty()).map(KernelModule::name).collect();
        Self { modules: BTreeMap::new(), built_in }
    }

    pub fn add(&mut self, module: KernelModule) {
        self.modules.insert(module.name.clone(), module);
    }

    pub fn get(&self, name: &str) -> Option<&KernelModule> {
        self.modules.get(name)
    }

    /// The modules that these need and that are not available.
    pub fn missing(&self, goals: &[&str]) -> BTreeSet<String> {
        let mut missing = BTreeSet::new();
        let mut seen = BTreeSet::new();
        let mut open: Vec<String> = goals.iter().map(|&name| name.to_owned()).collect();
        while let Some(name) = open.pop() {
            if self.built_in.contains(&name) || !seen.insert(name.clone()) {
                continue;
            }
            match self.modules.get(&name) {
                Some(module) => open.extend(module.depends.iter().cloned()),
                None => _ = missing.insert(name),
            }
        }
        missing
    }

    /// The modules to load, dependencies first, without those in `loaded`.
    pub fn order(&self, goals: &[&str], loaded: &[String]) -> Result<Vec<String>, ModuleLoadError> {
        if let Some(name) = self.missing(goals).into_iter().next() {
            let needs = |module: &&KernelModule| module.depends.contains(&name);
            let needed_by = self.modules.values().find(needs).map(|module| module.name.clone());
            return Err(ModuleLoadError::Missing {
                name,
                needed_by: needed_by.unwrap_or_else(|| "the guest".into()),
            });
        }
        let mut order = Vec::new();
        for goal in goals {
            self.visit(goal, loaded, &mut order, &mut Vec::new())?;
        }
        Ok(order)
    }

    fn visit<'a>(
        &'a self,
        name: &'a str,
        loaded: &[String],
        order: &mut Vec<String>,
        above: &mut Vec<&'a str>,
    ) -> Result<(), ModuleLoadError> {
        let settled = |list: &[String]| list.iter().any(|other| other == name);
        if self.built_in.contains(name) || settled(loaded) || settled(order) {
            return Ok(());
        }
        if above.contains(&name) {
            return Err(ModuleLoadError::DependencyCycle(name.to_owned()));
        }
        let Some(module) = self.modules.get(name) else { return Ok(()) };
        above.push(name);
        for other in &module.depends {
            self.visit(other, loaded, order, above)?;
        }
        above.pop();
        order.push(name.to_owned());
        Ok(())
    }
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, miette::Diagnostic)]
pub enum ModuleLoadError {
    #[error(
        "{needed_by} needs the kernel module {name}, which is neither built in nor in kernel-modules-core"
    )]
    #[diagnostic(help("the kernel cannot be tested in a virtual machine as it is packaged"))]
    Missing { name: String, needed_by: String },
    #[error("the kernel module {0} depends on itself")]
    DependencyCycle(String),
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::elf::tests::module;

    fn module_set(modules: &[(&str, &str)]) -> ModuleSet {
        let mut module_set = ModuleSet::new("kernel/lib/crc32.ko\nkernel/drivers/virtio/virtio-ring.ko\n");
        for (name, depends) in modules {
            let bytes = module(&format!("depends={depends}\0"));
            module_set.add(KernelModule::parse(&format!("kernel/{name}.ko.xz"), bytes).unwrap());
        }
        module_set
    }

    #[test]
    fn modules_come_after_what_they_depend_on() {
        let module_set = module_set(&[
            ("virtio-pci", "virtio_ring,virtio,virtio_pci_modern_dev"),
            ("virtio_pci_modern_dev", ""),
            ("virtio_blk", "virtio,virtio_ring"),
            ("virtio", "crc32"),
            ("zfs", "spl,virtio"),
            ("spl", ""),
        ]);
        assert!(module_set.missing(&DRIVERS).is_empty());
        let drivers = module_set.order(&DRIVERS, &[]).unwrap();
        assert_eq!(drivers, ["virtio", "virtio_pci_modern_dev", "virtio_pci", "virtio_blk"]);
        assert_eq!(module_set.order(&["spl", "zfs"], &drivers).unwrap(), ["spl", "zfs"]);
        assert_eq!(module_set.order(&["crc32"], &[]).unwrap(), Vec::<String>::new());
    }

    #[test]
    fn names_a_missing_module_and_what_needs_it() {
        let module_set = module_set(&[("zfs", "spl"), ("a", "b"), ("b", "a")]);
        assert_eq!(module_set.missing(&["zfs", "crc32"]).into_iter().collect::<Vec<_>>(), ["spl"]);
        insta::assert_snapshot!(module_set.order(&["zfs"], &[]).unwrap_err(), @"zfs needs the kernel module spl, which is neither built in nor in kernel-modules-core");
        insta::assert_snapshot!(module_set.order(&["virtio_blk"], &[]).unwrap_err(), @"the guest needs the kernel module virtio_blk, which is neither built in nor in kernel-modules-core");
        assert_eq!(module_set.order(&["a"], &[]), Err(ModuleLoadError::DependencyCycle("a".into())));
    }

    #[test]
    fn a_module_must_be_built_for_exactly_the_kernel() {
        let kernel = "6.12.107-200.fc43.x86_64".parse().unwrap();
        let check =
            |modinfo: &str| KernelModule::parse("zfs.ko", module(modinfo)).unwrap().check_kernel(&kernel);
        assert_eq!(check("vermagic=6.12.107-200.fc43.x86_64 SMP mod_unload \0"), Ok(()));
        insta::assert_snapshot!(check("vermagic=6.12.107-201.fc43.x86_64 SMP \0").unwrap_err(), @"zfs.ko was built for another kernel: it says 6.12.107-201.fc43.x86_64, the image is for 6.12.107-200.fc43.x86_64");
        insta::assert_snapshot!(check("name=zfs\0").unwrap_err(), @"zfs.ko was built for another kernel: it does not say for which");
    }
}
