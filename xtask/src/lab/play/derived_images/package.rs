//! Repacks a package with rpmbuild: the same metadata, changed files.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::Change;
use crate::error::{Context, Result};
use crate::lab::make::rpms;
use crate::tools;

/// Replaces a kernel's name by another one in text and in binaries.
pub(super) struct Renaming {
    from: String,
    to: String,
}

impl Renaming {
    /// In a binary, only a name of the same length can replace another.
    pub(super) fn new(from: &str, to: &str) -> Result<Self> {
        if from.len() == to.len() {
            return Ok(Self { from: from.to_owned(), to: to.to_owned() });
        }
        Err(format!("{from} and {to} differ in length").into())
    }

    pub(super) fn is_none(&self) -> bool {
        self.from == self.to
    }

    pub(super) fn text(&self, text: &str) -> String {
        if self.is_none() { text.to_owned() } else { text.replace(&self.from, &self.to) }
    }

    fn bytes(&self, bytes: &mut [u8]) {
        let (from, to) = (self.from.as_bytes(), self.to.as_bytes());
        let mut start = 0;
        while let Some(found) = bytes[start..].windows(from.len()).position(|window| window == from) {
            bytes[start + found..][..to.len()].copy_from_slice(to);
            start += found + to.len();
        }
    }
}

pub(super) fn unpack(package: &Path, to: &Path) -> Result {
    let script = "rpm2cpio \"$1\" | cpio --extract --make-directories --preserve-modification-time --quiet";
    let mut unpack = Command::new("sh");
    unpack.args(["-c", script, "sh"]).arg(package).current_dir(to);
    tools::output(&unpack).map(drop).context(package.display())
}

/// Repacks a package, renamed and with `change` applied to its files.
pub(super) fn repack(package: &Path, to: &Path, renaming: &Renaming, change: Change<'_>) -> Result {
    let work = tempfile::tempdir()?;
    let root = work.path().join("root");
    fs::create_dir(&root)?;
    unpack(package, &root)?;
    if !renaming.is_none() {
        rename_below(&root, renaming)?;
    }
    change(&root)?;
    let spec = renaming.text(&spec_of(package, &root, renaming)?);
    fs::write(work.path().join("package.spec"), spec)?;
    let out = work.path().join("out");
    let arch = query(package, "%{ARCH}")?;
    let mut rpmbuild = rpms::rpmbuild(work.path(), "package.spec", &out, "package.rpm");
    rpmbuild.args(["--target", &arch]);
    tools::run_logged("packing a package again", &rpmbuild, &work.path().join("log"))?;
    fs::rename(out.join("package.rpm"), to).or_else(|_| fs::copy(out.join("package.rpm"), to).map(drop))?;
    Ok(())
}

/// A spec file with the metadata of a package and the files below `root`.
fn spec_of(package: &Path, root: &Path, renaming: &Renaming) -> Result<String> {
    let ask = |format: &str| query(package, format);
    let (name, source) = (ask("%{NAME}")?, ask("%{SOURCERPM}")?);
    // The source package has the name of the main package.
    let main = source.rsplitn(3, '-').nth(2).context(format_args!("{source} is no source package"))?;
    let of = if main == name { String::new() } else { format!(" -n {name}") };
    let globals = ["debug_package %{nil}", "__os_install_post %{nil}", "_build_id_links none"];
    let mut spec = globals.map(|line| format!("%global {line}\n")).concat();
    let preamble = ask("Version: %{VERSION}\nRelease: %{RELEASE}\nLicense: %{LICENSE}\nURL: %{URL}\n")?;
    let summary = ask("Summary: %{SUMMARY}\n")?;
    write!(spec, "Name: {main}\n{preamble}{summary}")?;
    if !of.is_empty() {
        write!(spec, "%description\nPacked again.\n%package{of}\n{summary}")?;
    }
    spec.push_str("AutoReqProv: no\n");
    for (tag, format) in [
        ("Provides", "[%{PROVIDENEVRS}\n]"),
        ("Requires", "[%{REQUIRENEVRS}\n]"),
        ("Conflicts", "[%{CONFLICTNEVRS}\n]"),
        ("Obsoletes", "[%{OBSOLETENEVRS}\n]"),
    ] {
        // rpmbuild generates these itself and rejects them in a spec file.
        for line in ask(format)?.lines().filter(|line| !line.is_empty() && !line.starts_with("rpmlib(")) {
            writeln!(spec, "{tag}: {line}")?;
        }
    }
    write!(spec, "%description{of}\nPacked again.\n%install\ncp -a {}/. %{{buildroot}}/\n", root.display())?;
    for (section, tag) in [("post", "POSTIN"), ("preun", "PREUN"), ("postun", "POSTUN")] {
        let text = ask(&format!("%|{tag}?{{%{{{tag}}}}}|"))?.replace('%', "%%");
        if !text.is_empty() {
            write!(spec, "%{section}{of}\n{text}\n")?;
        }
    }
    writeln!(spec, "%files{of}")?;
    for path in renaming.text(&ask("[%{FILENAMES}\n]")?).lines() {
        let here = root.join(path.trim_start_matches('/'));
        match fs::symlink_metadata(&here) {
            Ok(metadata) if metadata.is_dir() => writeln!(spec, "%dir \"{path}\"")?,
            Ok(_) => writeln!(spec, "\"{path}\"")?,
            // A `%ghost` file, or a renamed one.
            Err(_) => {}
        }
    }
    Ok(spec)
}

fn query(package: &Path, format: &str) -> Result<String> {
    let mut rpm = Command::new("rpm");
    tools::text(rpm.args(["--query", "--package", "--nosignature", "--queryformat", format]).arg(package))
}

fn rename_below(directory: &Path, renaming: &Renaming) -> Result {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let path = entry.path();
        let kind = entry.file_type()?;
        if kind.is_dir() {
            rename_below(&path, renaming)?;
        } else if kind.is_file() {
            let permissions = entry.metadata()?.permissions();
            let mut bytes = fs::read(&path)?;
            renaming.bytes(&mut bytes);
            fs::write(&path, bytes)?;
            fs::set_permissions(&path, permissions)?;
        }
        let renamed: PathBuf = directory.join(renaming.text(&entry.file_name().to_string_lossy()));
        if renamed != path {
            fs::rename(&path, renamed)?;
        }
    }
    Ok(())
}
