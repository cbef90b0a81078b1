//! Reads `META` from the release tarball.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use flate2::read::GzDecoder;
use kmod_compat::{Meta, ZfsVersion};
use miette::{IntoDiagnostic as _, Result, WrapErr as _, miette};

/// Bytes; `META` has about 200.
const LARGEST_META: u64 = 64 * 1024;

pub fn meta(path: &Path, zfs: ZfsVersion) -> Result<Meta> {
    let wanted = Path::new(&zfs.tag()).join("META");
    let text = read(path, &wanted).into_diagnostic().wrap_err("cannot read the tarball")?;
    let text = text.ok_or_else(|| miette!("the tarball does not hold `{}`", wanted.display()))?;
    Meta::parse(&text).into_diagnostic().wrap_err("invalid `META` in the tarball")
}

fn read(path: &Path, wanted: &Path) -> std::io::Result<Option<String>> {
    let mut archive = tar::Archive::new(GzDecoder::new(File::open(path)?));
    for entry in archive.entries()? {
        let entry = entry?;
        if entry.path()? == wanted {
            let mut text = String::new();
            entry.take(LARGEST_META).read_to_string(&mut text)?;
            return Ok(Some(text));
        }
    }
    Ok(None)
}
