//! A timestamp authority (RFC 3161).

use std::time::Duration;

use cms::cert::{CertificateChoices, IssuerAndSerialNumber};
use cms::content_info::{CmsVersion, ContentInfo};
use cms::signed_data::{
    CertificateSet, EncapsulatedContentInfo, SignedData, SignerIdentifier, SignerInfo, SignerInfos,
};
use der::asn1::{GeneralizedTime, Int, ObjectIdentifier, OctetString, SetOfVec};
use der::{Any, Decode as _, Encode as _, EncodeValue, Sequence, Tag};
use sha2::{Digest as _, Sha256};
use x509_cert::{attr::Attribute, spki::AlgorithmIdentifierOwned};

use crate::authority::{Authority, ecdsa_sha256, octets};

const SHA256: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.2.1");
const SIGNED_DATA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.7.2");
const TIMESTAMP_INFO: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.16.1.4");
const CONTENT_TYPE: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.3");
const MESSAGE_DIGEST: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.4");
/// `id-aa-signingCertificateV2` (RFC 5035)
const SIGNING_CERTIFICATE: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.16.2.47");
/// The policy of Sigstore's own timestamp authority.
const POLICY: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.57264.2");

#[derive(Sequence)]
struct TimestampRequest {
    version: u8,
    message_imprint: MessageImprint,
    #[asn1(optional = "true")]
    policy: Option<ObjectIdentifier>,
    #[asn1(optional = "true")]
    nonce: Option<Int>,
    #[asn1(default = "Default::default")]
    certificate_requested: bool,
}

#[derive(Sequence)]
struct MessageImprint {
    hash_algorithm: AlgorithmIdentifierOwned,
    hashed_message: OctetString,
}

/// `TSTInfo`, without the members that are not used here.
#[derive(Sequence)]
struct TimestampInfo {
    version: u8,
    policy: ObjectIdentifier,
    message_imprint: MessageImprint,
    serial_number: u8,
    time: GeneralizedTime,
    #[asn1(optional = "true")]
    nonce: Option<Int>,
}

#[derive(Sequence)]
struct TimestampResponse {
    status: StatusInfo,
    token: ContentInfo,
}

#[derive(Sequence)]
struct StatusInfo {
    status: u8,
}

/// The response to a timestamp request, both in DER.
pub(crate) fn answer(authority: &Authority, request: &[u8]) -> der::Result<Vec<u8>> {
    let request = TimestampRequest::from_der(request)?;
    // Whole seconds: some clients do not read fractions.
    let now = u64::try_from(jiff::Timestamp::now().as_second()).unwrap_or_default();
    let info = TimestampInfo {
        version: 1,
        policy: POLICY,
        message_imprint: request.message_imprint,
        serial_number: 1,
        time: GeneralizedTime::from_unix_duration(Duration::from_secs(now))?,
        nonce: request.nonce,
    };
    let token = signed(authority, info.to_der()?)?;
    TimestampResponse { status: StatusInfo { status: 0 }, token }.to_der()
}

/// CMS signed data (RFC 5652, section 5) around a `TSTInfo`.
fn signed(authority: &Authority, info: Vec<u8>) -> der::Result<ContentInfo> {
    let hash = |bytes: &[u8]| octets(Sha256::digest(bytes).to_vec());
    // SigningCertificateV2 with one ESSCertIDv2, whose hash algorithm is the default, SHA-256.
    let certificate_hash = vec![vec![vec![hash(&authority.certificate_der())]]];
    let attributes = SetOfVec::try_from(vec![
        attribute(CONTENT_TYPE, &TIMESTAMP_INFO)?,
        attribute(MESSAGE_DIGEST, &hash(&info))?,
        attribute(SIGNING_CERTIFICATE, &certificate_hash)?,
    ])?;
    let sha256 = AlgorithmIdentifierOwned { oid: SHA256, parameters: None };
    let certificate = &authority.certificate;
    let signer = SignerInfo {
        version: CmsVersion::V1,
        sid: SignerIdentifier::IssuerAndSerialNumber(IssuerAndSerialNumber {
            issuer: certificate.tbs_certificate.issuer.clone(),
            serial_number: certificate.tbs_certificate.serial_number.clone(),
        }),
        digest_alg: sha256.clone(),
        signature: octets(authority.key.sign(&attributes.to_der()?)),
        signed_attrs: Some(attributes),
        signature_algorithm: ecdsa_sha256(),
        unsigned_attrs: None,
    };
    let data = SignedData {
        version: CmsVersion::V3,
        digest_algorithms: SetOfVec::try_from(vec![sha256])?,
        encap_content_info: EncapsulatedContentInfo {
            econtent_type: TIMESTAMP_INFO,
            econtent: Some(Any::new(Tag::OctetString, info)?),
        },
        certificates: Some(CertificateSet(SetOfVec::try_from(vec![CertificateChoices::Certificate(
            certificate.clone(),
        )])?)),
        crls: None,
        signer_infos: SignerInfos(SetOfVec::try_from(vec![signer])?),
    };
    Ok(ContentInfo { content_type: SIGNED_DATA, content: Any::encode_from(&data)? })
}

fn attribute(oid: ObjectIdentifier, value: &(impl EncodeValue + der::Tagged)) -> der::Result<Attribute> {
    Ok(Attribute { oid, values: SetOfVec::try_from(vec![Any::encode_from(value)?])? })
}
