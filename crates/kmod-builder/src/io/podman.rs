//! podman, which builds.

use std::collections::VecDeque;
use std::fs::File;
use std::io::Write as _;
use std::num::NonZeroU16;
use std::path::{Path, PathBuf};

use kmod_query::PinnedImage;

use super::cmd::{Cmd, CmdError};
use super::progress::ProgressSection;
use crate::model::podman::{self, Isolation, Step};

/// How many lines of a failed stage's log are shown.
const TAIL: usize = 25;

/// podman on this machine.
#[derive(Clone, Debug)]
pub struct Podman {
    isolation: Isolation,
}

/// One run of `podman build`.
#[derive(Clone, Copy, Debug)]
pub struct Build<'a> {
    /// The rendered file.
    pub containerfile: &'a Path,
    /// The directory with everything that the file copies.
    pub context: &'a Path,
    /// The stage whose files are wanted.
    pub stage: &'a str,
    /// The directory that gets the files of that stage.
    pub destination: &'a Path,
    /// The file that gets the whole log.
    pub log: &'a Path,
    /// A directory that keeps compiled objects between builds.
    pub compiler_cache: Option<&'a Path>,
    /// How many jobs compile at the same time; as many as there are processors if none is given.
    pub jobs: Option<NonZeroU16>,
    /// Whether steps that podman has done before are not done again.
    pub reuse: Reuse,
    /// Leave the containers of the build behind, to look into them.
    pub keep_containers: bool,
}

/// What becomes of the layers that podman keeps of each step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reuse {
    /// A step that was done before is not done again, and the next build finds those of this one.
    Layers,
    /// Every step is done, and podman keeps nothing of it.
    Nothing,
}

impl Podman {
    /// Finds out how builds can be isolated here, with the image that is needed anyway.
    ///
    /// `BUILDAH_ISOLATION`, which podman honours itself, decides if it is set. Otherwise a container proper is tried,
    /// and a change of root where the machine does not let one start (`crun: setrlimit RLIMIT_NOFILE: Operation not
    /// permitted` is such an answer).
    pub async fn probe(image: &PinnedImage, section: &ProgressSection) -> Result<Self, PodmanError> {
        match super::environment::variable("BUILDAH_ISOLATION").as_deref() {
            Some("chroot") => return Ok(Self { isolation: Isolation::Chroot }),
            Some("oci" | "rootless") => return Ok(Self { isolation: Isolation::Oci }),
            _ => {}
        }
        let oci = Self { isolation: Isolation::Oci };
        let Err(refusal) = oci.output_of(image, "true").await else { return Ok(oci) };
        let chroot = Self { isolation: Isolation::Chroot };
        // If that does not work either, the first answer is the one to mend.
        chroot.output_of(image, "true").await.map_err(|_| refusal)?;
        section.line("containers cannot be started on this machine: building with a change of root instead (--isolation=chroot)");
        Ok(chroot)
    }

    /// What a command prints when it runs in an image.
    ///
    /// By `podman build` and not by `podman run`, because only the former works under every isolation.
    pub async fn output_of(&self, image: &PinnedImage, command: &str) -> Result<String, PodmanError> {
        const MARK: &str = "zfs-kmods-output:";
        let folder = tempfile::tempdir()?;
        let containerfile = folder.path().join("Containerfile");
        std::fs::write(&containerfile, format!("FROM {image}\nRUN {command} | sed 's/^/{MARK}/'\n"))?;
        let cmd = self
            .common(&containerfile)
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
            error => error.into(),
        })?;
        let lines: Vec<_> = output.lines().filter_map(|line| line.strip_prefix(MARK)).collect();
        Ok(lines.join("\n"))
    }

    /// Builds one stage and hands over its files.
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
                // A full disk shows in the build itself soon enough.
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
        Err(PodmanError::Stage {
            stage: if stage.is_empty() { build.stage.to_owned() } else { stage },
            tail,
            log: build.log.to_owned(),
        })
    }

    fn build_command(&self, image: &PinnedImage, build: Build<'_>) -> Cmd {
        let mut output = std::ffi::OsString::from("type=local,dest=");
        output.push(build.destination);
        let mut cmd =
            self.common(build.containerfile).args(["--target", build.stage, "--output"]).arg(output);
        // Kept containers would otherwise hold gigabytes after each failed build.
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
            // The name is rpm's own (its macro `_smp_build_ncpus`). In the Containerfile it would be an input.
            cmd = cmd.arg("--env").arg(format!("RPM_BUILD_NCPUS={jobs}"));
        }
        if build.reuse == Reuse::Nothing {
            cmd = cmd.args(["--no-cache", "--layers=false", "--iidfile"]).arg(image_file(build));
        }
        cmd.args(tls_verify(image)).arg(build.context)
    }

    fn common(&self, containerfile: &Path) -> Cmd {
        Cmd::new("podman")
            .arg("build")
            .arg(format!("--isolation={}", self.isolation))
            // dnf must reach its repositories, also where they are on this machine.
            .arg("--network=host")
            .arg("--file")
            .arg(containerfile)
    }
}

/// Where podman writes which image it made of the stage whose files are wanted: it makes one although nobody asked.
fn image_file(build: Build<'_>) -> PathBuf {
    build.destination.with_extension("image")
}

/// Removes the image that is named in a file. If that fails, it only takes space until the next `podman image prune`.
async fn remove_image(file: &Path) {
    let Ok(image) = std::fs::read_to_string(file) else { return };
    if let Err(error) = Cmd::new("podman").args(["rmi", "--force", "--no-prune", image.trim()]).read().await {
        tracing::warn!(%error, "the build's image stays");
    }
}

/// Plain HTTP is spoken with this machine only.
fn tls_verify(image: &PinnedImage) -> Option<&'static str> {
    image.store.is_loopback().then_some("--tls-verify=false")
}

/// podman did not do it.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum PodmanError {
    /// A stage of the build failed.
    #[error("the build failed in stage `{stage}`; the end of its log:\n\n{tail}\n")]
    #[diagnostic(help("the whole log is in {}", log.display()))]
    Stage {
        /// The stage's name in `Containerfile.in`.
        stage: String,
        /// The last lines that the stage wrote.
        tail: String,
        /// The file with everything.
        log: PathBuf,
    },
    /// The registry does not have the image any more.
    #[error("the image {image} is gone from its registry")]
    #[diagnostic(help(
        "what is pinned to it cannot be built any more; plan again for what is there now, or bring the image back"
    ))]
    Gone {
        /// The image.
        image: String,
    },
    /// podman could not be run, or refused.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Cmd(#[from] CmdError),
    /// Files for or from podman.
    #[error("the build's files could not be written")]
    Io(#[from] std::io::Error),
}

#[cfg(test)]
mod tests {
    use super::*;

    fn argv(image: &str, keep_containers: bool, jobs: u16, reuse: Reuse) -> String {
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
        Podman { isolation: Isolation::Chroot }.build_command(&image, build).to_string()
    }

    #[test]
    fn command_lines() {
        insta::assert_snapshot!(argv("registry.example.org/fedora", false, 0, Reuse::Layers), @"podman build --isolation=chroot --network=host --file /b/Containerfile --target kmod-rpms --output type=local,dest=/b/kmod --rm --force-rm --volume /c/ccache:/ccache /b/context");
        insta::assert_snapshot!(argv("127.0.0.1:5000/fedora", true, 0, Reuse::Layers), @"podman build --isolation=chroot --network=host --file /b/Containerfile --target kmod-rpms --output type=local,dest=/b/kmod --rm=false --force-rm=false --volume /c/ccache:/ccache --tls-verify=false /b/context");
        insta::assert_snapshot!(argv("registry.example.org/fedora", false, 3, Reuse::Nothing), @"podman build --isolation=chroot --network=host --file /b/Containerfile --target kmod-rpms --output type=local,dest=/b/kmod --rm --force-rm --volume /c/ccache:/ccache --env RPM_BUILD_NCPUS=3 --no-cache --layers=false --iidfile /b/kmod.image /b/context");
    }
}
