//! A timestamp authority (RFC 3161).

use jiff::Timestamp;
use sha2::{Digest as _, Sha256};

use crate::authority::{Authority, ECDSA_SHA256};
use crate::der::{self, GENERALIZED_TIME, INTEGER, OCTETS, SET};

const SHA256: &str = "2.16.840.1.101.3.4.2.1";
const SIGNED_DATA: &str = "1.2.840.113549.1.7.2";
const TIMESTAMP_INFO: &str = "1.2.840.113549.1.9.16.1.4";

/// Answers a request for a timestamp; `None` if it is not one.
pub(crate) fn answer(authority: &Authority, request: &[u8]) -> Option<Vec<u8>> {
    let parts = der::parts(request)?;
    let (imprint, rest) = parts.get(1..)?.split_first()?;
    let nonce = rest.iter().find(|part| part.first() == Some(&INTEGER)).copied().unwrap_or_default();
    // Whole seconds: some clients do not read fractions.
    let now = Timestamp::now().strftime("%Y%m%d%H%M%SZ").to_string();
    let info = der::sequence([
        &der::integer(1),
        // The policy; this number is Sigstore's own.
        &der::oid("1.3.6.1.4.1.57264.2"),
        imprint,
        &der::integer(1),
        &der::tagged(GENERALIZED_TIME, now.as_bytes()),
        nonce,
    ]);
    let granted = der::sequence([&der::integer(0)]);
    Some(der::sequence([&granted, &signed(authority, &info)]))
}

/// CMS signed data (RFC 5652, section 5) around the information of a timestamp.
fn signed(authority: &Authority, info: &[u8]) -> Vec<u8> {
    let attribute = |oid: &str, value: &[u8]| der::sequence([&der::oid(oid), &der::tagged(SET, value)]);
    let hash = |bytes: &[u8]| der::tagged(OCTETS, &Sha256::digest(bytes));
    let certificate_hash = der::sequence([&der::sequence([&der::sequence([&hash(&authority.certificate)])])]);
    let mut attributes = [
        attribute("1.2.840.113549.1.9.3", &der::oid(TIMESTAMP_INFO)),
        attribute("1.2.840.113549.1.9.4", &hash(info)),
        attribute("1.2.840.113549.1.9.16.2.47", &certificate_hash),
    ];
    // DER sorts the members of a set.
    attributes.sort();
    let attributes = attributes.concat();
    let signer = der::sequence([
        &der::integer(1),
        &der::sequence([issuer(&authority.certificate), &authority.serial]),
        &der::algorithm(SHA256),
        &der::context(0, &attributes),
        &der::algorithm(ECDSA_SHA256),
        // What is signed is the set itself, not the context tag that stands for it.
        &der::tagged(OCTETS, &authority.key.sign(&der::tagged(SET, &attributes))),
    ]);
    let content = der::context(0, &der::tagged(OCTETS, info));
    let data = der::sequence([
        &der::integer(3),
        &der::tagged(SET, &der::algorithm(SHA256)),
        &der::sequence([&der::oid(TIMESTAMP_INFO), &content]),
        &der::context(0, &authority.certificate),
        &der::tagged(SET, &signer),
    ]);
    der::sequence([&der::oid(SIGNED_DATA), &der::context(0, &data)])
}

/// The name of a certificate's issuer.
fn issuer(certificate: &[u8]) -> &[u8] {
    let body = der::parts(certificate).expect("a certificate of ours")[0];
    der::parts(body).expect("a certificate of ours")[3]
}
