//! The packages in an image as an SPDX 2.3 document in JSON (spdx.github.io/spdx-spec/v2.3).

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::provenance::oci_purl;
use super::{StatementSubject, license};
use crate::model::Digest;
use crate::model::inputs::BuildInputs;
use crate::model::packages::Package;

const DOCUMENT: &str = "SPDXRef-DOCUMENT";
const IMAGE: &str = "SPDXRef-Image";
const TARBALL: &str = "SPDXRef-Tarball";

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SbomPackage {
    /// The path in the image: `kmod-zfs-….rpm`, `devel/zfs-devel-….rpm`.
    pub file_name: String,
    /// `kmod-zfs-6.17.8-300.fc43.x86_64`.
    pub name: String,
    /// Epoch (if set), version and release: `2.4.3-1.fc43`, `1:2.4.3-1.fc43`.
    pub evr: String,
    /// `x86_64`, `noarch`, or `src`.
    pub arch: String,
    pub license: String,
    pub digest: Digest,
    /// The file name of the source RPM; `None` for a source RPM.
    pub source_rpm: Option<String>,
}

impl SbomPackage {
    /// `path` is in the image.
    pub fn of(path: &str, package: &Package) -> Self {
        Self {
            file_name: path.to_owned(),
            name: package.name.clone(),
            evr: package.evr(),
            arch: package.file_arch().to_owned(),
            license: package.license.clone(),
            digest: package.digest.clone(),
            source_rpm: package.source_rpm.clone(),
        }
    }

    /// The name by which other RPMs refer to a source RPM: `kmod-zfs-2.4.3-1.fc43.x86_64.rpm`.
    fn canonical_file_name(&self) -> String {
        let (_, version) = split_epoch(&self.evr);
        format!("{}-{version}.{}.rpm", self.name, self.arch)
    }
}

/// The document for an image with these inputs and RPMs.
///
/// Deterministic: the date is that of the inputs, the namespace contains the image's digest, and the packages are
/// sorted.
pub fn document(subject: &StatementSubject, inputs: &BuildInputs, packages: &[SbomPackage]) -> Value {
    let packages: BTreeSet<_> = packages.iter().collect();
    let distro = format!("fedora-{}", inputs.fedora);
    let mut document = Document::new(subject, inputs);
    let in_image: BTreeMap<_, _> = packages
        .iter()
        .filter(|package| package.arch == "src")
        .map(|package| (package.canonical_file_name(), rpm_id(package)))
        .collect();
    let mut elsewhere = BTreeSet::new();
    for package in packages {
        let id = rpm_id(package);
        document.add_rpm(package, &id, &distro);
        document.relate(IMAGE, "CONTAINS", &id);
        if let Some(source) = &package.source_rpm {
            let source_id = in_image.get(source).cloned().unwrap_or_else(|| {
                elsewhere.insert(source.clone());
                source_rpm_id(source)
            });
            document.relate(&id, "GENERATED_FROM", &source_id);
        }
    }
    for source in elsewhere {
        document.add_source_rpm(&source, &distro);
    }
    document.finish()
}

struct Document<'a> {
    subject: &'a StatementSubject,
    inputs: &'a BuildInputs,
    packages: Vec<Value>,
    relationships: Vec<Value>,
    licenses: BTreeMap<String, String>,
}

impl<'a> Document<'a> {
    fn new(subject: &'a StatementSubject, inputs: &'a BuildInputs) -> Self {
        let mut document =
            Self { subject, inputs, packages: vec![], relationships: vec![], licenses: BTreeMap::new() };
        let image_purl = oci_purl(&subject.name, subject.digest.as_str());
        let mut image = package(IMAGE, &subject.name, subject.digest.as_str(), "CONTAINER", &image_purl);
        image["checksums"] = checksums(&subject.digest);
        let tarball_purl = format!("pkg:github/openzfs/zfs@zfs-{}", inputs.zfs);
        let mut tarball = package(TARBALL, "zfs", &inputs.zfs.to_string(), "SOURCE", &tarball_purl);
        tarball["downloadLocation"] = json!(inputs.tarball.url);
        tarball["licenseDeclared"] = json!("CDDL-1.0");
        tarball["checksums"] = checksums(&inputs.tarball.digest);
        document.packages.extend([image, tarball]);
        document.relate(DOCUMENT, "DESCRIBES", IMAGE);
        document.relate(IMAGE, "GENERATED_FROM", TARBALL);
        document
    }

    fn add_rpm(&mut self, package: &SbomPackage, id: &str, distro: &str) {
        let declared = license::expression(&package.license);
        if let Some((id, text)) = declared.extracted {
            self.licenses.insert(id, text);
        }
        let mut qualifiers = vec![("arch", package.arch.as_str()), ("distro", distro)];
        let (epoch, version) = split_epoch(&package.evr);
        qualifiers.extend(epoch.map(|epoch| ("epoch", epoch)));
        qualifiers.extend(package.source_rpm.as_deref().map(|source| ("upstream", source)));
        let purpose = if package.arch == "src" { "SOURCE" } else { "INSTALL" };
        let purl = rpm_purl(&package.name, version, &qualifiers);
        let mut described = self::package(id, &package.name, &package.evr, purpose, &purl);
        described["packageFileName"] = json!(package.file_name);
        described["licenseDeclared"] = json!(declared.expression);
        described["checksums"] = checksums(&package.digest);
        self.packages.push(described);
    }

    /// A source RPM that is not in the image; only its name is known.
    fn add_source_rpm(&mut self, file_name: &str, distro: &str) {
        let stem = file_name.strip_suffix(".src.rpm").unwrap_or(file_name);
        let (rest, release) = stem.rsplit_once('-').unwrap_or((stem, ""));
        let (name, version) = rest.rsplit_once('-').unwrap_or((rest, ""));
        let version = format!("{version}-{release}");
        let purl = rpm_purl(name, &version, &[("arch", "src"), ("distro", distro)]);
        let mut described = package(&source_rpm_id(file_name), name, &version, "SOURCE", &purl);
        described["packageFileName"] = json!(file_name);
        self.packages.push(described);
    }

    fn relate(&mut self, from: &str, how: &str, to: &str) {
        self.relationships.push(json!({
            "spdxElementId": from,
            "relationshipType": how,
            "relatedSpdxElement": to,
        }));
    }

    fn finish(self) -> Value {
        let created = jiff::Timestamp::from_second(self.inputs.source_date_epoch)
            .unwrap_or(jiff::Timestamp::UNIX_EPOCH)
            .to_string();
        let licenses: Vec<_> = self
            .licenses
            .iter()
            .map(|(id, text)| json!({"licenseId": id, "name": text, "extractedText": text}))
            .collect();
        let mut document = json!({
            "spdxVersion": "SPDX-2.3",
            "dataLicense": "CC0-1.0",
            "SPDXID": DOCUMENT,
            "name": format!("{}@{}", self.subject.name, self.subject.digest),
            // For creators without a web site (SPDX 2.3, 6.5, example).
            "documentNamespace": format!("https://spdx.org/spdxdocs/zfs-kmods-{}", self.subject.digest.hex()),
            "creationInfo": {
                "created": created,
                "creators": [format!("Tool: zfs-kmods-{}", self.inputs.tool)],
            },
            "packages": self.packages,
            "relationships": self.relationships,
        });
        if !licenses.is_empty() {
            document["hasExtractedLicensingInfos"] = licenses.into();
        }
        document
    }
}

/// The members that every package has (SPDX 2.3, section 7).
fn package(id: &str, name: &str, version: &str, purpose: &str, purl: &str) -> Value {
    json!({
        "SPDXID": id,
        "name": name,
        "versionInfo": version,
        "primaryPackagePurpose": purpose,
        "downloadLocation": "NOASSERTION",
        "filesAnalyzed": false,
        "licenseConcluded": "NOASSERTION",
        "licenseDeclared": "NOASSERTION",
        "copyrightText": "NOASSERTION",
        "externalRefs": [{
            "referenceCategory": "PACKAGE-MANAGER", "referenceType": "purl", "referenceLocator": purl,
        }],
    })
}

fn checksums(digest: &Digest) -> Value {
    json!([{"algorithm": "SHA256", "checksumValue": digest.hex()}])
}

/// The package URL of an RPM (purl specification, type `rpm`); the qualifier `upstream` is the source RPM, as in SBOM
/// tools.
fn rpm_purl(name: &str, version: &str, qualifiers: &[(&str, &str)]) -> String {
    let qualifiers: Vec<_> =
        qualifiers.iter().map(|(name, value)| format!("{name}={}", percent(value))).collect();
    format!("pkg:rpm/fedora/{}@{}?{}", percent(name), percent(version), qualifiers.join("&"))
}

/// Percent-encodes all but the characters that a package URL allows.
fn percent(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'.' | b'-' | b'_' | b'~' => {
                char::from(byte).to_string()
            }
            _ => format!("%{byte:02X}"),
        })
        .collect()
}

fn split_epoch(evr: &str) -> (Option<&str>, &str) {
    match evr.split_once(':') {
        Some((epoch, version)) => (Some(epoch), version),
        None => (None, evr),
    }
}

/// An SPDX id: only letters, digits, `.` and `-` are allowed, so the digest makes it unique.
fn rpm_id(package: &SbomPackage) -> String {
    format!("SPDXRef-RPM-{}-{}", id_part(&package.name), package.digest.short())
}

fn source_rpm_id(file_name: &str) -> String {
    format!("SPDXRef-SRPM-{}-{}", id_part(file_name), Digest::of(file_name.as_bytes()).short())
}

pub(super) fn id_part(text: &str) -> String {
    text.chars().map(|char| if char.is_ascii_alphanumeric() || char == '.' { char } else { '-' }).collect()
}

/// The names and digests of the files that a document lists. The error continues "the SBOM".
pub fn listed_files(document: &Value) -> Result<BTreeMap<String, Digest>, String> {
    if document["spdxVersion"] != "SPDX-2.3" {
        return Err("is not an SPDX 2.3 document".to_owned());
    }
    let array = |name| document[name].as_array().ok_or_else(|| format!("has no `{name}`"));
    let contained: BTreeSet<_> = array("relationships")?
        .iter()
        .filter(|relation| relation["spdxElementId"] == IMAGE && relation["relationshipType"] == "CONTAINS")
        .filter_map(|relation| relation["relatedSpdxElement"].as_str())
        .collect();
    let mut files = BTreeMap::new();
    for package in array("packages")? {
        let Some(id) = package["SPDXID"].as_str().filter(|id| contained.contains(id)) else { continue };
        let name = package["packageFileName"].as_str();
        let digest = package["checksums"].as_array().into_iter().flatten().find_map(|checksum| {
            let value = checksum["checksumValue"].as_str().filter(|_| checksum["algorithm"] == "SHA256")?;
            format!("sha256:{value}").parse::<Digest>().ok()
        });
        let (Some(name), Some(digest)) = (name, digest) else {
            return Err(format!("lacks the file name or SHA-256 of {id}"));
        };
        if files.insert(name.to_owned(), digest).is_some() {
            return Err(format!("lists {name} twice"));
        }
    }
    if files.len() == contained.len() {
        Ok(files)
    } else {
        Err("names packages that it does not describe".to_owned())
    }
}

#[cfg(test)]
pub(super) mod tests;
