use kmod_compat::FedoraKeys;
use miette::Diagnostic as _;

use super::super::tests::inputs;
use super::super::{Declaration, KernelDevel, Tarball};
use super::*;
use crate::model::Digest;
use crate::model::containerfile::TEMPLATE;

const USES: [InputsUse; 5] = [
    InputsUse::Lock,
    InputsUse::Build,
    InputsUse::VerifiedBuild,
    InputsUse::FirstPromotion,
    InputsUse::Published,
];

const POLICY: &str = "[policy]\nline = \"2.4\"\nunknown_release = \"declared\"\n";

fn row(sha256: &str) -> String {
    format!(
        "[[release]]\nversion = \"2.4.3\"\nlinux_min = \"4.18\"\nlinux_max = \"7.0\"\n{sha256}\
         source = \"https://example.org/\"\n"
    )
}

fn sha256(content: &[u8]) -> String {
    format!("sha256 = \"{}\"\n", Digest::of(content).hex())
}

fn policy_with(rows: &str) -> InputsPolicy {
    InputsPolicy {
        matrix: CompatMatrix::parse("zfs.toml", &format!("{POLICY}{rows}")).unwrap(),
        builders: BuilderPolicy::new("registry.example.org/fedora", []),
        packages: KernelPackagePolicy { keys: FedoraKeys::embedded().unwrap(), allow_unsigned: false },
        release_keys: ReleaseKeys::embedded().unwrap(),
    }
}

fn policy() -> InputsPolicy {
    policy_with(&row(&sha256(b"tarball")))
}

/// Inputs as a plan of today makes them.
fn good() -> BuildInputs {
    let keys = FedoraKeys::embedded().unwrap();
    let signer = keys.of("43".parse().unwrap()).next().unwrap().fingerprint.clone();
    let template = Digest::of(TEMPLATE.as_bytes());
    let kernel_devel = KernelDevel {
        digest: Some(Digest::of(b"kernel-devel")),
        signer: Some(signer),
        ..inputs().kernel_devel
    };
    BuildInputs { template, kernel_devel, ..inputs() }
}

/// The uses for which the inputs are not acceptable, and the reasons for the first of them.
#[track_caller]
fn refused(inputs: &BuildInputs, policy: &InputsPolicy, reason: &str) -> Vec<InputsUse> {
    let faults = |purpose| inputs_are_acceptable(inputs, policy, purpose).err();
    let refused: Vec<_> = USES.into_iter().filter(|purpose| faults(*purpose).is_some()).collect();
    let first = faults(refused[0]).unwrap();
    assert!(first.to_string().contains(reason), "{first}");
    assert!(first.help().is_some_and(|help| !help.to_string().is_empty()), "{first}");
    refused
}

use InputsUse::{Build, FirstPromotion, Lock, Published, VerifiedBuild};

#[test]
fn inputs_of_today_are_acceptable_for_everything() {
    for purpose in USES {
        assert_eq!(inputs_are_acceptable(&good(), &policy(), purpose), Ok(()), "{purpose:?}");
    }
}

#[test]
fn a_tarball_that_contradicts_the_matrix_is_never_acceptable() {
    let tarball = Tarball { digest: Digest::of(b"another"), ..good().tarball };
    let other = BuildInputs { tarball, ..good() };
    assert_eq!(refused(&other, &policy(), "and the compatibility matrix says"), USES);
}

#[test]
fn a_tarball_that_the_matrix_does_not_know_is_not_planned_from_a_lock() {
    assert_eq!(refused(&good(), &policy_with(&row("")), "has no SHA-256"), [Lock]);
}

#[test]
fn an_excluded_pair_is_never_acceptable_and_a_kernel_out_of_range_is_not_promoted_first() {
    let excluded = format!(
        "{}[[exclude]]\nzfs = \"2.4.3\"\nkernel = \"6.17\"\nreason = \"it panics\"\nsource = \"https://example.org/\"\n",
        row(&sha256(b"tarball"))
    );
    assert_eq!(refused(&good(), &policy_with(&excluded), "it panics"), USES);
    let narrow = row(&sha256(b"tarball")).replace("7.0", "6.16");
    let uses = [Lock, Build, VerifiedBuild, FirstPromotion];
    assert_eq!(refused(&good(), &policy_with(&narrow), "is too new"), uses);
}

#[test]
fn a_release_without_a_row_must_be_declared_with_a_pinned_key() {
    let other_row = row(&sha256(b"tarball")).replace("2.4.3", "2.4.2");
    let policy = policy_with(&other_row);
    let declared = |signer: &str| {
        let [linux_min, linux_max] = ["4.18", "7.0"].map(|series| series.parse().unwrap());
        let signer = signer.parse().unwrap();
        BuildInputs { declared: Some(Declaration { linux_min, linux_max, signer }), ..good() }
    };
    let pinned = policy.release_keys.iter().next().unwrap().fingerprint.to_string();
    // What a lock declares is believed only after upstream was asked, which adds the row.
    assert_eq!(refused(&declared(&pinned), &policy, "has no row"), [Lock]);
    let uses = [Lock, Build, VerifiedBuild, FirstPromotion];
    assert_eq!(refused(&declared(&"4F".repeat(20)), &policy, "has no row"), uses);
    assert_eq!(refused(&good(), &policy, "has no row"), uses);
    let mut verified = policy;
    verified.matrix.declare(Ok(declared(&pinned).declared_release().unwrap()));
    assert_eq!(inputs_are_acceptable(&declared(&pinned), &verified, Lock), Ok(()));
    let tarball = Tarball { digest: Digest::of(b"another"), ..good().tarball };
    let other = BuildInputs { tarball, ..declared(&pinned) };
    assert_eq!(refused(&other, &verified, "and the compatibility matrix says"), USES);
}

#[test]
fn another_builder_image_is_acceptable_only_if_a_trusted_signer_used_it() {
    let builder_image = format!("quay.io/evil/fedora@{}", Digest::of(b"evil")).parse().unwrap();
    let other = BuildInputs { builder_image, ..good() };
    let uses = [Lock, Build, FirstPromotion];
    assert_eq!(refused(&other, &policy(), "not on the list of allowed images"), uses);
}

#[test]
fn an_image_of_another_recipe_stays_right_unless_the_recipe_is_faulty() {
    let template = Digest::of(b"another recipe");
    let other = BuildInputs { template: template.clone(), ..good() };
    assert_eq!(refused(&other, &policy(), "of a Containerfile.in"), [Lock, Build, VerifiedBuild]);
    let faulty = format!(
        "{}[[faulty_recipe]]\ntemplate = \"{template}\"\nreason = \"it leaves out a module\"\nsource = \"https://example.org/\"\n",
        row(&sha256(b"tarball"))
    );
    assert_eq!(refused(&other, &policy_with(&faulty), "of a Containerfile.in"), USES);
    let fault = inputs_are_acceptable(&other, &policy_with(&faulty), Published).unwrap_err();
    assert!(fault.to_string().contains("it leaves out a module"), "{fault}");
}

#[test]
fn the_kernel_s_package_must_be_signed_by_fedora() {
    let with = |kernel_devel: KernelDevel| BuildInputs { kernel_devel, ..good() };
    let unsigned = with(KernelDevel { signer: None, ..good().kernel_devel });
    let uses = [Lock, FirstPromotion, Published];
    assert_eq!(refused(&unsigned, &policy(), "not signed by Fedora"), uses);
    let mut lenient = policy();
    lenient.packages.allow_unsigned = true;
    for purpose in USES {
        assert_eq!(inputs_are_acceptable(&unsigned, &lenient, purpose), Ok(()), "{purpose:?}");
    }
    let stranger = Some("4F".repeat(20).parse().unwrap());
    let other = with(KernelDevel { signer: stranger, ..good().kernel_devel });
    assert_eq!(refused(&other, &policy(), "not a pinned key of Fedora 43"), [Lock, FirstPromotion]);
    // Of an earlier version, whose image stays right.
    let of_schema_1 = with(inputs().kernel_devel);
    assert_eq!(refused(&of_schema_1, &policy(), "have no digest of kernel-devel"), [Lock]);
}
