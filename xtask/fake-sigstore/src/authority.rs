//! Certificate authorities: keys, certificates, and signed certificate timestamps.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use der::asn1::{BitString, Ia5String, ObjectIdentifier, OctetString, UtcTime, Utf8StringRef};
use der::oid::AssociatedOid;
use der::pem::LineEnding;
use der::{Encode as _, EncodePem as _};
use jiff::Timestamp;
use sha2::{Digest as _, Sha256};
use sigstore_crypto::KeyPair;
use x509_cert::ext::Extension;
use x509_cert::ext::pkix::name::GeneralName;
use x509_cert::ext::pkix::{
    AuthorityKeyIdentifier, BasicConstraints, ExtendedKeyUsage, KeyUsage, KeyUsages, SubjectAltName,
    SubjectKeyIdentifier,
};
use x509_cert::name::Name;
use x509_cert::serial_number::SerialNumber;
use x509_cert::spki::{AlgorithmIdentifierOwned, SubjectPublicKeyInfoOwned};
use x509_cert::time::{Time, Validity};
use x509_cert::{Certificate, TbsCertificate, Version};

/// `ecdsa-with-SHA256`
const ECDSA_SHA256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.2");
/// `id-kp-codeSigning`
const CODE_SIGNING: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.3");
/// `id-kp-timeStamping`
const TIME_STAMPING: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.8");
/// The list of signed certificate timestamps (RFC 6962, section 3.3).
const TIMESTAMP_LIST: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.11129.2.4.2");
const ENCODES: &str = "these values encode";
const YEAR: Duration = Duration::from_hours(365 * 24);

/// ECDSA over P-256.
pub(crate) struct Key {
    pair: KeyPair,
    /// `SubjectPublicKeyInfo`, DER.
    pub(crate) public: Vec<u8>,
}

impl Key {
    pub(crate) fn new() -> Self {
        let pair = KeyPair::generate_ecdsa_p256().expect("keys can be generated");
        let public = pair.public_key_der().expect(ENCODES).as_bytes().to_vec();
        Self { pair, public }
    }

    /// ECDSA over the SHA-256 of the message, in ASN.1.
    pub(crate) fn sign(&self, message: &[u8]) -> Vec<u8> {
        self.pair.sign(message).expect("a generated key signs").as_bytes().to_vec()
    }

    /// The SHA-256 of the public key, which identifies a log.
    pub(crate) fn id(&self) -> [u8; 32] {
        Sha256::digest(&self.public).into()
    }
}

pub(crate) fn ecdsa_sha256() -> AlgorithmIdentifierOwned {
    AlgorithmIdentifierOwned { oid: ECDSA_SHA256, parameters: None }
}

/// A key with its certificate.
pub(crate) struct Authority {
    pub(crate) key: Key,
    pub(crate) certificate: Certificate,
}

impl Authority {
    /// With a self-signed certificate of a certificate authority.
    pub(crate) fn root(common_name: &str) -> Self {
        let key = Key::new();
        let name = name(common_name);
        let extensions = vec![
            extension(true, &BasicConstraints { ca: true, path_len_constraint: None }),
            extension(true, &KeyUsage(KeyUsages::KeyCertSign | KeyUsages::CRLSign)),
            extension(false, &SubjectKeyIdentifier(key_identifier(&key.public))),
        ];
        let certificate = signed(body(&name, &name, &key.public, YEAR, extensions), &key);
        Self { key, certificate }
    }

    /// A timestamp authority with a certificate of this one.
    pub(crate) fn timestamp_authority(&self, common_name: &str) -> Self {
        let key = Key::new();
        let extensions = self.leaf_extensions(&key.public, TIME_STAMPING, true);
        let body = body(self.name(), &name(common_name), &key.public, YEAR, extensions);
        Self { certificate: signed(body, &self.key), key }
    }

    /// A certificate for ten minutes, logged, for the key of a workflow (Fulcio,
    /// `docs/certificate-specification.md`).
    pub(crate) fn issue(
        &self,
        public: &[u8],
        log: &Key,
        identity: &str,
        claims: &[(u8, String)],
    ) -> Result<Certificate, String> {
        let wrong = |error: der::Error| error.to_string();
        SubjectPublicKeyInfoOwned::try_from(public).map_err(|error| error.to_string())?;
        let mut extensions = self.leaf_extensions(public, CODE_SIGNING, false);
        let address = Ia5String::new(identity).map_err(wrong)?;
        let name = SubjectAltName(vec![GeneralName::UniformResourceIdentifier(address)]);
        // Critical, because the certificate names no subject.
        extensions.push(extension(true, &name));
        for (number, value) in claims {
            // Numbers below 7 are bare text; some clients read only those.
            let value = if *number < 7 {
                value.as_bytes().to_vec()
            } else {
                Utf8StringRef::new(value).and_then(|text| text.to_der()).map_err(wrong)?
            };
            let id = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.57264.1");
            let extn_id = id.push_arc(u32::from(*number)).expect(ENCODES);
            extensions.push(Extension { extn_id, critical: false, extn_value: octets(value) });
        }
        let mut body = body(self.name(), &Name::default(), public, Duration::ZERO, extensions);
        let timestamps = octets(octets(timestamp_list(&body, &self.key, log)).to_der().expect(ENCODES));
        let list = Extension { extn_id: TIMESTAMP_LIST, critical: false, extn_value: timestamps };
        body.extensions.get_or_insert_default().push(list);
        Ok(signed(body, &self.key))
    }

    pub(crate) fn certificate_der(&self) -> Vec<u8> {
        self.certificate.to_der().expect(ENCODES)
    }

    fn name(&self) -> &Name {
        &self.certificate.tbs_certificate.subject
    }

    fn leaf_extensions(&self, public: &[u8], purpose: ObjectIdentifier, critical: bool) -> Vec<Extension> {
        let issuer = AuthorityKeyIdentifier {
            key_identifier: Some(key_identifier(&self.key.public)),
            authority_cert_issuer: None,
            authority_cert_serial_number: None,
        };
        vec![
            extension(true, &KeyUsage(KeyUsages::DigitalSignature.into())),
            extension(critical, &ExtendedKeyUsage(vec![purpose])),
            extension(false, &SubjectKeyIdentifier(key_identifier(public))),
            extension(false, &issuer),
        ]
    }
}

fn name(common_name: &str) -> Name {
    format!("CN={common_name}").parse().expect("a name of letters and spaces")
}

/// The first 160 bits of the key's SHA-256 (RFC 7093, section 2).
fn key_identifier(public: &[u8]) -> OctetString {
    octets(&Sha256::digest(public)[..20])
}

pub(crate) fn octets(bytes: impl Into<Vec<u8>>) -> OctetString {
    OctetString::new(bytes).expect(ENCODES)
}

fn extension<T: AssociatedOid + der::Encode>(critical: bool, value: &T) -> Extension {
    Extension { extn_id: T::OID, critical, extn_value: octets(value.to_der().expect(ENCODES)) }
}

/// Valid from a minute ago, so that clocks may differ, until ten minutes and `lifetime` from now.
fn body(
    issuer: &Name,
    subject: &Name,
    public: &[u8],
    lifetime: Duration,
    extensions: Vec<Extension>,
) -> TbsCertificate {
    static SERIAL: AtomicU64 = AtomicU64::new(1);
    let serial = SERIAL.fetch_add(1, Ordering::Relaxed);
    let now = u64::try_from(Timestamp::now().as_second()).expect("it is after 1970");
    let time = |seconds| {
        let time = UtcTime::from_unix_duration(Duration::from_secs(seconds));
        Time::UtcTime(time.expect("it is before 2050"))
    };
    TbsCertificate {
        version: Version::V3,
        serial_number: SerialNumber::from(serial),
        signature: ecdsa_sha256(),
        issuer: issuer.clone(),
        validity: Validity { not_before: time(now - 60), not_after: time(now + 600 + lifetime.as_secs()) },
        subject: subject.clone(),
        subject_public_key_info: public.try_into().expect("a public key"),
        issuer_unique_id: None,
        subject_unique_id: None,
        extensions: Some(extensions),
    }
}

fn signed(body: TbsCertificate, key: &Key) -> Certificate {
    let signature = key.sign(&body.to_der().expect(ENCODES));
    Certificate {
        tbs_certificate: body,
        signature_algorithm: ecdsa_sha256(),
        signature: BitString::from_bytes(&signature).expect(ENCODES),
    }
}

/// A list of one signed certificate timestamp, for a certificate without it (RFC 6962, section 3.2).
fn timestamp_list(body: &TbsCertificate, issuer: &Key, log: &Key) -> Vec<u8> {
    let body = body.to_der().expect(ENCODES);
    let now = u64::try_from(Timestamp::now().as_millisecond()).expect("it is after 1970").to_be_bytes();
    let length = u32::try_from(body.len()).expect("a certificate is small").to_be_bytes();
    let message: Vec<u8> =
        [&[0, 0], now.as_slice(), &[0, 1], &issuer.id(), &length[1..], &body, &[0, 0]].concat();
    // SHA-256 (4) with ECDSA (3).
    let signature = with_length(&log.sign(&message));
    let entry: Vec<u8> = [&[0], log.id().as_slice(), &now, &[0, 0], &[4, 3], &signature].concat();
    with_length(&with_length(&entry))
}

fn with_length(bytes: &[u8]) -> Vec<u8> {
    [&u16::try_from(bytes.len()).expect("less than 64 KiB").to_be_bytes(), bytes].concat()
}

pub(crate) fn pem(certificate: &Certificate) -> String {
    certificate.to_pem(LineEnding::LF).expect(ENCODES)
}
