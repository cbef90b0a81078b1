//! Maps errors to finding kinds.

use std::error::Error;

use kmod_query::QueryError;
use miette::Report;

use crate::io::boot_test::GuestError;
use crate::io::download::DownloadError;
use crate::io::evidence::builder::EvidenceError;
use crate::io::evidence::signer::SignerError;
use crate::io::github::GithubError;
use crate::io::image_rpms::ImageRpmsError;
use crate::io::kernel_rpm::KernelRpmError;
use crate::io::podman::PodmanError;
use crate::io::publish::PublishError;
use crate::io::registry::{RegistryError, RegistryErrorKind};
use crate::io::resolve::ResolveError;
use crate::io::statements::StatementsError;
use crate::io::store::StoreError;
use crate::model::ci_report::{Failure, FindingKind};
use crate::model::inputs::{PartialInputsError, UnacceptableInputs};

pub fn failure(report: &Report) -> Failure {
    let causes: Vec<_> = report.chain().map(ToString::to_string).collect();
    Failure {
        kind: kind(report),
        message: causes.join(": "),
        help: report.help().map(|help| help.to_string()),
    }
}

/// The kind of the first error in the chain that has one.
fn kind(report: &Report) -> FindingKind {
    report.chain().find_map(of).unwrap_or(FindingKind::Other)
}

fn of(error: &(dyn Error + 'static)) -> Option<FindingKind> {
    if let Some(inner) = transparent(error) {
        return of(inner);
    }
    if is_disk_full(error) {
        return Some(FindingKind::DiskFull);
    }
    if let Some(error) = error.downcast_ref() {
        return Some(match error {
            QueryError::KernelRpmGone { .. } => FindingKind::KernelDevelMissing,
            _ => FindingKind::Upstream,
        });
    }
    if let Some(error) = error.downcast_ref() {
        return match error {
            // Only kernel headers disappear upstream; release tarballs stay.
            DownloadError::Status { url, status }
                if matches!(status.as_u16(), 404 | 410) && is_package(url) =>
            {
                Some(FindingKind::KernelDevelMissing)
            }
            DownloadError::Io(_) => None,
            _ => Some(FindingKind::Upstream),
        };
    }
    if let Some(error) = error.downcast_ref::<RegistryError>() {
        return Some(if denies(error.kind()) { FindingKind::Permission } else { FindingKind::Registry });
    }
    if let Some(error) = error.downcast_ref::<GithubError>() {
        return Some(if error.is_refusal() { FindingKind::Permission } else { FindingKind::Upstream });
    }
    let evidence_is_unknown = matches!(error.downcast_ref(), Some(EvidenceError::Unknown(_)));
    let build_failed = matches!(error.downcast_ref(), Some(PodmanError::Stage { .. }));
    let kind = if build_failed {
        FindingKind::Build
    } else if matches!(error.downcast_ref(), Some(DownloadError::OtherContent { .. }))
        || error.is::<PartialInputsError>()
        || error.is::<UnacceptableInputs>()
    {
        FindingKind::UnverifiedRelease
    } else if error.is::<ResolveError>() || error.is::<KernelRpmError>() {
        FindingKind::Upstream
    } else if error.is::<ImageRpmsError>() {
        FindingKind::Contract
    } else if evidence_is_unknown || error.is::<PublishError>() {
        FindingKind::Registry
    } else if error.is::<SignerError>() {
        // Neither an identity nor a signing key.
        FindingKind::Permission
    } else {
        return None;
    };
    Some(kind)
}

fn is_disk_full(error: &(dyn Error + 'static)) -> bool {
    let is_full = |error: &std::io::Error| error.kind() == std::io::ErrorKind::StorageFull;
    error.downcast_ref().is_some_and(is_full)
}

/// The inner error of a transparent one, which leaves it out of the chain.
fn transparent<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a (dyn Error + 'static)> {
    macro_rules! inner {
        ($($error:ident::$variant:ident,)*) => {
            $(if let Some($error::$variant(inner)) = error.downcast_ref() {
                return Some(inner);
            })*
        };
    }
    inner!(
        ResolveError::Query,
        ResolveError::Podman,
        ResolveError::Statements,
        StatementsError::Query,
        StatementsError::Download,
        GuestError::Query,
        ResolveError::KernelRpm,
        GuestError::KernelRpm,
        KernelRpmError::Download,
        KernelRpmError::Registry,
        GuestError::Podman,
        ImageRpmsError::Store,
        StoreError::Registry,
        EvidenceError::Signer,
        PublishError::Registry,
    );
    None
}

fn is_package(url: &str) -> bool {
    std::path::Path::new(url).extension().is_some_and(|extension| extension == "rpm")
}

fn denies(problem: &RegistryErrorKind) -> bool {
    match problem {
        RegistryErrorKind::Answered { status, .. } => matches!(status, 401 | 403),
        RegistryErrorKind::Token { kind, .. } | RegistryErrorKind::UploadAborted(kind) => denies(kind),
        RegistryErrorKind::Credential(_) => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use miette::WrapErr as _;

    use super::*;

    fn download(url: &str, status: u16) -> DownloadError {
        let status = reqwest::StatusCode::from_u16(status).unwrap();
        DownloadError::Status { url: url.to_owned(), status }
    }

    fn stage() -> PodmanError {
        PodmanError::Stage { stage: "kmod".into(), tail: "error: no".into(), log: PathBuf::from("x.log") }
    }

    #[test]
    fn errors_have_the_kind_of_what_can_be_done_about_them() {
        let (request, message) = ("x".to_owned(), "no".to_owned());
        let rejected = GithubError::Rejected { request: request.clone(), status: 403, message, help: "no" };
        let limited = GithubError::RateLimited { request, wait: std::time::Duration::from_mins(150) };
        for (error, expected) in [
            (Report::from(stage()), FindingKind::Build),
            (Report::from(GuestError::Podman(stage())), FindingKind::Build),
            (Report::from(download("https://x/kernel-devel-1.rpm", 404)), FindingKind::KernelDevelMissing),
            (Report::from(download("https://x/kernel-devel-1.rpm", 503)), FindingKind::Upstream),
            (Report::from(download("https://x/zfs-2.4.3.tar.gz", 404)), FindingKind::Upstream),
            (
                Report::from(GuestError::KernelRpm(download("https://x/y.rpm", 410).into())),
                FindingKind::KernelDevelMissing,
            ),
            (Report::from(ResolveError::OtherArch), FindingKind::Upstream),
            (
                Report::from(PartialInputsError::NoChecksum("2.4.3".parse().unwrap())),
                FindingKind::UnverifiedRelease,
            ),
            (Report::from(DownloadError::Io(std::io::ErrorKind::StorageFull.into())), FindingKind::DiskFull),
            (Report::from(rejected), FindingKind::Permission),
            (Report::from(limited), FindingKind::Upstream),
            (miette::miette!("no idea"), FindingKind::Other),
        ] {
            assert_eq!(kind(&error), expected, "{error}");
            let wrapped = Err::<(), _>(error).wrap_err("while doing something").unwrap_err();
            assert_eq!(kind(&wrapped), expected, "{wrapped}");
        }
    }

    #[test]
    fn the_message_holds_every_cause() {
        let error = Err::<(), _>(Report::from(stage())).wrap_err("building").unwrap_err();
        let failure = failure(&error);
        assert!(failure.message.starts_with("building: the build failed in stage `kmod`"), "{failure:?}");
    }
}
