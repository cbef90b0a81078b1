//! `verify`: hold an image against the RPM contract.

use clap::Args;
use miette::{IntoDiagnostic as _, Result};

use super::Outcome;
use crate::io::inspecting;
use crate::io::store::{Images, StoreError};
use crate::model::Target;
use crate::model::image::{ImageName, Pinned, Selector};
use crate::model::verification::{self, Outcome as Judgement, Report};
use crate::output::{self, Format, Show};

/// Check that an image holds the right RPMs, and that they will load
///
/// Reads the image as it is stored, every byte of it, and holds it against the contract: blobs and labels are what
/// the image says, the expected packages are there and nothing else, the kmod package requires exactly its kernel and
/// makes it find the modules, and every module is built for that kernel. Each check is reported.
#[derive(Debug, Args)]
#[command(after_help = "Exit status: 0 if every check passed, 3 if not.

Examples:
  zfs-kmods verify oci:./images
  zfs-kmods verify oci:./images:zfs-2.4.3_kernel-6.17.8-300.fc43.x86_64
  zfs-kmods verify docker://ghcr.io/OWNER/zfs-kmods:zfs-2.4.3_kernel-6.17.8-300.fc43.x86_64")]
pub struct VerifyArgs {
    /// Image: oci:DIR[:TAG|@DIGEST] or docker://host/name[:TAG|@DIGEST]; DIR alone means its only image
    image: ImageName,
}

/// Gather, decide, show.
pub async fn run(args: VerifyArgs, format: Format) -> Result<Outcome> {
    let images = Images::open(&args.image.store).await?;
    let report = verification::verify(&inspecting::inspect(&images, &args.image).await?, None);
    output::show(format, &report).into_diagnostic()?;
    Ok(if report.passed() { Outcome::Done } else { Outcome::Refused })
}

/// The contract's answers about one exact image, for a target if one is named.
pub async fn contract(image: &Pinned, target: Option<&Target>) -> Result<Report, StoreError> {
    let name =
        ImageName { store: image.store.clone(), selector: Some(Selector::Digest(image.digest.clone())) };
    let images = Images::open(&image.store).await?;
    Ok(verification::verify(&inspecting::inspect(&images, &name).await?, target))
}

impl Show for Report {
    fn table(&self) -> String {
        let rows = self.answers().iter().map(|answer| {
            let result = match answer.outcome() {
                Judgement::Passed => "ok",
                Judgement::Failed(_) => "FAILED",
                Judgement::Unknown(_) => "unknown",
            };
            [answer.check.to_owned(), result.to_owned()]
        });
        let table = output::columns(["CHECK", "RESULT"], rows);
        let reasons: String = self
            .answers()
            .iter()
            .filter_map(|answer| Some(format!("\n{}:\n  {}\n", answer.check, answer.outcome().reason()?)))
            .collect();
        let what = self.target().map_or_else(|| "an unknown target".to_owned(), Target::to_string);
        let verdict = if self.passed() { "verified" } else { "NOT VERIFIED" };
        format!("{table}{reasons}\n{verdict}: {what}\n{}\n", self.image())
    }
}
