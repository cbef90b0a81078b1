use std::collections::VecDeque;
use std::fs::File;
use std::io::Write as _;
use std::num::NonZeroU16;
use std::path::{Path, PathBuf};

use kmod_query::PinnedImage;

use super::cmd::{Cmd, CmdError};
use super::progress::ProgressSection;
use crate::model::podman::{self, Isolation, Step};

/// Lines shown of a failed stage's log.
const TAIL: usize = 25;

/// podman's own variables and those of its libraries (podman(1), containers-registries.conf(5), storage.conf(5)).
const VARIABLES: &[&str] = &[
    "BUILDAH_*",
    "CONTAINER_*",
    "CONTAINERS_*",
    "_CONTAINERS_*",
    "STORAGE_*",
    "REGISTRY_AUTH_FILE",
    "DOCKER_CONFIG",
    "XDG_*",
    "DBUS_SESSION_BUS_ADDRESS",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
    "http_proxy",
    "https_proxy",
    "no_proxy",
    "SSL_CERT_*",
];

#[derive(Clone, Copy, Debug)]
pub struct Podman {
    isolation: Isolation,
}

#[derive(Clone, Copy, Debug)]
pub struct Build<'a> {
    pub containerfile: &'a Path,
    /// Everything that the file copies.
    pub context: &'a Path,
    /// The stage whose files are exported.
    pub stage: &'a str,
    pub destination: &'a Path,
    pub log: &'a Path,
    /// Keeps compiled objects between builds.
    pub compiler_cache: Option<&'a Path>,
    /// Parallel compile jobs; `None` for one per processor.
    pub jobs: Option<NonZeroU16>,
    pub reuse: Reuse,
    pub keep_containers: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reuse {
    /// Reuses cached steps and caches those of this build.
    Layers,
    /// Runs every step and caches none.
    Nothing,
}

impl Podman {
    pub const fn new(isolation: Isolation) -> Self {
        Self { isolation }
    }

    /// Output of a command in an image.
    ///
    /// Uses `podman build`, because `podman run` does not work under every isolation. The command has no network.
    pub async fn output_of(&self, image: &PinnedImage, command: &str) -> Result<String, PodmanError> {
        const MARK: &str = "zfs-kmods-output:";
        let folder = tempfile::tempdir()?;
        let containerfile = folder.path().join("Containerfile");
        std::fs::write(&containerfile, format!("FROM {image}\nRUN {command} | sed 's/^/{MARK}/'\n"))?;
        let cmd = self
            .common(&containerfile)
            .arg("--network=none")
            .args(["--no-cache", "--force-rm", "--iidfile"])
            .arg(folder.path().join("image"))
            .args(tls_verify(image))
            .arg(folder.path());
        let output = cmd.read().await;
        remove_image(&folder.path().join("image")).await;
        let output = output.map_err(|error| match error {
            CmdError::Failed { tail, .. } if podman::says_gone(&tail) => {
                PodmanError::Gone { image: image.to_string() }
            }
            CmdError::Failed { tail, .. } if podman::says_no_container(&tail) => {
                PodmanError::NoContainers { tail }
            }
            error => error.into(),
        })?;
        let lines: Vec<_> = output.lines().filter_map(|line| line.strip_prefix(MARK)).collect();
        Ok(lines.join("\n"))
    }

    pub async fn build(
        &self,
        image: &PinnedImage,
        build: Build<'_>,
        section: &mut ProgressSection,
    ) -> Result<(), PodmanError> {
        let cmd = self.build_command(image, build);
        let mut log = File::create(build.log)?;
        let mut tail = VecDeque::new();
        let mut names = Vec::new();
        let mut stage = String::new();
        let finished = cmd
            .stream(|line| {
                if let Some(step) = Step::parse(line.text()) {
                    names.resize(names.len().max(step.stage + 1), None);
                    if let Some(name) = step.stage_name {
                        names[step.stage] = Some(name.to_owned());
                    }
                    let name = names[step.stage].clone().unwrap_or_else(|| step.stage.to_string());
                    if name != stage {
                        section.part(&format!("stage {name} ({} of {})", step.stage, step.stages));
                        tail.clear();
                        stage = name;
                    }
                }
                section.line(line.text());
                // Ignored, because a full disk fails the build itself.
                writeln!(log, "{}", line.text()).ok();
                tail.push_back(line.text().to_owned());
                if tail.len() > TAIL {
                    tail.pop_front();
                }
            })
            .await?;
        if build.reuse == Reuse::Nothing {
            remove_image(&image_file(build)).await;
        }
        if finished.status.success() {
            return Ok(());
        }
        let tail = Vec::from(tail).join("\n");
        if podman::says_gone(&tail) {
            return Err(PodmanError::Gone { image: image.to_string() });
        }
        if podman::says_no_container(&tail) {
            return Err(PodmanError::NoContainers { tail });
        }
        Err(PodmanError::Stage {
            stage: if stage.is_empty() { build.stage.to_owned() } else { stage },
            tail,
            log: build.log.to_owned(),
        })
    }

    fn build_command(self, image: &PinnedImage, build: Build<'_>) -> Cmd {
        let mut output = std::ffi::OsString::from("type=local,dest=");
        output.push(build.destination);
        let mut cmd =
            self.common(build.containerfile).args(["--target", build.stage, "--output"]).arg(output);
        if self.isolation == Isolation::Chroot {
            // There is no network namespace, so dnf needs the host's.
            cmd = cmd.arg("--network=host");
        }
        // Containers kept after failed builds would hold gigabytes.
        cmd = cmd.args(if build.keep_containers {
            ["--rm=false", "--force-rm=false"]
        } else {
            ["--rm", "--force-rm"]
        });
        if let Some(cache) = build.compiler_cache {
            let mut volume = cache.as_os_str().to_owned();
            volume.push(":/ccache");
            cmd = cmd.arg("--volume").arg(volume);
        }
        if let Some(jobs) = build.jobs {
            // rpm's own variable (macro `_smp_build_ncpus`). In the Containerfile, it would be an input.
            cmd = cmd.arg("--env").arg(format!("RPM_BUILD_NCPUS={jobs}"));
        }
        if build.reuse == Reuse::Nothing {
            cmd = cmd.args(["--no-cache", "--layers=false", "--iidfile"]).arg(image_file(build));
        }
        cmd.args(tls_verify(image)).arg(build.context)
    }

    fn common(self, containerfile: &Path) -> Cmd {
        let cmd = command().arg("build").arg(format!("--isolation={}", self.isolation));
        let cmd = match self.isolation {
            Isolation::Oci => cmd,
            // A process that may change its root again can leave the first one.
            Isolation::Chroot => cmd.arg("--cap-drop=CAP_SYS_CHROOT"),
        };
        cmd.arg("--file").arg(containerfile)
    }
}

fn command() -> Cmd {
    Cmd::new("podman").inherit(VARIABLES)
}

/// File for the id of the image that podman always creates of the exported stage.
fn image_file(build: Build<'_>) -> PathBuf {
    build.destination.with_extension("image")
}

/// A failure only costs space until the next `podman image prune`.
async fn remove_image(file: &Path) {
    let Ok(image) = std::fs::read_to_string(file) else { return };
    if let Err(error) = command().args(["rmi", "--force", "--no-prune", image.trim()]).read().await {
        tracing::warn!(%error, "the build's image stays");
    }
}

/// Plain HTTP is allowed for this machine only.
fn tls_verify(image: &PinnedImage) -> Option<&'static str> {
    image.store.is_loopback().then_some("--tls-verify=false")
}

#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum PodmanError {
    #[error("the build failed in stage `{stage}`; the end of its log:\n\n{tail}\n")]
    #[diagnostic(help("the whole log is in {}", log.display()))]
    Stage { stage: String, tail: String, log: PathBuf },
    #[error("the image {image} is gone from its registry")]
    #[diagnostic(help(
        "what is pinned to it cannot be built any more; plan again for what is there now, or bring the image back"
    ))]
    Gone { image: String },
    #[error("podman cannot start containers on this machine:\n\n{tail}\n")]
    #[diagnostic(help(
        "`--isolation chroot` (or BUILDAH_ISOLATION=chroot) builds without containers; what is built can then read and \
         write this machine's files, so use it only for inputs that you trust"
    ))]
    NoContainers { tail: String },
    #[error(transparent)]
    #[diagnostic(transparent)]
    Cmd(#[from] CmdError),
    #[error("the build's files could not be written")]
    Io(#[from] std::io::Error),
}

#[cfg(test)]
mod tests {
    use super::*;

    fn argv(image: &str, keep_containers: bool, jobs: u16, reuse: Reuse) -> String {
        argv_with(Isolation::Chroot, image, keep_containers, jobs, reuse)
    }

    fn argv_with(
        isolation: Isolation,
        image: &str,
        keep_containers: bool,
        jobs: u16,
        reuse: Reuse,
    ) -> String {
        let image = format!("{image}@sha256:{}", "0".repeat(64)).parse().unwrap();
        let build = Build {
            containerfile: Path::new("/b/Containerfile"),
            context: Path::new("/b/context"),
            stage: "kmod-rpms",
            destination: Path::new("/b/kmod"),
            log: Path::new("/b/log"),
            compiler_cache: Some(Path::new("/c/ccache")),
            keep_containers,
            jobs: NonZeroU16::new(jobs),
            reuse,
        };
        Podman::new(isolation).build_command(&image, build).to_string()
    }

    #[test]
    fn containers_have_their_own_network() {
        let line = argv_with(Isolation::Oci, "registry.example.org/fedora", false, 0, Reuse::Layers);
        assert!(line.starts_with("podman build --isolation=oci --file "), "{line}");
        assert!(!line.contains("--network"), "{line}");
    }

    #[test]
    fn command_lines() {
        insta::assert_snapshot!(argv("registry.example.org/fedora", false, 0, Reuse::Layers), @"podman build --isolation=chroot --cap-drop=CAP_SYS_CHROOT --file /b/Containerfile --target kmod-rpms --output type=local,dest=/b/kmod --network=host --rm --force-rm --volume /c/ccache:/ccache /b/context");
        insta::assert_snapshot!(argv("127.0.0.1:5000/fedora", true, 0, Reuse::Layers), @"podman build --isolation=chroot --cap-drop=CAP_SYS_CHROOT --file /b/Containerfile --target kmod-rpms --output type=local,dest=/b/kmod --network=host --rm=false --force-rm=false --volume /c/ccache:/ccache --tls-verify=false /b/context");
        insta::assert_snapshot!(argv("registry.example.org/fedora", false, 3, Reuse::Nothing), @"podman build --isolation=chroot --cap-drop=CAP_SYS_CHROOT --file /b/Containerfile --target kmod-rpms --output type=local,dest=/b/kmod --network=host --rm --force-rm --volume /c/ccache:/ccache --env RPM_BUILD_NCPUS=3 --no-cache --layers=false --iidfile /b/kmod.image /b/context");
    }
}
