use std::collections::BTreeMap;

use rpm::{Dependency, DependencyFlags, Error, IndexTag, PackageMetadata};

use super::RpmError;
use crate::model::Digest;
use crate::model::packages::{Capability, Package, VersionOperator};

pub(super) fn package(metadata: &PackageMetadata, digest: Digest, size: u64) -> Result<Package, RpmError> {
    let text = |value: Result<&str, Error>| value.map(str::to_owned).map_err(RpmError::from_crate);
    Ok(Package {
        name: text(metadata.get_name())?,
        epoch: optional(metadata.get_epoch())?,
        version: text(metadata.get_version())?,
        release: text(metadata.get_release())?,
        arch: text(metadata.get_arch())?,
        source: metadata.is_source_package(),
        size,
        digest,
        installed_size: metadata.get_installed_size().map_err(RpmError::from_crate)?,
        summary: text(metadata.get_summary())?,
        license: text(metadata.get_license())?,
        url: optional(metadata.get_url().map(str::to_owned))?,
        source_rpm: optional(metadata.get_source_rpm().map(str::to_owned))?,
        build_time: optional(metadata.get_build_time())?,
        provides: capabilities(metadata.get_provides())?,
        requires: capabilities(metadata.get_requires())?,
        scriptlets: scriptlets(metadata)?,
        files: files(metadata)?,
    })
}

/// Absolute paths; source packages have names without a directory.
pub(super) fn files(metadata: &PackageMetadata) -> Result<Vec<String>, RpmError> {
    let paths = metadata.get_file_paths_split().map_err(RpmError::from_crate)?;
    Ok(paths.into_iter().map(|(directory, name)| format!("{directory}{name}")).collect())
}

pub(super) fn optional<T>(value: Result<T, Error>) -> Result<Option<T>, RpmError> {
    match value {
        Ok(value) => Ok(Some(value)),
        Err(Error::TagNotFound(_)) => Ok(None),
        Err(error) => Err(RpmError::from_crate(error)),
    }
}

fn capabilities(dependencies: Result<Vec<Dependency>, Error>) -> Result<Vec<Capability>, RpmError> {
    let capability = |dependency: Dependency| {
        let Dependency { name, flags, version } = dependency;
        let has = |flag| flags.contains(flag);
        let comparison =
            match (has(DependencyFlags::LESS), has(DependencyFlags::EQUAL), has(DependencyFlags::GREATER)) {
                (true, false, _) => Some(VersionOperator::Less),
                (true, true, _) => Some(VersionOperator::LessOrEqual),
                (false, true, false) => Some(VersionOperator::Equal),
                (false, true, true) => Some(VersionOperator::GreaterOrEqual),
                (false, false, true) => Some(VersionOperator::Greater),
                (false, false, false) => None,
            };
        Capability { name, version: comparison.map(|comparison| (comparison, version)) }
    };
    Ok(dependencies.map_err(RpmError::from_crate)?.into_iter().map(capability).collect())
}

fn scriptlets(metadata: &PackageMetadata) -> Result<BTreeMap<&'static str, String>, RpmError> {
    let tags = [
        ("%pre", IndexTag::RPMTAG_PREIN),
        ("%post", IndexTag::RPMTAG_POSTIN),
        ("%preun", IndexTag::RPMTAG_PREUN),
        ("%postun", IndexTag::RPMTAG_POSTUN),
        ("%posttrans", IndexTag::RPMTAG_POSTTRANS),
    ];
    let text = |tag| Ok(optional(metadata.header.get_entry_data_as_string(tag))?.map(str::to_owned));
    let found = tags.into_iter().map(|(name, tag)| Ok(text(tag)?.map(|text| (name, text))));
    found.filter_map(Result::transpose).collect()
}
