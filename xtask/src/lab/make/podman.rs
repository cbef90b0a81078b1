//! Runs a command inside an image of a layout.
//!
//! With `podman build`, because `podman run` fails on some machines on which `podman build` works. The command leaves its
//! results in a mounted directory.

use std::fs;
use std::path::Path;

use xshell::{Shell, cmd};

use crate::{error::Result, tools};

pub(super) fn install() -> Result {
    tools::need(&[("podman", "podman"), ("skopeo", "skopeo")])
}

/// Runs `command` in the image `tag` of `layout`, with `work` mounted at `/mnt`.
pub(super) fn run(what: &str, layout: &Path, tag: &str, command: &str, work: &Path, log: &Path) -> Result {
    // Not `podman pull`: it derives a name from the layout's path, which is not always a valid one.
    let image = format!("localhost/zfs-kmods-lab/base:{}", std::process::id());
    let shell = Shell::new()?;
    let copy = cmd!(shell, "skopeo copy --quiet oci:{layout}:{tag} containers-storage:{image}");
    tools::run_logged("giving podman the image", &copy.into(), log)?;
    let context = tempfile::tempdir()?;
    fs::write(context.path().join("Containerfile"), format!("FROM {image}\nRUN {command}\n"))?;
    let result = format!("localhost/zfs-kmods-lab/result:{}", std::process::id());
    let options = ["--isolation=chroot", "--network=host", "--no-cache", "--layers=false", "--pull=never"];
    let build =
        cmd!(shell, "podman build {options...} --volume={work}:/mnt --tag={result}").arg(context.path());
    let done = tools::run_logged(what, &build.into(), log);
    let rmi = cmd!(shell, "podman rmi --force {result} {image}").quiet().ignore_stdout().ignore_stderr();
    let _ = rmi.run();
    done
}
