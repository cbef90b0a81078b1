use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest as _, Sha256};
use sigstore_crypto::VerificationKey;
use sigstore_types::{DerPublicKey, SignatureBytes};

/// ECDSA over P-256 or P-384, Ed25519 or RSA.
#[derive(Clone, PartialEq, Eq)]
pub struct PublicKey(DerPublicKey);

#[derive(Debug, thiserror::Error, miette::Diagnostic)]
#[error("this is no public key that signatures can be checked with: {0}")]
#[diagnostic(help(
    "expected a PEM file that begins with `-----BEGIN PUBLIC KEY-----`, such as the `cosign.pub` of `cosign generate-key-pair`"
))]
pub struct KeyError(#[from] sigstore_crypto::Error);

impl PublicKey {
    /// PEM with a `SubjectPublicKeyInfo` (RFC 7468, section 13).
    pub fn from_pem(text: &str) -> Result<Self, KeyError> {
        let key = DerPublicKey::from_pem(text)
            .map_err(|error| KeyError(sigstore_crypto::Error::InvalidKey(error.to_string())))?;
        Self::from_der(key)
    }

    /// A `SubjectPublicKeyInfo` in DER.
    pub fn from_der(key: DerPublicKey) -> Result<Self, KeyError> {
        VerificationKey::from_spki(&key)?;
        Ok(Self(key))
    }

    pub fn to_pem(&self) -> String {
        self.0.to_pem()
    }

    /// The key's name in bundles: base64 of the SHA-256 of its DER. Not a proof.
    pub fn hint(&self) -> String {
        STANDARD.encode(Sha256::digest(self.0.as_bytes()))
    }

    /// The hash is the one that belongs to the key's algorithm.
    pub fn verifies(&self, message: &[u8], signature: &SignatureBytes) -> bool {
        VerificationKey::from_spki(&self.0).is_ok_and(|key| key.verify(message, signature).is_ok())
    }
}

impl std::fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "PublicKey({})", self.hint())
    }
}

#[cfg(test)]
mod tests {
    use sigstore_crypto::KeyPair;

    use super::*;

    #[test]
    fn a_key_checks_what_its_owner_signed() {
        let pair = KeyPair::generate_ecdsa_p256().unwrap();
        let key = PublicKey::from_pem(&pair.public_key_der().unwrap().to_pem()).unwrap();
        let signature = pair.sign(b"message").unwrap();
        assert!(key.verifies(b"message", &signature));
        assert!(!key.verifies(b"massage", &signature));
        let other = KeyPair::generate_ecdsa_p256().unwrap().public_key_der().unwrap();
        assert!(!PublicKey::from_der(other).unwrap().verifies(b"message", &signature));
        assert_eq!(PublicKey::from_pem(&key.to_pem()).unwrap(), key);
    }

    #[test]
    fn what_is_no_public_key_is_refused() {
        for text in ["", "key", "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n"] {
            assert!(PublicKey::from_pem(text).is_err(), "{text}");
        }
    }
}
