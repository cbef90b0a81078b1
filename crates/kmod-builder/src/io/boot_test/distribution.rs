use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use kmod_compat::Arch;
use kmod_query::{PinnedImage, Upstream};

use super::{Distribution, GuestError, GuestSources};
use crate::io::inputs;
use crate::io::podman::{Build, Podman, Reuse};
use crate::io::progress::ProgressSection;
use crate::io::store::ImageStore;
use crate::model::Target;
use crate::model::boot_test::{InitramfsContents, LibraryClosure, STAGE, containerfile, search_paths};
use crate::model::builder_policy::BuilderPolicy;
use crate::model::elf::ElfFile;
use crate::model::image::ImageRef;

const BUSYBOX: &str = "busybox";

impl Distribution {
    /// The image in which the packages were built, by their inputs; if unknown, the newest of the release.
    pub async fn of(
        image: &ImageRef,
        upstream: &Upstream,
        target: &Target,
        builders: &BuilderPolicy,
    ) -> Result<Self, GuestError> {
        if let Ok(images) = ImageStore::open(&image.store).await {
            match inputs::of(&images, image, None).await {
                Ok((_, inputs)) => {
                    builders.check(&inputs.builder_image)?;
                    return Ok(Self::Image(inputs.builder_image));
                }
                Err(error) => tracing::info!(%error, "looking the builder image up"),
            }
        }
        let fedora = target.kernel.fedora().ok_or_else(|| GuestError::NoFedora(target.kernel.clone()))?;
        Ok(Self::Image(upstream.builder_image(fedora).await?))
    }
}

/// Exports busybox and the missing libraries, with their dependencies, through podman.
pub(super) async fn export(
    image: &PinnedImage,
    closure: &LibraryClosure,
    sources: GuestSources<'_>,
    section: &mut ProgressSection,
) -> Result<PathBuf, GuestError> {
    let [file, context, destination] =
        ["Containerfile", "context", "distribution"].map(|name| sources.scratch.join(name));
    let write = || {
        fs::create_dir_all(&context)?;
        fs::create_dir_all(sources.log.parent().unwrap_or(Path::new(".")))?;
        fs::write(&file, containerfile(image, &closure.missing()).map_err(io::Error::other)?)
    };
    write().map_err(|error| GuestError::Io { path: file.clone(), error })?;
    let podman = Podman::new(sources.isolation);
    let build = Build {
        containerfile: &file,
        context: &context,
        stage: STAGE,
        destination: &destination,
        log: sources.log,
        compiler_cache: None,
        keep_containers: false,
        jobs: None,
        reuse: Reuse::Layers,
    };
    podman.build(image, build, section).await?;
    Ok(destination)
}

/// Adds busybox and every missing library from a root file system.
pub(super) fn complete(
    root: &Path,
    arch: Arch,
    closure: &mut LibraryClosure,
    contents: &mut InitramfsContents,
) -> Result<(), GuestError> {
    let (busybox, elf) = find(root, BUSYBOX, arch)?;
    closure.add(&elf);
    contents.programs.insert(BUSYBOX.to_owned(), busybox);
    while let Some(name) = closure.missing().into_iter().next() {
        let (bytes, elf) = find(root, &name, arch)?;
        closure.provide(&name, &elf);
        contents.libraries.insert(name, bytes);
    }
    Ok(())
}

fn find(root: &Path, name: &str, arch: Arch) -> Result<(Vec<u8>, ElfFile), GuestError> {
    for place in search_paths(name) {
        let path = root.join(place);
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if [io::ErrorKind::NotFound, io::ErrorKind::NotADirectory].contains(&error.kind()) => {
                continue;
            }
            Err(error) => return Err(GuestError::Io { path, error }),
        };
        // A system can have libraries for several architectures.
        if let Ok(elf) = ElfFile::parse(bytes.as_slice())
            && elf.arch == Some(arch)
        {
            return Ok((bytes, elf));
        }
    }
    Err(GuestError::NotInDistribution { name: name.to_owned(), arch, root: root.to_owned() })
}
