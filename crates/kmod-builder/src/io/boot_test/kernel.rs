use std::collections::BTreeSet;
use std::convert::Infallible;
use std::path::PathBuf;
use std::str::FromStr;

use kmod_compat::KernelRelease;
use kmod_query::KernelPackage;

use super::{GuestError, GuestSources};
use crate::io::kernel_rpm::{self, KernelRpmRequest};
use crate::io::progress::ProgressSection;
use crate::io::{blocking, decompress, rpm};
use crate::model::boot_test::{KernelModule, ModuleSet, PackageSource};
use crate::model::packages::Package;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PackageLocation {
    Upstream,
    File(PathBuf),
    Url(String),
}

impl FromStr for PackageLocation {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(if text.contains("://") { Self::Url(text.to_owned()) } else { Self::File(text.into()) })
    }
}

#[derive(Clone, Debug)]
pub struct GuestKernel {
    pub vmlinuz: Vec<u8>,
    pub module_set: ModuleSet,
    pub origins: Vec<PackageSource>,
    release: KernelRelease,
}

impl GuestKernel {
    pub async fn fetch(
        sources: GuestSources<'_>,
        release: &KernelRelease,
        section: &ProgressSection,
    ) -> Result<Self, GuestError> {
        let (file, from) = obtain(KernelPackage::Core, release, sources, section).await?;
        let (kernel, built_in) =
            (format!("/lib/modules/{release}/vmlinuz"), format!("/lib/modules/{release}/modules.builtin"));
        let ends = [kernel.clone(), built_in.clone()];
        let read = move |_: &blocking::CancelFlag| {
            rpm::files(&file, |path| ends.iter().any(|end| path.ends_with(end.as_str())))
        };
        let (package, files) = blocking::run(read).await?;
        let origin = origin(KernelPackage::Core, release, &package, from)?;
        let find = |end: &str| files.iter().find(|(path, _)| path.ends_with(end)).map(|(_, bytes)| bytes);
        let vmlinuz = find(&kernel)
            .ok_or_else(|| GuestError::NoFile { nevra: package.nevra(), path: kernel.clone() })?;
        let vmlinuz = decompress::kernel(vmlinuz).map_err(|error| GuestError::file(&kernel, error))?;
        let built_in =
            find(&built_in).map_or_else(String::new, |bytes| String::from_utf8_lossy(bytes).into());
        Ok(Self {
            vmlinuz,
            module_set: ModuleSet::new(&built_in),
            origins: vec![origin],
            release: release.clone(),
        })
    }

    /// Adds the modules that these depend on; downloads their package only if there are any.
    pub async fn complete(
        &mut self,
        sources: GuestSources<'_>,
        goals: &[&str],
        section: &ProgressSection,
    ) -> Result<(), GuestError> {
        if self.module_set.missing(goals).is_empty() {
            return Ok(());
        }
        let (file, from) = obtain(KernelPackage::ModulesCore, &self.release, sources, section).await?;
        let mut looked_for = BTreeSet::new();
        loop {
            // A module's dependencies are known only once it is read, so the package is read several times.
            let missing: BTreeSet<_> =
                self.module_set.missing(goals).difference(&looked_for).cloned().collect();
            if missing.is_empty() {
                return Ok(());
            }
            looked_for.extend(missing.iter().cloned());
            let file = file.clone();
            let (package, modules) = blocking::run(move |_| -> Result<_, GuestError> {
                let wanted =
                    |path: &str| Package::is_module(path) && missing.contains(&KernelModule::name(path));
                let (package, files) = rpm::files(&file, wanted)?;
                let modules: Result<Vec<_>, _> =
                    files.into_iter().map(|(path, bytes)| module(&path, &bytes)).collect();
                Ok((package, modules?))
            })
            .await?;
            if self.origins.len() == 1 {
                self.origins.push(origin(KernelPackage::ModulesCore, &self.release, &package, from.clone())?);
            }
            for module in modules {
                self.module_set.add(module);
            }
        }
    }
}

async fn obtain(
    package: KernelPackage,
    release: &KernelRelease,
    sources: GuestSources<'_>,
    section: &ProgressSection,
) -> Result<(PathBuf, String), GuestError> {
    let location = match package {
        KernelPackage::ModulesCore => sources.modules,
        KernelPackage::Core | KernelPackage::Devel => sources.core,
    };
    // Only the Fedora release tells where the package is, and which key signs it.
    let fedora = || release.fedora().ok_or_else(|| GuestError::NoFedora(release.clone()));
    let (fedora, url) = match location {
        // The user's own file is not checked for a signature.
        PackageLocation::File(path) => return Ok((path.clone(), path.display().to_string())),
        PackageLocation::Url(url) => (fedora()?, url.clone()),
        PackageLocation::Upstream => {
            let fedora = fedora()?;
            (fedora, sources.upstream.kernel_package(package, release, fedora).await?.url)
        }
    };
    let nevra = package.nevra(release);
    let file = sources.scratch.join(format!("{nevra}.rpm"));
    let request = KernelRpmRequest { url: &url, nevra: &nevra, fedora, digest: None };
    kernel_rpm::fetch(request, &file, sources.packages, section).await?;
    Ok((file, url))
}

/// Requires the expected name, version and architecture.
fn origin(
    wanted: KernelPackage,
    release: &KernelRelease,
    package: &Package,
    from: String,
) -> Result<PackageSource, GuestError> {
    let (expected, found) = (wanted.nevra(release).to_string(), package.nevra());
    if found == expected {
        Ok(PackageSource { nevra: found, from, digest: package.digest.clone() })
    } else {
        Err(GuestError::OtherPackage { from, expected, found })
    }
}

pub(super) fn module(path: &str, bytes: &[u8]) -> Result<KernelModule, GuestError> {
    let bytes = decompress::module(path, bytes).map_err(|error| GuestError::file(path, error))?;
    KernelModule::parse(path, bytes).map_err(|error| GuestError::file(path, error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_package_location_is_a_file_or_a_url() {
        assert_eq!("https://a/b.rpm".parse(), Ok(PackageLocation::Url("https://a/b.rpm".into())));
        assert_eq!("./b.rpm".parse(), Ok(PackageLocation::File("./b.rpm".into())));
    }
}
