use std::collections::BTreeSet;

use crate::model::elf::ElfFile;

/// The libraries that a set of programs needs, directly or through other libraries. Found step by step: the
/// dependencies of a library are known only after it was read.
#[derive(Clone, Debug, Default)]
pub struct LibraryClosure {
    wanted: BTreeSet<String>,
    there: BTreeSet<String>,
    interpreters: BTreeSet<String>,
}

impl LibraryClosure {
    pub fn add(&mut self, elf: &ElfFile) {
        self.there.extend(elf.soname.clone());
        if let Some(interpreter) = &elf.interpreter {
            self.interpreters.insert(interpreter.clone());
            self.wanted.insert(file_name(interpreter).to_owned());
        }
        self.wanted.extend(elf.needed.iter().cloned());
    }

    /// Adds a library under this name, whatever its `DT_SONAME`.
    pub fn provide(&mut self, name: &str, elf: &ElfFile) {
        self.there.insert(name.to_owned());
        self.add(elf);
    }

    /// The needed libraries that were not added yet, sorted.
    pub fn missing(&self) -> Vec<String> {
        self.wanted.difference(&self.there).cloned().collect()
    }

    /// The paths of the dynamic loader in the programs.
    pub fn interpreters(&self) -> impl Iterator<Item = &str> {
        self.interpreters.iter().map(String::as_str)
    }
}

pub(super) fn file_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn elf(soname: Option<&str>, needed: &[&str]) -> ElfFile {
        ElfFile {
            soname: soname.map(str::to_owned),
            needed: needed.iter().map(|&name| name.to_owned()).collect(),
            ..ElfFile::default()
        }
    }

    #[test]
    fn libraries_of_libraries_are_needed_too() {
        let mut closure = LibraryClosure::default();
        closure.add(&elf(Some("libzfs.so.7"), &["libnvpair.so.3", "libc.so.6"]));
        closure.add(&ElfFile {
            interpreter: Some("/lib64/ld-linux.so.2".into()),
            ..elf(None, &["libzfs.so.7"])
        });
        assert_eq!(closure.missing(), ["ld-linux.so.2", "libc.so.6", "libnvpair.so.3"]);
        closure.add(&elf(Some("libnvpair.so.3"), &["libtirpc.so.3"]));
        // A loader may have no `DT_SONAME`.
        closure.provide("ld-linux.so.2", &elf(None, &[]));
        closure.provide("libc.so.6", &elf(Some("libc.so.6"), &["ld-linux.so.2"]));
        assert_eq!(closure.missing(), ["libtirpc.so.3"]);
        closure.provide("libtirpc.so.3", &elf(None, &["libtirpc.so.3", "libc.so.6"]));
        assert!(closure.missing().is_empty());
        assert_eq!(closure.interpreters().collect::<Vec<_>>(), ["/lib64/ld-linux.so.2"]);
    }
}
