use indicatif::HumanBytes;
use serde::Serialize;

use crate::io::image_rpms::ListedRpm;
use crate::model::document::{self, DocumentSchema};
use crate::model::image::DigestRef;
use crate::model::packages::{LayerKind, Package, PackageGroup};
use crate::output::{self, Show};

#[derive(Serialize)]
pub(in crate::commands) struct RpmList {
    schema: DocumentSchema,
    #[serde(serialize_with = "document::image")]
    image: DigestRef,
    rpms: Vec<RpmRow>,
}

#[derive(Serialize)]
struct RpmRow {
    path: String,
    group: PackageGroup,
    part: LayerKind,
    /// In the format of `rpm -q`.
    nevra: String,
    evr: String,
    #[serde(flatten)]
    package: Package,
}

impl RpmList {
    pub(in crate::commands) fn new(image: &DigestRef, rpms: Vec<ListedRpm>) -> Self {
        let rpms = rpms.into_iter().map(RpmRow::from).collect();
        Self { schema: DocumentSchema::new("rpm-list", 1), image: image.clone(), rpms }
    }
}

impl From<ListedRpm> for RpmRow {
    fn from(ListedRpm { path, group, package }: ListedRpm) -> Self {
        Self { path, group, part: package.part(), nevra: package.nevra(), evr: package.evr(), package }
    }
}

impl Show for RpmList {
    fn table(&self) -> String {
        let rows = self.rpms.iter().map(|row| {
            [
                row.package.name.clone(),
                row.evr.clone(),
                row.package.file_arch().to_owned(),
                HumanBytes(row.package.size).to_string(),
                row.group.as_str().to_owned(),
            ]
        });
        output::columns(["NAME", "EVR", "ARCH", "SIZE", "GROUP"], rows)
    }
}
