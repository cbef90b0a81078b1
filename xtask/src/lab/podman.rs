//! podman, as far as the lab itself needs it: a command inside an image of a layout.
//!
//! `podman run` is not possible on every machine on which `podman build` is, so the command is a build that leaves
//! its results in a mounted directory.

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
};

use crate::{error::Result, tools};

pub(crate) struct Podman;

impl Podman {
    pub(crate) fn find() -> Result<Self> {
        tools::need(&[("podman", "podman"), ("skopeo", "skopeo")])?;
        Ok(Self)
    }

    /// Runs `command` in the image `tag` of `layout`, with `work` mounted at `/mnt`.
    #[expect(clippy::unused_self, reason = "the value says that podman is there")]
    pub(crate) fn run(
        &self,
        what: &str,
        layout: &Path,
        tag: &str,
        command: &str,
        work: &Path,
        log: &Path,
    ) -> Result {
        // Not `podman pull`: it makes a name of the layout's path, and not every path makes one.
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
        build
            .arg(format!("--volume={}:/mnt", work.display()))
            .arg(format!("--tag={result}"))
            .arg(context.path());
        let done = tools::run_logged(what, &build, log);
        // The images are of no further use; what counts lies in the mounted directory.
        let _ = Command::new("podman")
            .args(["rmi", "--force", &result, &image])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        done
    }
}
