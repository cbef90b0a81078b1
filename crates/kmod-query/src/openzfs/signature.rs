//! The signed checksum of a release: `zfs-X.sha256.asc`, in the cleartext signature framework (RFC 9580, section 7).

use kmod_compat::{KeyFingerprint, ReleaseKeys, SignedChecksum, TarballSha256, ZfsVersion};
use pgp::composed::{CleartextSignedMessage, Deserializable as _, SignedPublicKey};
use pgp::packet::{Signature, SignatureType};
use pgp::types::{KeyDetails, KeyId, VerifyingKey};

use super::{OpenZfs, ZfsRelease};
use crate::http::HttpResponse;
use crate::{FormatError, QueryError, RequestInfo};

impl OpenZfs {
    /// The checksum of the release's tarball that one of these keys signed. The inner error is the reason why there is
    /// no valid one; the outer one says that it could not be found out.
    pub async fn fetch_signed_checksum(
        &self,
        release: &ZfsRelease,
        keys: &ReleaseKeys,
    ) -> Result<Result<SignedChecksum, String>, QueryError> {
        let version = release.version;
        let stem = release.tarball_url.strip_suffix(".tar.gz").unwrap_or(&release.tarball_url);
        let url = format!("{stem}.sha256.asc");
        let request = RequestInfo::new(&url, format!("the signed checksum of OpenZFS {version}"));
        let response = match self.http.get(&url, &request).await {
            Err(QueryError::NotFound { .. }) => {
                return Ok(Err(format!("the release has no {}.sha256.asc", version.tag())));
            }
            response => response?,
        };
        match SignedText::parse(text(&response)) {
            Ok(signed) => self.check(&signed, version, keys).await,
            Err(reason) => Ok(Err(reason)),
        }
    }

    async fn check(
        &self,
        signed: &SignedText,
        version: ZfsVersion,
        keys: &ReleaseKeys,
    ) -> Result<Result<SignedChecksum, String>, QueryError> {
        // Subkeys sign too, and only the key itself tells which it has.
        let (named, others): (Vec<_>, Vec<_>) =
            keys.iter().map(|key| &key.fingerprint).partition(|fingerprint| signed.names(fingerprint));
        for fingerprint in named.into_iter().chain(others) {
            let key = self.fetch_key(fingerprint).await?;
            if let Some(verified) = signed.verify(&key) {
                let checksum = verified.and_then(|text| parse_checksum(&text, version));
                return Ok(checksum.map(|sha256| SignedChecksum { sha256, signer: fingerprint.clone() }));
            }
        }
        Ok(Err(format!("the checksum is signed by {}, which is not a pinned key", signed.issuers())))
    }

    /// Only a key with this fingerprint is accepted, and then kept in the cache.
    async fn fetch_key(&self, fingerprint: &KeyFingerprint) -> Result<PublicKey, QueryError> {
        let url = self.key_url.replace("{fingerprint}", fingerprint.as_str());
        let request = RequestInfo::new(&url, format!("the OpenPGP key {fingerprint}"));
        let parse = |response: &HttpResponse| {
            PublicKey::parse(text(response), fingerprint).map_err(|reason| {
                FormatError::Invalid { field: "(the whole document)".to_owned(), reason }.at(&request)
            })
        };
        self.http.get_checked(&url, &request, parse).await
    }
}

fn text(response: &HttpResponse) -> &str {
    std::str::from_utf8(&response.body).unwrap_or_default()
}

/// A public key with the expected fingerprint, which is not revoked.
struct PublicKey(SignedPublicKey);

impl PublicKey {
    fn parse(text: &str, expected: &KeyFingerprint) -> Result<Self, String> {
        let (key, _) =
            SignedPublicKey::from_string(text).map_err(|error| format!("not a public key: {error}"))?;
        let found = fingerprint(&key);
        if found != expected.as_str() {
            return Err(format!("it is the key {found}, not {expected}"));
        }
        let revoked = |signature: &Signature| signature.verify_key(&key.primary_key).is_ok();
        if key.details.revocation_signatures.iter().any(revoked) {
            return Err(format!("the key {expected} is revoked"));
        }
        Ok(Self(key))
    }
}

struct SignedText(CleartextSignedMessage);

impl SignedText {
    fn parse(text: &str) -> Result<Self, String> {
        let message = CleartextSignedMessage::from_string(text);
        message
            .map(|(message, _)| Self(message))
            .map_err(|error| format!("the signed checksum is malformed: {error}"))
    }

    fn issued(signature: &Signature) -> impl Iterator<Item = String> {
        let fingerprints = signature.issuer_fingerprint().into_iter().map(|issuer| format!("{issuer:X}"));
        let ids = signature.issuer_key_id().into_iter().map(|id| key_id(*id));
        fingerprints.chain(ids)
    }

    /// Whether a signature says that it is by this primary key.
    fn names(&self, fingerprint: &KeyFingerprint) -> bool {
        let mut issuers = self.0.signatures().iter().flat_map(Self::issued);
        issuers.any(|issuer| fingerprint.as_str().ends_with(&issuer))
    }

    fn issuers(&self) -> String {
        let first = |signature| Self::issued(signature).next();
        let issuers: Vec<_> = self.0.signatures().iter().filter_map(first).collect();
        if issuers.is_empty() { "an unnamed key".to_owned() } else { issuers.join(", ") }
    }

    /// The signed text. `None` if no signature is by the key or a subkey of it.
    fn verify(&self, key: &PublicKey) -> Option<Result<String, String>> {
        let SignedPublicKey { primary_key, public_subkeys, .. } = &key.0;
        let mut verified = self.verify_by(primary_key);
        for subkey in public_subkeys.iter().filter(|subkey| may_sign(subkey, primary_key)) {
            verified = verified.or_else(|| self.verify_by(&subkey.key));
        }
        verified
    }

    fn verify_by(&self, key: &impl VerifyingKey) -> Option<Result<String, String>> {
        let (fingerprint, id) = (fingerprint(key), key_id(key.legacy_key_id()));
        let by_key = |signature: &&Signature| {
            Self::issued(signature).any(|issuer| issuer == fingerprint || issuer == id)
        };
        let signature = self.0.signatures().iter().find(by_key)?;
        let text = self.0.signed_text();
        let of_text = matches!(signature.typ(), Some(SignatureType::Text | SignatureType::Binary));
        let valid = of_text && signature.verify(key, text.as_bytes()).is_ok();
        Some(if valid { Ok(text) } else { Err(format!("the signature by {fingerprint} is not valid")) })
    }
}

/// Whether the primary key lets the subkey sign, and has not revoked it.
fn may_sign(subkey: &pgp::composed::SignedPublicSubKey, primary: &pgp::packet::PublicKey) -> bool {
    subkey.verify_bindings(primary).is_ok()
        && subkey.signatures.iter().any(|signature| signature.key_flags().sign())
        && !subkey.signatures.iter().any(|signature| signature.typ() == Some(SignatureType::SubkeyRevocation))
}

fn fingerprint(key: &impl KeyDetails) -> String {
    format!("{:X}", key.fingerprint())
}

fn key_id(id: KeyId) -> String {
    id.to_string().to_ascii_uppercase()
}

/// The line of the release's tarball, as `sha256sum` prints it.
fn parse_checksum(text: &str, version: ZfsVersion) -> Result<TarballSha256, String> {
    let file = format!("{}.tar.gz", version.tag());
    let mut lines = text.lines().filter_map(|line| line.trim_end().split_once([' ', '\t']));
    let line = lines.find(|(_, name)| name.trim_start().trim_start_matches('*') == file);
    let (sha256, _) = line.ok_or_else(|| format!("the signed checksum does not name {file}"))?;
    sha256.parse().map_err(|error| format!("the signed checksum: {error}"))
}

#[cfg(test)]
mod tests {
    use pgp::composed::{
        ArmorOptions, EncryptionCaps, KeyType, SecretKeyParamsBuilder, SignedSecretKey, SubkeyParamsBuilder,
    };
    use pgp::types::Password;

    use super::*;

    const SUM: &str = "1f08f2d154f5189b5f1382848a32667b3d34066145b474c49cd3d41a5fba59a7";

    /// With a subkey that may sign.
    fn generate() -> SignedSecretKey {
        let subkey = SubkeyParamsBuilder::default()
            .key_type(KeyType::Ed25519Legacy)
            .can_sign(true)
            .can_encrypt(EncryptionCaps::None)
            .build()
            .unwrap();
        let mut parameters = SecretKeyParamsBuilder::default();
        parameters
            .key_type(KeyType::Ed25519Legacy)
            .can_certify(true)
            .can_sign(true)
            .can_encrypt(EncryptionCaps::None)
            .primary_user_id("Release manager <a@example.org>".into())
            .subkeys(vec![subkey]);
        parameters.build().unwrap().generate(rand::thread_rng()).unwrap()
    }

    fn public(key: &SignedSecretKey) -> String {
        SignedPublicKey::from(key.clone()).to_armored_string(ArmorOptions::default()).unwrap()
    }

    fn parse(key: &SignedSecretKey) -> PublicKey {
        PublicKey::parse(&public(key), &fingerprint(&key.primary_key).parse().unwrap()).unwrap()
    }

    fn sign(key: &impl pgp::types::SigningKey) -> String {
        let text = format!("{SUM}  zfs-2.4.3.tar.gz\n");
        let message =
            CleartextSignedMessage::sign(rand::thread_rng(), &text, key, &Password::empty()).unwrap();
        message.to_armored_string(ArmorOptions::default()).unwrap()
    }

    #[test]
    fn a_checksum_signed_by_the_key_or_its_subkey_is_read() {
        let key = generate();
        for text in [sign(&key.primary_key), sign(&key.secret_subkeys[0].key)] {
            let signed = SignedText::parse(&text).unwrap();
            let text = signed.verify(&parse(&key)).unwrap().unwrap();
            assert_eq!(parse_checksum(&text, "2.4.3".parse().unwrap()).unwrap().as_str(), SUM);
            assert!(parse_checksum(&text, "2.4.4".parse().unwrap()).is_err());
        }
        let fingerprint = fingerprint(&key.primary_key).parse().unwrap();
        assert!(SignedText::parse(&sign(&key.primary_key)).unwrap().names(&fingerprint));
    }

    #[test]
    fn a_changed_text_is_not_valid() {
        let key = generate();
        let changed = sign(&key.primary_key).replace("2.4.3.tar.gz", "2.4.4.tar.gz");
        let verified = SignedText::parse(&changed).unwrap().verify(&parse(&key)).unwrap();
        assert!(verified.unwrap_err().ends_with("is not valid"));
    }

    #[test]
    fn a_stranger_s_signature_is_not_by_the_key() {
        let (key, stranger) = (generate(), generate());
        let signed = SignedText::parse(&sign(&stranger.primary_key)).unwrap();
        assert!(signed.verify(&parse(&key)).is_none());
        assert_eq!(signed.issuers(), fingerprint(&stranger.primary_key));
    }

    #[test]
    fn another_key_than_the_pinned_one_is_refused() {
        let (key, stranger) = (generate(), generate());
        let pinned = fingerprint(&key.primary_key).parse().unwrap();
        assert!(PublicKey::parse(&public(&stranger), &pinned).is_err());
        assert!(PublicKey::parse("<html>", &pinned).is_err());
        // A subkey of a stranger does not become one of the key.
        let mut mixed = SignedPublicKey::from(key.clone());
        mixed.public_subkeys = SignedPublicKey::from(stranger.clone()).public_subkeys;
        let mixed = mixed.to_armored_string(ArmorOptions::default()).unwrap();
        let signed = SignedText::parse(&sign(&stranger.secret_subkeys[0].key)).unwrap();
        assert!(signed.verify(&PublicKey::parse(&mixed, &pinned).unwrap()).is_none());
    }

    #[test]
    fn what_is_no_signed_text_is_refused() {
        assert!(SignedText::parse("").is_err());
        assert!(SignedText::parse(&format!("{SUM}  zfs-2.4.3.tar.gz\n")).is_err());
        let version = "2.4.3".parse().unwrap();
        assert!(parse_checksum("x  zfs-2.4.3.tar.gz", version).is_err());
        assert!(parse_checksum(&format!("{SUM} *zfs-2.4.3.tar.gz"), version).is_ok());
    }
}
