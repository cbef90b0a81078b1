use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use crypto_secretbox::{KeyInit as _, XSalsa20Poly1305, aead::Aead as _};
use secrecy::zeroize::Zeroizing;
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use sigstore_bundle::BundleV03;
use sigstore_bundle::builder::VerificationMaterialV03;
use sigstore_crypto::KeyPair;
use sigstore_types::bundle::SignatureContent;
use sigstore_types::{DsseEnvelope, DsseSignature, KeyId, PayloadBytes, dsse};

use super::simple_signing::{self, SimpleSignature};
use super::statement::PAYLOAD_TYPE;
use super::{PublicKey, Statement, StatementSubject};

/// ECDSA over P-256, which all clients can verify.
#[derive(Debug)]
pub struct SigningKey {
    pair: KeyPair,
    public: PublicKey,
}

/// No message contains any part of the key.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum SigningKeyError {
    #[error("the file holds no private key in a form that is read here, but {0}")]
    #[diagnostic(help(
        "PKCS#8 in PEM (`-----BEGIN PRIVATE KEY-----`) and the `cosign.key` of `cosign generate-key-pair` are read; `openssl pkcs8 -topk8 -nocrypt` makes PKCS#8 of older forms"
    ))]
    OtherForm(String),
    #[error("the private key is damaged: {0}")]
    Damaged(&'static str),
    #[error("the private key is encrypted, and no password was given")]
    #[diagnostic(help(
        "give it in the environment or on standard input; it is never asked for on a terminal"
    ))]
    NoPassword,
    #[error("the password does not open the private key")]
    WrongPassword,
    #[error("the private key is of a kind that cannot be signed with here (expected ECDSA over P-256)")]
    OtherAlgorithm,
    #[error("signing failed: {0}")]
    Signing(String),
}

impl SigningKey {
    /// Reads the text of a key file.
    ///
    /// # Formats
    /// PKCS#8 in PEM (RFC 7468, section 10), or cosign's format: PEM with the label `ENCRYPTED SIGSTORE PRIVATE KEY`
    /// (or `ENCRYPTED COSIGN PRIVATE KEY`) with JSON, in which PKCS#8 is encrypted with NaCl's secretbox and a key
    /// that scrypt derives from the password. The password is ignored if the key is not encrypted.
    pub fn from_pem(text: &SecretString, password: Option<&SecretString>) -> Result<Self, SigningKeyError> {
        let (label, content) = pem(text.expose_secret())?;
        let der = match label {
            "PRIVATE KEY" => content,
            "ENCRYPTED SIGSTORE PRIVATE KEY" | "ENCRYPTED COSIGN PRIVATE KEY" => {
                decrypt(&content, password.ok_or(SigningKeyError::NoPassword)?)?
            }
            other => return Err(SigningKeyError::OtherForm(format!("`{other}`"))),
        };
        Self::new(KeyPair::from_pkcs8_der(&der).map_err(|_| SigningKeyError::OtherAlgorithm)?)
    }

    pub fn generate() -> Result<Self, SigningKeyError> {
        Self::new(KeyPair::generate_ecdsa_p256().map_err(signing)?)
    }

    fn new(pair: KeyPair) -> Result<Self, SigningKeyError> {
        let public = pair.public_key_der().map_err(signing)?;
        let public = PublicKey::from_der(public).map_err(|_| SigningKeyError::OtherAlgorithm)?;
        Ok(Self { pair, public })
    }

    pub const fn public(&self) -> &PublicKey {
        &self.public
    }

    /// Returns the Sigstore bundle as JSON, without log entry and timestamp.
    pub fn sign(&self, statement: &Statement) -> Result<Vec<u8>, SigningKeyError> {
        let message = dsse::pae(PAYLOAD_TYPE, statement.json());
        let signature = self.pair.sign(&message).map_err(signing)?;
        let envelope = DsseEnvelope::new(
            PAYLOAD_TYPE,
            PayloadBytes::from_bytes(statement.json()),
            DsseSignature::new(signature, KeyId::default()),
        );
        let material = VerificationMaterialV03::PublicKey { hint: self.public.hint() };
        let bundle = BundleV03::new(material, SignatureContent::DsseEnvelope(envelope)).into_bundle();
        Ok(bundle.to_json().map_err(signing)?.into_bytes())
    }

    /// For podman, skopeo, bootc and rpm-ostree (see [`simple_signing`]).
    pub fn sign_simple(&self, subject: &StatementSubject) -> Result<SimpleSignature, SigningKeyError> {
        let payload = simple_signing::payload(&subject.name, &subject.digest);
        let signature = self.pair.sign(&payload).map_err(signing)?;
        Ok(SimpleSignature { payload, signature })
    }
}

#[expect(clippy::needless_pass_by_value, reason = "for `map_err`")]
fn signing(error: impl ToString) -> SigningKeyError {
    SigningKeyError::Signing(error.to_string())
}

/// The label and the decoded content.
fn pem(text: &str) -> Result<(&str, Zeroizing<Vec<u8>>), SigningKeyError> {
    let body = text
        .split_once("-----BEGIN ")
        .map(|(_, rest)| rest)
        .ok_or_else(|| SigningKeyError::OtherForm("no PEM text".to_owned()))?;
    let damaged = || SigningKeyError::Damaged("the PEM text does not end");
    let (label, body) = body.split_once("-----").ok_or_else(damaged)?;
    let (body, _) = body.split_once("-----END ").ok_or_else(damaged)?;
    let body: Zeroizing<String> = Zeroizing::new(body.split_whitespace().collect());
    let content = STANDARD
        .decode(body.as_bytes())
        .map_err(|_| SigningKeyError::Damaged("the PEM text is no base64"))?;
    Ok((label, Zeroizing::new(content)))
}

/// The limit of scrypt's N·r·p, against malicious keys. Cosign uses N = 2^16, r = 8 and p = 1.
const MOST_SCRYPT_WORK: u64 = 1 << 26;

fn decrypt(json: &[u8], password: &SecretString) -> Result<Zeroizing<Vec<u8>>, SigningKeyError> {
    #[derive(Deserialize)]
    struct Encrypted {
        kdf: Derivation,
        cipher: Cipher,
        ciphertext: String,
    }
    #[derive(Deserialize)]
    struct Derivation {
        name: String,
        params: Parameters,
        salt: String,
    }
    #[derive(Deserialize)]
    struct Parameters {
        #[serde(rename = "N")]
        cost: u64,
        r: u32,
        p: u32,
    }
    #[derive(Deserialize)]
    struct Cipher {
        name: String,
        nonce: String,
    }
    let damaged = SigningKeyError::Damaged;
    let Encrypted { kdf, cipher, ciphertext } = serde_json::from_slice(json)
        .map_err(|_| damaged("what is encrypted is not described as cosign does"))?;
    if (kdf.name.as_str(), cipher.name.as_str()) != ("scrypt", "nacl/secretbox") {
        return Err(damaged("it is encrypted with something other than scrypt and secretbox"));
    }
    let Parameters { cost, r, p } = kdf.params;
    let work = cost.saturating_mul(r.into()).saturating_mul(p.into());
    if !cost.is_power_of_two() || work > MOST_SCRYPT_WORK {
        return Err(damaged("its scrypt parameters are out of bounds"));
    }
    let binary = |text: &str| STANDARD.decode(text).map_err(|_| damaged("a part of it is no base64"));
    let (salt, nonce, ciphertext) = (binary(&kdf.salt)?, binary(&cipher.nonce)?, binary(&ciphertext)?);
    let nonce: [u8; 24] = nonce.try_into().map_err(|_| damaged("its nonce is not of 24 bytes"))?;
    let mut key = Zeroizing::new([0; 32]);
    let log2 = u8::try_from(cost.ilog2()).map_err(|_| damaged("its scrypt parameters are out of bounds"))?;
    scrypt::Params::new(log2, r, p, key.len())
        .ok()
        .and_then(|params| {
            scrypt::scrypt(password.expose_secret().as_bytes(), &salt, &params, key.as_mut_slice()).ok()
        })
        .ok_or_else(|| damaged("its scrypt parameters are out of bounds"))?;
    XSalsa20Poly1305::new((&*key).into())
        .decrypt((&nonce).into(), ciphertext.as_slice())
        .map(Zeroizing::new)
        .map_err(|_| SigningKeyError::WrongPassword)
}

#[cfg(test)]
mod tests;
