//! Certificate authorities: keys, certificates, and the proof that a certificate was logged.

use std::sync::atomic::{AtomicU64, Ordering};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::{Timestamp, ToSpan as _};
use sha2::{Digest as _, Sha256};
use sigstore_crypto::KeyPair;

use crate::der::{self, OCTETS, SET, UTC_TIME, UTF8};

/// ECDSA with SHA-256.
pub(crate) const ECDSA_SHA256: &str = "1.2.840.10045.4.3.2";
/// What a certificate for signing code may be used for.
pub(crate) const CODE_SIGNING: &str = "1.3.6.1.5.5.7.3.3";
/// What a certificate of a timestamp authority may be used for.
pub(crate) const TIME_STAMPING: &str = "1.3.6.1.5.5.7.3.8";

/// A key pair (ECDSA over P-256) and its public half as others see it.
pub(crate) struct Key {
    pair: KeyPair,
    /// The public key, as `SubjectPublicKeyInfo`.
    pub(crate) public: Vec<u8>,
}

impl Key {
    pub(crate) fn new() -> Self {
        let pair = KeyPair::generate_ecdsa_p256().expect("a key can be made");
        let public = pair.public_key_der().expect("a key that was made can be written").as_bytes().to_vec();
        Self { pair, public }
    }

    /// ECDSA over the SHA-256 of the message, in ASN.1.
    pub(crate) fn sign(&self, message: &[u8]) -> Vec<u8> {
        self.pair.sign(message).expect("a key that was made can sign").as_bytes().to_vec()
    }

    /// The SHA-256 of the public key: how logs are named.
    pub(crate) fn id(&self) -> [u8; 32] {
        Sha256::digest(&self.public).into()
    }
}

/// Somebody with a certificate.
pub(crate) struct Authority {
    pub(crate) key: Key,
    /// The name, as the certificate has it.
    pub(crate) name: Vec<u8>,
    /// The certificate.
    pub(crate) certificate: Vec<u8>,
    /// Its serial number, as the certificate has it.
    pub(crate) serial: Vec<u8>,
}

static SERIAL: AtomicU64 = AtomicU64::new(1);

fn next_serial() -> Vec<u8> {
    der::integer(SERIAL.fetch_add(1, Ordering::Relaxed))
}

impl Authority {
    /// An authority that vouches for itself, and may vouch for others.
    pub(crate) fn root(common_name: &str) -> Self {
        let key = Key::new();
        let name = name(common_name);
        let serial = next_serial();
        let identifier = &key.id()[..20];
        let extensions = [
            // BasicConstraints: an authority. KeyUsage: keyCertSign and cRLSign.
            extension("2.5.29.19", true, &der::sequence([&der::yes()])),
            extension("2.5.29.15", true, &[0x03, 0x02, 0x01, 0x06]),
            extension("2.5.29.14", false, &der::tagged(OCTETS, identifier)),
        ]
        .concat();
        let body = certificate_body(&serial, &name, &name, &key.public, 24 * 365, &extensions);
        let certificate = signed(&body, &key);
        Self { key, name, certificate, serial }
    }

    /// Somebody that this authority vouches for, for one purpose.
    pub(crate) fn vouch(&self, common_name: &str, purpose: &str) -> Self {
        let key = Key::new();
        let name = name(common_name);
        let serial = next_serial();
        let extensions = self.leaf_extensions(&key.public, purpose, true);
        let body = certificate_body(&serial, &self.name, &name, &key.public, 24 * 365, &extensions);
        let certificate = signed(&body, &self.key);
        Self { key, name, certificate, serial }
    }

    /// A certificate for ten minutes, logged, for the holder of a key who proved to be this workflow (Fulcio,
    /// `docs/certificate-specification.md`).
    pub(crate) fn issue(&self, public: &[u8], log: &Key, identity: &str, claims: &[(u8, String)]) -> Vec<u8> {
        let serial = next_serial();
        let mut extensions = self.leaf_extensions(public, CODE_SIGNING, false);
        // SubjectAltName with one address, critical because the certificate names no subject.
        let address = der::tagged(0x86, identity.as_bytes());
        extensions.extend(extension("2.5.29.17", true, &der::sequence([&address])));
        for (number, value) in claims {
            // The oldest ones, up to 7, are bare text; some clients read only those.
            let value =
                if *number < 7 { value.as_bytes().to_vec() } else { der::tagged(UTF8, value.as_bytes()) };
            extensions.extend(extension(&format!("1.3.6.1.4.1.57264.1.{number}"), false, &value));
        }
        let nobody = der::sequence([]);
        let body = |extensions: &[u8]| certificate_body(&serial, &self.name, &nobody, public, 0, extensions);
        let proof = logged(&body(&extensions), &self.key, log);
        extensions.extend(extension("1.3.6.1.4.1.11129.2.4.2", false, &der::tagged(OCTETS, &proof)));
        signed(&body(&extensions), &self.key)
    }

    fn leaf_extensions(&self, public: &[u8], purpose: &str, critical: bool) -> Vec<u8> {
        let own: [u8; 32] = Sha256::digest(public).into();
        let issuer = der::tagged(0x80, &self.key.id()[..20]);
        [
            // KeyUsage: digitalSignature.
            extension("2.5.29.15", true, &[0x03, 0x02, 0x07, 0x80]),
            extension("2.5.29.37", critical, &der::sequence([&der::oid(purpose)])),
            extension("2.5.29.14", false, &der::tagged(OCTETS, &own[..20])),
            extension("2.5.29.35", false, &der::sequence([&issuer])),
        ]
        .concat()
    }
}

/// A name of nothing but a common name.
fn name(common_name: &str) -> Vec<u8> {
    let attribute = der::sequence([&der::oid("2.5.4.3"), &der::tagged(UTF8, common_name.as_bytes())]);
    der::sequence([&der::tagged(SET, &attribute)])
}

fn extension(oid: &str, critical: bool, value: &[u8]) -> Vec<u8> {
    let critical = if critical { der::yes() } else { Vec::new() };
    der::sequence([&der::oid(oid), &critical, &der::tagged(OCTETS, value)])
}

/// What is signed of a certificate (RFC 5280, section 4.1). It begins to be valid a minute ago, so that clocks may
/// differ, and ends ten minutes and this many hours from now.
fn certificate_body(
    serial: &[u8],
    issuer: &[u8],
    subject: &[u8],
    public: &[u8],
    hours: i64,
    extensions: &[u8],
) -> Vec<u8> {
    let time = |time: Timestamp| der::tagged(UTC_TIME, time.strftime("%y%m%d%H%M%SZ").to_string().as_bytes());
    let now = Timestamp::now();
    let validity = der::sequence([&time(now - 1.minute()), &time(now + 10.minutes() + hours.hours())]);
    let extensions = der::sequence([extensions]);
    der::sequence([
        &der::context(0, &der::integer(2)),
        serial,
        &der::algorithm(ECDSA_SHA256),
        issuer,
        &validity,
        subject,
        public,
        &der::context(3, &extensions),
    ])
}

fn signed(body: &[u8], key: &Key) -> Vec<u8> {
    der::sequence([body, &der::algorithm(ECDSA_SHA256), &der::bits(&key.sign(body))])
}

/// The list of one signed certificate timestamp for a certificate that does not have it yet (RFC 6962, section 3.2).
fn logged(body: &[u8], issuer: &Key, log: &Key) -> Vec<u8> {
    let now = u64::try_from(Timestamp::now().as_millisecond()).expect("it is after 1970").to_be_bytes();
    let length = u32::try_from(body.len()).expect("a certificate is small").to_be_bytes();
    let message: Vec<u8> =
        [&[0, 0], now.as_slice(), &[0, 1], &issuer.id(), &length[1..], body, &[0, 0]].concat();
    // SHA-256 (4) with ECDSA (3).
    let signature = with_length(&log.sign(&message));
    let entry: Vec<u8> = [&[0], log.id().as_slice(), &now, &[0, 0], &[4, 3], &signature].concat();
    with_length(&with_length(&entry))
}

fn with_length(bytes: &[u8]) -> Vec<u8> {
    [&u16::try_from(bytes.len()).expect("less than 64 KiB").to_be_bytes(), bytes].concat()
}

/// The PEM text of a certificate.
pub(crate) fn pem(certificate: &[u8]) -> String {
    let text = STANDARD.encode(certificate);
    let lines: Vec<_> = text.as_bytes().chunks(64).map(String::from_utf8_lossy).collect();
    format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", lines.join("\n"))
}
