use std::str::FromStr;

use kmod_compat::toml_document::{
    TomlDiagnostic, TomlDocumentError, elements, parse_document, remove_unknown_members,
};
use kmod_compat::{CompatMatrix, MatrixRows};
use toml::Spanned;

use super::members::{Value, files, limits, list, parsed, table};
use super::{IdentityConfig, PublisherConfig, TrustConfig, sources};
use crate::model::boot_test::BootTestLimits;
use crate::model::cleanup::RetentionLimits;
use crate::model::evidence::verify::{CertificateIdentity, CertificateIdentityError};
use crate::model::image::ImageLocation;

const MEMBERS: [&str; 10] = [
    "repository",
    "source",
    "lines",
    "arches",
    "trust",
    "retention",
    "boot-test",
    "release",
    "exclude",
    "openzfs-keys",
];

const REPOSITORY: &str = "`repository` is where images are published: \"docker://HOST/NAME\"";
const LINES: &str = "`lines` has lines of OpenZFS, the default one first: [\"2.4\", \"2.3\"]";
const ARCHES: &str = "`arches` has architectures: [\"x86_64\", \"aarch64\"]";
const KEYS: &str = "`openzfs-keys` has names of files with `[[key]]`, as compat/openzfs-keys.toml is one";
const TRUST: &str = "`[trust]` has `public-keys` (names of files in PEM), `[[trust.identity]]`, or both";
const IDENTITY: &str = "`[[trust.identity]]` has `repo` (owner/name), and optionally `workflow` (target.yml) and `ref` \
                        (refs/heads/main)";
const RETENTION: &str = "`[retention]` has the flags of `cleanup` without `--`: ages such as \"90d\", whole numbers, a percentage \
                         such as \"50%\"";
const BOOT_TEST: &str = "`[boot-test]` has `timeout` (\"300s\", \"5m\") and `memory` (\"1G\", \"1536M\")";

pub(super) fn parse(name: &str, text: &str) -> Result<PublisherConfig, TomlDocumentError> {
    let invalid = |diagnostics| TomlDocumentError::new("configuration", name, text, diagnostics);
    let matrix = CompatMatrix::embedded()?;
    let mut document = parse_document(text).map_err(invalid)?;
    let (mut config, mut diagnostics) = (PublisherConfig::default(), Vec::new());
    remove_unknown_members(&mut document, &MEMBERS, &mut diagnostics);
    let (mut releases, mut exclusions) = (None, None);
    for (key, value) in document {
        let faults = &mut diagnostics;
        match key.get_ref().as_ref() {
            "repository" => config.repository = repository(value, faults),
            "source" => config.sources = sources::read(value, faults),
            "lines" => config.lines = list(value, LINES, faults),
            "arches" => config.arches = list(value, ARCHES, faults),
            "trust" => config.trust = trust(value, faults),
            "retention" => config.retention = limits(value, &RetentionLimits::MEMBERS, RETENTION, faults),
            "boot-test" => config.boot_test = limits(value, &BootTestLimits::MEMBERS, BOOT_TEST, faults),
            "release" => releases = Some(value),
            "exclude" => exclusions = Some(value),
            _ => config.openzfs_keys = files(value, KEYS, faults),
        }
    }
    config.rows = MatrixRows::read(releases, exclusions, &matrix, &mut diagnostics);
    if diagnostics.is_empty() { Ok(config) } else { Err(invalid(diagnostics)) }
}

fn repository(value: Value<'_>, diagnostics: &mut Vec<TomlDiagnostic>) -> Option<ImageLocation> {
    Some(parsed::<RegistryLocation>(value, REPOSITORY, diagnostics)?.into_inner().0)
}

struct RegistryLocation(ImageLocation);

impl FromStr for RegistryLocation {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.parse() {
            Ok(ImageLocation::Layout(_)) => {
                Err(format!("`{text}` is a directory, not a repository in a registry"))
            }
            Ok(repository) => Ok(Self(repository)),
            Err(error) => Err(format!("{error}")),
        }
    }
}

fn trust(value: Value<'_>, diagnostics: &mut Vec<TomlDiagnostic>) -> TrustConfig {
    let (span, before) = (value.span(), diagnostics.len());
    let mut trust = TrustConfig::default();
    for (key, value) in table(value, &["public-keys", "identity"], TRUST, diagnostics).unwrap_or_default() {
        if key.get_ref() == "public-keys" {
            trust.public_keys = files(value, TRUST, diagnostics);
        } else {
            let rows = elements(value, "an array of tables", IDENTITY, diagnostics);
            trust.identities = rows.into_iter().filter_map(|row| identity(row, diagnostics)).collect();
        }
    }
    if trust.is_empty() && diagnostics.len() == before {
        diagnostics.push(TomlDiagnostic::new("no signer is trusted", span, "here", TRUST));
    }
    trust
}

fn identity(value: Value<'_>, diagnostics: &mut Vec<TomlDiagnostic>) -> Option<IdentityConfig> {
    let span = value.span();
    let (mut repository, mut workflow, mut reference) = (None, None, None);
    for (key, value) in table(value, &["repo", "workflow", "ref"], IDENTITY, diagnostics)? {
        match key.get_ref().as_ref() {
            "repo" => repository = Some(parsed::<RepositoryName>(value, IDENTITY, diagnostics)?),
            "workflow" => workflow = Some(parsed::<String>(value, IDENTITY, diagnostics)?),
            _ => reference = Some(parsed::<String>(value, IDENTITY, diagnostics)?),
        }
    }
    let Some(repository) = repository else {
        diagnostics.push(TomlDiagnostic::new("missing member `repo`", span, "here", IDENTITY));
        return None;
    };
    Some(IdentityConfig {
        repository: repository.into_inner().0,
        workflow: workflow.map(Spanned::into_inner),
        reference: reference.map(Spanned::into_inner),
    })
}

/// `owner/name` on GitHub.
struct RepositoryName(String);

impl FromStr for RepositoryName {
    type Err = CertificateIdentityError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        CertificateIdentity::check_repository(text).map(|()| Self(text.to_owned()))
    }
}
