//! Checks of the list of packages, their capabilities and their content.

use super::{CheckSubject, Failures};
use crate::model::compose::FEDORA;
use crate::model::packages::{ExpectedPackages, LayerKind, Package};

pub(super) fn whole(subject: &CheckSubject<'_>) -> Vec<String> {
    let failures = subject.inspection.packages.iter().filter_map(|found| {
        let reason = found.content.as_ref().err()?;
        Some(format!("{}: {reason}", found.path))
    });
    failures.collect()
}

/// A kernel package in the image would be installed beside the host's kernel.
pub(super) fn no_kernel(subject: &CheckSubject<'_>) -> Vec<String> {
    let kernels = packages(subject).filter(|package| is_kernel(&package.name));
    kernels.map(|package| format!("{} is part of a kernel", package.file_name())).collect()
}

fn is_kernel(name: &str) -> bool {
    name == "kernel" || name.starts_with("kernel-")
}

pub(super) fn complete(subject: &CheckSubject<'_>) -> Failures {
    let there = |name: &str, source: bool| {
        packages(subject).any(|package| package.name == name && package.source == source)
    };
    let missing: Vec<_> = expected(subject)
        .required
        .into_iter()
        .filter(|(name, source)| !there(name, *source))
        .map(|(name, source)| if source { format!("{name} (source)") } else { name })
        .collect();
    if missing.is_empty() {
        return Ok(Vec::new());
    }
    let sentence = format!("missing: {}", missing.join(", "));
    if subject.inspection.packages.iter().any(|found| found.content.is_err()) {
        return Err(format!("{sentence}, or among the RPMs that cannot be read"));
    }
    Ok(vec![sentence])
}

pub(super) fn nothing_else(subject: &CheckSubject<'_>) -> Vec<String> {
    let expected = expected(subject);
    let kernel = &subject.target.kernel;
    let mut failures = Vec::new();
    for package in packages(subject) {
        let (name, file) = (package.name.as_str(), package.file_name());
        if expected.allows(name, package.source) {
            continue;
        }
        // The most specific explanation of an unexpected package.
        failures.push(match name {
            "zfs-dkms" => format!("{file} would compile modules on the host, beside those of this image"),
            "zfs-initramfs" => format!("{file} is for Debian's initramfs, which Fedora does not have"),
            _ if is_kernel(name) => format!("{file} is part of a kernel"),
            _ if name.starts_with("kmod-zfs-") => {
                format!("{file} is for another kernel than {kernel}")
            }
            _ => format!("{file} is not a package of OpenZFS {}", subject.target.zfs),
        });
    }
    failures
}

/// Header, file name and directory must agree.
pub(super) fn names(subject: &CheckSubject<'_>) -> Vec<String> {
    let mut failures = Vec::new();
    let zfs = subject.target.zfs.to_string();
    let labels = subject.inspection.config.as_ref().map(|config| &config.config.labels);
    let dist = labels.ok().and_then(|labels| labels.get(FEDORA)).map(|fedora| format!(".fc{fedora}"));
    let release = packages(subject).find(|package| package.name == "zfs").map(|package| &package.release);
    for found in &subject.inspection.packages {
        let Ok((package, _)) = &found.content else { continue };
        let path = &found.path;
        if *path != package.path() {
            failures.push(format!("{path} has the header of {}", package.path()));
        }
        if LayerKind::ALL.get(found.layer) != Some(&package.part()) {
            failures.push(format!("{path} is in the layer of the other packages"));
        }
        if package.version != zfs || package.epoch.is_some() {
            failures.push(format!("{path} is of version {}, not {zfs}", package.evr()));
        }
        if release.is_some_and(|release| *release != package.release) {
            failures.push(format!("{path} is of another release than zfs"));
        }
        if dist.as_ref().is_some_and(|dist| !package.release.ends_with(dist.as_str())) {
            failures.push(format!("{path} was not built on the Fedora that the image's label names"));
        }
    }
    failures
}

pub(super) fn architecture(subject: &CheckSubject<'_>) -> Vec<String> {
    let arch = subject.target.arch().rpm();
    // Scripts of dracut and Python; everything else is compiled.
    let scripts = |package: &Package| package.name == "zfs-dracut" || package.name.ends_with("-pyzfs");
    let others = packages(subject).filter(|package| {
        let independent = package.arch == "noarch" && scripts(package);
        !package.source && package.arch != arch && !independent
    });
    let failure = |package: &Package| format!("{} is for {}, not {arch}", package.name, package.arch);
    others.map(failure).collect()
}

/// If OpenZFS's kmodtool finds `/lib/modules/K/build/Makefile`, it treats the kernel as custom, and the package
/// requires no kernel at all (since OpenZFS 2.2.0, commit 1eca40f3ad).
pub(super) fn kernel_requirement(subject: &CheckSubject<'_>) -> Failures {
    let kmod = subject.kmod()?;
    let kernel = subject.target.kernel.to_string();
    let requirements: Vec<_> = kmod.requires("kernel-uname-r").collect();
    if requirements.iter().any(|requirement| requirement.exactly() == Some(kernel.as_str())) {
        return Ok(Vec::new());
    }
    Ok(vec![match requirements.first() {
        Some(requirement) => format!("{} requires `{requirement}`, which is another kernel", kmod.name),
        None => format!(
            "{} does not require `kernel-uname-r = {kernel}`: kernel-core was present in the builder, and \
             kmodtool took its kernel for a home-made one, so these modules would be installed beside any kernel",
            kmod.name
        ),
    }])
}

pub(super) fn depmod(subject: &CheckSubject<'_>) -> Failures {
    let kmod = subject.kmod()?;
    let kernel = subject.target.kernel.to_string();
    let mut failures = Vec::new();
    for name in ["%post", "%postun"] {
        let text = kmod.scriptlets.get(name).map(String::as_str).unwrap_or_default();
        if text.contains("uname -r") {
            failures.push(format!(
                "the {name} of {} runs depmod only on a host that runs {kernel} already: kernel-core was present in \
                 the builder; installed into an image, the modules would not be found",
                kmod.name
            ));
        } else if !(text.contains("depmod") && text.contains(&kernel)) {
            failures.push(format!("the {name} of {} does not run depmod for {kernel}", kmod.name));
        }
    }
    Ok(failures)
}

pub(super) fn kmod_provides(subject: &CheckSubject<'_>) -> Failures {
    let kmod = subject.kmod()?;
    let evr = format!("{}-{}", subject.target.zfs, kmod.release);
    if kmod.provides("zfs-kmod").any(|capability| capability.exactly() == Some(evr.as_str())) {
        return Ok(Vec::new());
    }
    Ok(vec![format!("{} does not provide `zfs-kmod = {evr}`", kmod.name)])
}

pub(super) fn userland_requirement(subject: &CheckSubject<'_>) -> Failures {
    let package = subject.package("zfs").ok_or("the image has no package zfs")?;
    let zfs = subject.target.zfs.to_string();
    let requirements: Vec<_> = package.requires("zfs-kmod").collect();
    if requirements.iter().any(|requirement| requirement.exactly() == Some(zfs.as_str())) {
        return Ok(Vec::new());
    }
    Ok(vec![match requirements.first() {
        Some(requirement) => format!("zfs requires `{requirement}`, not `zfs-kmod = {zfs}`"),
        None => format!("zfs does not require `zfs-kmod = {zfs}`"),
    }])
}

pub(super) fn modules(subject: &CheckSubject<'_>) -> Failures {
    let kmod = subject.kmod()?;
    let extra = format!("/lib/modules/{}/extra/", subject.target.kernel);
    // Fedora's /lib is a link to /usr/lib; packages may use either.
    let in_place = |path: &str| path.strip_prefix("/usr").unwrap_or(path).starts_with(&extra);
    let mut failures = Vec::new();
    for name in ["spl", "zfs"] {
        let is_it = |path: &str| {
            let file_name = path.rsplit_once('/').map_or(path, |(_, file_name)| file_name);
            in_place(path) && file_name.split_once('.').is_some_and(|(stem, _)| stem == name)
        };
        if !kmod.modules().any(is_it) {
            failures.push(format!("{} has no {name}.ko below {extra}", kmod.name));
        }
    }
    for package in packages(subject) {
        let strays = package.modules().filter(|path| package.name != kmod.name || !in_place(path));
        failures.extend(strays.map(|path| format!("{} brings {path}", package.name)));
    }
    Ok(failures)
}

pub(super) fn vermagic(subject: &CheckSubject<'_>) -> Failures {
    let kernel = subject.target.kernel.to_string();
    let mut failures = Vec::new();
    let mut count = 0;
    for (package, modules) in &subject.packages {
        let name = &package.name;
        for path in package.modules() {
            count += 1;
            let Some(module) = modules.iter().find(|module| module.path == path) else {
                failures.push(format!("{name} names {path}, but does not contain it"));
                continue;
            };
            if module.arch != Some(subject.target.arch()) {
                failures.push(format!("{path} is not compiled for {}", subject.target.arch()));
            }
            // The release, then the kernel's options; a kernel compares both.
            let built_for = module.vermagic.as_deref().and_then(|text| text.split(' ').next());
            match built_for {
                Some(release) if release == kernel => {}
                Some(release) => failures.push(format!("{path} was built for {release}, not for {kernel}")),
                None => failures.push(format!("{path} does not say for which kernel it was built")),
            }
        }
    }
    if count == 0 {
        return Err("the image has no kernel module".to_owned());
    }
    Ok(failures)
}

fn packages<'a>(subject: &'a CheckSubject<'_>) -> impl Iterator<Item = &'a Package> {
    subject.packages.iter().map(|(package, _)| package)
}

fn expected(subject: &CheckSubject<'_>) -> ExpectedPackages {
    ExpectedPackages::new(&subject.target, packages(subject).map(|package| package.name.as_str()))
}
