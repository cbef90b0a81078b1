use kmod_compat::{
    CompatMatrix, FedoraVersion, Incompatibility, KeyFingerprint, MatrixRow, Nevra, ReleaseKeys, Verdict,
    ZfsVersion,
};

use super::BuildInputs;
use crate::model::builder_policy::{BuilderNotAllowed, BuilderPolicy};
use crate::model::containerfile::{self, TemplateMismatch};
use crate::model::rpm_signature::KernelPackagePolicy;

/// What inputs are compared with.
#[derive(Clone, Debug)]
pub struct InputsPolicy {
    /// With the rows of the configuration, and of releases whose declaration was verified in this run.
    pub matrix: CompatMatrix,
    pub builders: BuilderPolicy,
    pub packages: KernelPackagePolicy,
    pub release_keys: ReleaseKeys,
}

/// What the inputs are needed for, the strictest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InputsUse {
    /// A plan is made from inputs that were given, of which nothing is verified.
    Lock,
    /// A build begins.
    Build,
    /// A build begins, and the inputs are of provenance by a trusted signer.
    VerifiedBuild,
    /// They are of trusted provenance, and the image was never promoted for users.
    FirstPromotion,
    /// They are of trusted provenance. A proven image stays right unless something is known against it: an old image has no
    /// digest of the kernel's package, another recipe, or a builder image that is no longer on the list.
    Published,
}

/// Why inputs are not acceptable: a sentence.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, miette::Diagnostic)]
pub enum InputsFault {
    #[error(
        "the inputs name a tarball of OpenZFS {zfs} with the SHA-256 {found}, and the compatibility matrix says {expected}"
    )]
    #[diagnostic(help(
        "a released tarball never changes, so this one is another: plan again from upstream; if the matrix is wrong, correct \
         `sha256` of the release's row in zfs-kmods.toml"
    ))]
    OtherTarball { zfs: ZfsVersion, expected: String, found: String },
    #[error(
        "the compatibility matrix has no SHA-256 for the tarball of OpenZFS {0}, so the one in the inputs is not checked"
    )]
    #[diagnostic(help("add the release's row with `sha256` to zfs-kmods.toml"))]
    NoChecksum(ZfsVersion),
    #[error("{0}")]
    #[diagnostic(help("`zfs-kmods check` shows what the compatibility matrix says about the pair"))]
    Incompatible(Incompatibility),
    #[error("the inputs name {signer} as the signer of OpenZFS {zfs}, which is not a pinned key")]
    #[diagnostic(help("add the key with `openzfs-keys` in zfs-kmods.toml, or a row for the release"))]
    OtherReleaseKey { zfs: ZfsVersion, signer: KeyFingerprint },
    #[error(transparent)]
    #[diagnostic(transparent)]
    Builder(BuilderNotAllowed),
    #[error(transparent)]
    #[diagnostic(transparent)]
    OtherRecipe(TemplateMismatch),
    #[error("the recipe {template} is listed as faulty: {reason} ({source_url})")]
    #[diagnostic(help("build the image again with today's recipe: plan again from upstream"))]
    FaultyRecipe { template: String, reason: String, source_url: String },
    #[error("the inputs have no digest of {0}: they are of an earlier version of zfs-kmods")]
    #[diagnostic(help("plan again from upstream"))]
    NoPackageDigest(Nevra),
    #[error("the kernel's package was not signed by Fedora")]
    #[diagnostic(help("`--allow-unsigned-headers` accepts that"))]
    UnsignedPackage,
    #[error("{nevra} was signed by {signer}, which is not a pinned key of Fedora {fedora}")]
    #[diagnostic(help("`--fedora-keys FILE` names other keys"))]
    OtherPackageKey { nevra: Nevra, signer: KeyFingerprint, fedora: FedoraVersion },
}

/// Whether an image of these inputs may be built, or published for users.
pub fn inputs_are_acceptable(
    inputs: &BuildInputs,
    policy: &InputsPolicy,
    purpose: InputsUse,
) -> Result<(), UnacceptableInputs> {
    let faults: Vec<_> = release(inputs, policy, purpose)
        .into_iter()
        .chain(builder(inputs, policy, purpose))
        .chain(recipe(inputs, policy, purpose))
        .chain(kernel_package(inputs, policy, purpose))
        .collect();
    if faults.is_empty() { Ok(()) } else { Err(UnacceptableInputs { faults }) }
}

/// The release and its tarball. A release without a row may be declared by the inputs, if a pinned key signed its checksum;
/// a plan from given inputs verifies that before.
fn release(inputs: &BuildInputs, policy: &InputsPolicy, purpose: InputsUse) -> Vec<InputsFault> {
    let mut matrix = policy.matrix.clone();
    if purpose != InputsUse::Lock
        && matrix.wants_declaration(inputs.zfs)
        && let Some(declared) = inputs.declared_release()
    {
        let signer = declared.signer.clone();
        let is_pinned = policy.release_keys.iter().any(|key| key.fingerprint == signer);
        if !is_pinned && purpose != InputsUse::Published {
            return vec![InputsFault::OtherReleaseKey { zfs: inputs.zfs, signer }];
        }
        matrix.declare(Ok(declared));
    }
    let mut faults = Vec::new();
    let found = inputs.tarball.digest.hex();
    match matrix.release(inputs.zfs).map(MatrixRow::sha256) {
        Some(Some(expected)) if expected.as_str() != found => faults.push(InputsFault::OtherTarball {
            zfs: inputs.zfs,
            expected: expected.as_str().to_owned(),
            found: found.to_owned(),
        }),
        Some(None) if purpose == InputsUse::Lock => faults.push(InputsFault::NoChecksum(inputs.zfs)),
        Some(_) | None => {}
    }
    if let Verdict::Incompatible(reason) = matrix.verdict(inputs.zfs, &inputs.kernel)
        && (purpose != InputsUse::Published || reason.is_exclusion())
    {
        faults.push(InputsFault::Incompatible(reason));
    }
    faults
}

fn builder(inputs: &BuildInputs, policy: &InputsPolicy, purpose: InputsUse) -> Option<InputsFault> {
    let is_asked = match purpose {
        InputsUse::Lock | InputsUse::Build | InputsUse::FirstPromotion => true,
        InputsUse::VerifiedBuild | InputsUse::Published => false,
    };
    is_asked.then(|| policy.builders.check(&inputs.builder_image).err())?.map(InputsFault::Builder)
}

fn recipe(inputs: &BuildInputs, policy: &InputsPolicy, purpose: InputsUse) -> Option<InputsFault> {
    let is_built = matches!(purpose, InputsUse::Lock | InputsUse::Build | InputsUse::VerifiedBuild);
    if is_built && let Err(mismatch) = containerfile::check_template(inputs) {
        return Some(InputsFault::OtherRecipe(mismatch));
    }
    let faulty = policy.matrix.faulty_recipe(inputs.template.as_str())?;
    Some(InputsFault::FaultyRecipe {
        template: faulty.template().to_owned(),
        reason: faulty.reason().to_owned(),
        source_url: faulty.source().to_owned(),
    })
}

/// A build checks the package itself.
fn kernel_package(inputs: &BuildInputs, policy: &InputsPolicy, purpose: InputsUse) -> Option<InputsFault> {
    let package = &inputs.kernel_devel;
    if matches!(purpose, InputsUse::Build | InputsUse::VerifiedBuild) {
        return None;
    }
    let Some(signer) = &package.signer else {
        return match package.digest {
            None if purpose == InputsUse::Lock => Some(InputsFault::NoPackageDigest(package.nevra.clone())),
            Some(_) if !policy.packages.allow_unsigned => Some(InputsFault::UnsignedPackage),
            _ => None,
        };
    };
    let fedora = inputs.kernel.fedora().unwrap_or(inputs.fedora);
    let is_pinned = policy.packages.keys.of(fedora).any(|key| key.fingerprint == *signer);
    (!is_pinned && purpose != InputsUse::Published).then(|| InputsFault::OtherPackageKey {
        nevra: package.nevra.clone(),
        signer: signer.clone(),
        fedora,
    })
}

/// Every reason, and what to do about each.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, miette::Diagnostic)]
#[error("{}", joined(faults.iter().map(ToString::to_string)))]
#[diagnostic(help("{}", joined(faults.iter().filter_map(|fault| Some(fault.help()?.to_string())))))]
pub struct UnacceptableInputs {
    faults: Vec<InputsFault>,
}

fn joined(sentences: impl Iterator<Item = String>) -> String {
    sentences.collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests;
