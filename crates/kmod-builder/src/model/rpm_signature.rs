//! The OpenPGP signature of an RPM's header (rpm's manual, "Package format"). The header has the payload's digest.

use kmod_compat::{FedoraKey, FedoraKeys, FedoraVersion, KeyFingerprint};
use pgp::composed::{Deserializable as _, DetachedSignature, SignedPublicKey};
use pgp::crypto::hash::HashAlgorithm;
use pgp::packet::{Signature, SignatureType};
use pgp::types::KeyDetails as _;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeaderSignatures {
    /// As in the file, with its magic number.
    pub header: Vec<u8>,
    /// OpenPGP packets.
    pub signatures: Vec<Vec<u8>>,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HeaderSignatureError {
    #[error("its header has no OpenPGP signature")]
    Missing,
    #[error("its header is signed by {issuers}, which is not a key of Fedora {fedora}")]
    OtherKey { issuers: String, fedora: FedoraVersion },
    #[error("no key of Fedora {0} is pinned in compat/fedora-keys.toml")]
    NoKey(FedoraVersion),
    #[error("the signature of its header by {0} is not valid")]
    Invalid(KeyFingerprint),
    #[error("the pinned key {fingerprint} cannot be used: {reason}")]
    BadKey { fingerprint: KeyFingerprint, reason: String },
}

impl HeaderSignatures {
    /// The key of the release that signed the header.
    pub fn verify(
        &self,
        keys: &FedoraKeys,
        fedora: FedoraVersion,
    ) -> Result<KeyFingerprint, HeaderSignatureError> {
        if self.signatures.is_empty() {
            return Err(HeaderSignatureError::Missing);
        }
        if keys.of(fedora).next().is_none() {
            return Err(HeaderSignatureError::NoKey(fedora));
        }
        let parse = |bytes: &Vec<u8>| Some(DetachedSignature::from_bytes(bytes.as_slice()).ok()?.signature);
        let signatures: Vec<_> = self.signatures.iter().filter_map(parse).collect();
        let mut error = None;
        for pinned in keys.of(fedora) {
            let key = public_key(pinned)?;
            for signature in signatures.iter().filter(|signature| names(signature, &pinned.fingerprint)) {
                if is_acceptable(signature)
                    && signature.verify(&key.primary_key, self.header.as_slice()).is_ok()
                {
                    return Ok(pinned.fingerprint.clone());
                }
                error = Some(HeaderSignatureError::Invalid(pinned.fingerprint.clone()));
            }
        }
        let issuers: Vec<_> = signatures.iter().filter_map(|signature| issuers(signature).next()).collect();
        let issuers = if issuers.is_empty() { "an unnamed key".to_owned() } else { issuers.join(", ") };
        Err(error.unwrap_or(HeaderSignatureError::OtherKey { issuers, fedora }))
    }
}

fn public_key(pinned: &FedoraKey) -> Result<SignedPublicKey, HeaderSignatureError> {
    let bad = |reason| HeaderSignatureError::BadKey { fingerprint: pinned.fingerprint.clone(), reason };
    let (key, _) = SignedPublicKey::from_string(&pinned.armor).map_err(|error| bad(error.to_string()))?;
    let found = format!("{:X}", key.primary_key.fingerprint());
    if found != pinned.fingerprint.as_str() {
        return Err(bad(format!("its armor holds the key {found}")));
    }
    Ok(key)
}

fn issuers(signature: &Signature) -> impl Iterator<Item = String> {
    let fingerprints = signature.issuer_fingerprint().into_iter().map(|issuer| format!("{issuer:X}"));
    let ids = signature.issuer_key_id().into_iter().map(|id| id.to_string().to_ascii_uppercase());
    fingerprints.chain(ids)
}

fn names(signature: &Signature, fingerprint: &KeyFingerprint) -> bool {
    issuers(signature).any(|issuer| !issuer.is_empty() && fingerprint.as_str().ends_with(&issuer))
}

fn is_acceptable(signature: &Signature) -> bool {
    use HashAlgorithm::{Sha256, Sha384, Sha512};
    signature.typ() == Some(SignatureType::Binary)
        && matches!(signature.hash_alg(), Some(Sha256 | Sha384 | Sha512))
}

/// Which kernel packages may be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KernelPackagePolicy {
    pub keys: FedoraKeys,
    /// Accept packages whose header Fedora did not sign.
    pub allow_unsigned: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, miette::Diagnostic)]
#[error("the package {package} is not used: {reason}")]
#[diagnostic(help(
    "only kernel packages that Fedora signed are used; `--allow-unsigned-headers` accepts one without Fedora's signature, \
     which the provenance then states and `promote` refuses"
))]
pub struct UntrustedPackage {
    package: String,
    reason: HeaderSignatureError,
}

impl UntrustedPackage {
    /// No key of the package's Fedora release is pinned.
    pub const fn lacks_key(&self) -> bool {
        matches!(self.reason, HeaderSignatureError::NoKey(_))
    }
}

impl KernelPackagePolicy {
    /// The key that signed the header; `None` if Fedora did not sign it and that is accepted.
    pub fn check(
        &self,
        package: &str,
        signatures: &HeaderSignatures,
        fedora: FedoraVersion,
    ) -> Result<Option<KeyFingerprint>, UntrustedPackage> {
        use HeaderSignatureError::{BadKey, Invalid, Missing, NoKey, OtherKey};
        match signatures.verify(&self.keys, fedora) {
            Ok(key) => Ok(Some(key)),
            Err(Missing | OtherKey { .. } | NoKey(_)) if self.allow_unsigned => Ok(None),
            Err(reason @ (Missing | OtherKey { .. } | NoKey(_) | Invalid(_) | BadKey { .. })) => {
                Err(UntrustedPackage { package: package.to_owned(), reason })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use pgp::composed::{ArmorOptions, KeyType, SecretKeyParamsBuilder, SignedSecretKey};
    use pgp::ser::Serialize as _;
    use pgp::types::Password;

    use super::*;

    fn generate() -> SignedSecretKey {
        let mut parameters = SecretKeyParamsBuilder::default();
        parameters.key_type(KeyType::Ed25519Legacy).can_sign(true).primary_user_id("Fedora (43)".into());
        parameters.build().unwrap().generate(rand::thread_rng()).unwrap()
    }

    fn keys(fedora: &str, key: &SignedSecretKey) -> FedoraKeys {
        let armor = SignedPublicKey::from(key.clone()).to_armored_string(ArmorOptions::default()).unwrap();
        let fingerprint = format!("{:X}", key.primary_key.fingerprint());
        let text = format!(
            "[[key]]\nfedora = \"{fedora}\"\nfingerprint = \"{fingerprint}\"\nsource = \"https://example.org/\"\n\
             armor = \"\"\"\n{armor}\"\"\"\n"
        );
        FedoraKeys::parse("keys.toml", &text).unwrap()
    }

    fn sign(key: &SignedSecretKey) -> HeaderSignatures {
        let header = b"the header".to_vec();
        let signature = DetachedSignature::sign_binary_data(
            rand::thread_rng(),
            &key.primary_key,
            &Password::empty(),
            HashAlgorithm::Sha256,
            header.as_slice(),
        );
        HeaderSignatures { header, signatures: vec![signature.unwrap().to_bytes().unwrap()] }
    }

    fn fedora() -> FedoraVersion {
        "43".parse().unwrap()
    }

    #[test]
    fn the_embedded_keys_can_be_used() {
        let keys = FedoraKeys::embedded().unwrap();
        assert!(keys.iter().count() >= 5);
        for key in keys.iter() {
            let read = public_key(key).unwrap();
            assert!(read.details.verify_bindings(&read.primary_key).is_ok(), "{}", key.fingerprint);
        }
    }

    #[test]
    fn a_header_that_the_release_s_key_signed_is_accepted() {
        let key = generate();
        let signer = sign(&key).verify(&keys("43", &key), fedora()).unwrap();
        assert_eq!(signer.as_str(), format!("{:X}", key.primary_key.fingerprint()));
    }

    #[test]
    fn other_headers_are_refused() {
        let (key, stranger) = (generate(), generate());
        let good = sign(&key);
        let unsigned = HeaderSignatures { signatures: Vec::new(), ..good.clone() };
        let changed = HeaderSignatures { header: b"another header".to_vec(), ..good.clone() };
        let garbage = HeaderSignatures { signatures: vec![b"no packet".to_vec()], ..good.clone() };
        let (ours, theirs, later) = (keys("43", &key), keys("43", &stranger), keys("44", &key));
        for (signatures, keys, is_expected) in [
            (&unsigned, &ours, matches_missing as fn(&HeaderSignatureError) -> bool),
            (&changed, &ours, |error| matches!(error, HeaderSignatureError::Invalid(_))),
            (&garbage, &ours, |error| matches!(error, HeaderSignatureError::OtherKey { .. })),
            (&good, &theirs, |error| matches!(error, HeaderSignatureError::OtherKey { .. })),
            (&good, &later, |error| matches!(error, HeaderSignatureError::NoKey(_))),
        ] {
            let error = signatures.verify(keys, fedora()).unwrap_err();
            assert!(is_expected(&error), "{error}");
        }
    }

    fn matches_missing(error: &HeaderSignatureError) -> bool {
        *error == HeaderSignatureError::Missing
    }

    #[test]
    fn allowing_unsigned_packages_does_not_allow_changed_ones() {
        let key = generate();
        let policy = KernelPackagePolicy { keys: keys("43", &key), allow_unsigned: true };
        let good = sign(&key);
        let unsigned = HeaderSignatures { signatures: Vec::new(), ..good.clone() };
        let changed = HeaderSignatures { header: b"another header".to_vec(), ..good.clone() };
        assert!(policy.check("kernel-devel", &good, fedora()).unwrap().is_some());
        assert_eq!(policy.check("kernel-devel", &unsigned, fedora()), Ok(None));
        policy.check("kernel-devel", &changed, fedora()).unwrap_err();
        let strict = KernelPackagePolicy { allow_unsigned: false, ..policy };
        strict.check("kernel-devel", &unsigned, fedora()).unwrap_err();
    }
}
