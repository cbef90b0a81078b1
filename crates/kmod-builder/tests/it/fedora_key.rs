//! A key in place of Fedora's, and packages that it signed.

use std::fs;
use std::path::Path;
use std::sync::OnceLock;

use pgp::composed::{
    ArmorOptions, DetachedSignature, KeyType, SecretKeyParamsBuilder, SignedPublicKey, SignedSecretKey,
};
use pgp::crypto::hash::HashAlgorithm;
use pgp::ser::Serialize as _;
use pgp::types::{KeyDetails as _, Password};
use rpm::{Header, HeaderEntry, IndexData, IndexSignatureTag};

fn key() -> &'static SignedSecretKey {
    static KEY: OnceLock<SignedSecretKey> = OnceLock::new();
    KEY.get_or_init(|| {
        let mut parameters = SecretKeyParamsBuilder::default();
        parameters.key_type(KeyType::Ed25519Legacy).can_sign(true).primary_user_id("Fedora (43)".into());
        parameters.build().unwrap().generate(rand::thread_rng()).unwrap()
    })
}

pub(crate) fn fingerprint() -> String {
    format!("{:X}", key().primary_key.fingerprint())
}

/// Writes the list of keys for `ZFS_KMODS_FEDORA_KEYS`.
pub(crate) fn write_list(file: &Path) {
    let armor = SignedPublicKey::from(key().clone()).to_armored_string(ArmorOptions::default()).unwrap();
    let list = format!(
        "[[key]]\nfedora = \"43\"\nfingerprint = \"{}\"\nsource = \"https://example.org/\"\n\
         armor = \"\"\"\n{armor}\"\"\"\n",
        fingerprint()
    );
    fs::write(file, list).unwrap();
}

/// Signs the header of a package.
pub(crate) fn sign(file: &Path) {
    let mut package = rpm::Package::open(file).unwrap();
    let header = package.metadata.header_bytes().unwrap();
    let signature = DetachedSignature::sign_binary_data(
        rand::thread_rng(),
        &key().primary_key,
        &Password::empty(),
        HashAlgorithm::Sha256,
        header.as_slice(),
    );
    let signature = signature.unwrap().to_bytes().unwrap();
    let region = IndexSignatureTag::HEADER_SIGNATURES;
    let entries = package.metadata.signature.get_all_entries().unwrap().into_iter();
    let entries = entries
        .filter(|(tag, _)| *tag != region as u32)
        .chain([(IndexSignatureTag::RPMSIGTAG_DSA as u32, IndexData::Bin(signature))])
        .map(|(tag, data)| HeaderEntry::new(tag, data));
    package.metadata.signature = Header::from_entries(entries, region);
    package.write(&mut fs::File::create(file).unwrap()).unwrap();
}

/// What gpg and rpm sign, as Fedora does.
#[test]
fn what_rpm_signs_is_accepted() {
    use kmod_builder::io::rpm::read_signed;
    use std::process::Command;

    let directory = tempfile::tempdir().unwrap();
    let home = directory.path().join("gnupg");
    fs::create_dir(&home).unwrap();
    let gpg = |arguments: &[&str]| {
        let output = Command::new("gpg").args(["--batch", "--homedir"]).arg(&home).args(arguments).output();
        let output = output.expect("gpg is installed");
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    let make = ["--passphrase", "", "--quick-generate-key", "Fedora", "rsa3072", "sign", "never"];
    gpg(&make);
    let armor = gpg(&["--armor", "--export"]);
    let listed = gpg(&["--with-colons", "--list-keys"]);
    let fingerprint = listed.lines().find_map(|line| line.strip_prefix("fpr:")).unwrap().trim_matches(':');
    let file = crate::rpms::kernel_package(directory.path(), "kernel-devel", &[]);
    let path = format!("_gpg_path {}", home.display());
    // Debian's rpm looks for gpg2.
    let defines = ["--define", &path, "--define", "_gpg_name Fedora", "--define", "__gpg /usr/bin/gpg"];
    let signed = Command::new("rpmsign").args(defines).arg("--addsign").arg(&file).output();
    Command::new("gpgconf").arg("--homedir").arg(&home).args(["--kill", "gpg-agent"]).status().ok();
    let output = signed.expect("rpmsign is installed");
    assert!(output.status.success(), "{output:?}");
    let list = format!(
        "[[key]]\nfedora = \"43\"\nfingerprint = \"{fingerprint}\"\nsource = \"https://example.org/\"\n\
         armor = \"\"\"\n{armor}\"\"\"\n"
    );
    let keys = kmod_compat::FedoraKeys::parse("keys.toml", &list).unwrap();
    let (_, signatures) = read_signed(&file).unwrap();
    let verified = signatures.verify(&keys, "43".parse().unwrap()).unwrap();
    assert_eq!(verified.as_str(), fingerprint);
}
