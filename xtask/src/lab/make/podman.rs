//! Runs a command inside an image of a layout.
//!
//! With `podman build`, because `podman run` fails on some machines on which `podman build` works. The command leaves its
//! results in a mounted directory.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::{error::Result, tools};

pub(super) fn install() -> Result {
    tools::need(&[("podman", "podman"), ("skopeo", "skopeo")])
}

/// Runs `command` in the image `tag` of `layout`, with `work` mounted at `/mnt`.
pub(super) fn run(what: &str, layout: &Path, tag: &str, command: &str, work: &Path, log: &Path) -> Result {
    // Not `podman pull`: it derives a name from the layout's path, which is not always a valid one.
    let image = format!("localhost/zfs-kmods-lab/base:{}", std::process::id());
    let mut copy = Command::new("skopeo");
    copy.args(["copy", "--quiet"]).arg(format!("oci:{}:{tag}", layout.display()));
    copy.arg(format!("containers-storage:{image}"));
    tools::run_logged("giving podman the image", &copy, log)?;
    let context = tempfile::tempdir()?;
    fs::write(context.path().join("Containerfile"), format!("FROM {image}\nRUN {command}\n"))?;
    let result = format!("localhost/zfs-kmods-lab/result:{}", std::process::id());
    let mut build = Command::new("podman");
    build.args([
        "build",
        "--isolation=chroot",
        "--network=host",
        "--no-cache",
        "--layers=false",
        "--pull=never",
    ]);
    build.arg(format!("--volume={}:/mnt", work.display())).arg(format!("--tag={result}")).arg(context.path());
    let done = tools::run_logged(what, &build, log);
    let _ = Command::new("podman")
        .args(["rmi", "--force", &result, &image])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    done
}
