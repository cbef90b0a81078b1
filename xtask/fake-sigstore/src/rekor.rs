//! A transparency log with the interface of Rekor v1. It holds only the newest entry.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use der::{Decode as _, DecodePem as _};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use x509_cert::Certificate;

use crate::authority::{Key, pem};

/// The log's name. It begins the line of a signature and therefore has no spaces.
const NAME: &str = "rekor.fake-sigstore.invalid";

/// The log entry for a proposed entry of kind `dsse`.
pub(crate) fn answer(log: &Key, proposal: &Value) -> Result<Value, String> {
    let content = &proposal["spec"]["proposedContent"];
    let envelope = content["envelope"].as_str().ok_or("the entry proposes no envelope")?;
    let verifier = content["verifiers"][0].as_str().ok_or("the entry names no verifier")?;
    let parsed: Value = serde_json::from_str(envelope).map_err(|error| error.to_string())?;
    let decode = |text: &str| STANDARD.decode(text).map_err(|error| error.to_string());
    let payload = decode(parsed["payload"].as_str().ok_or("the envelope has no payload")?)?;
    let signature = parsed["signatures"][0]["sig"].as_str().ok_or("the envelope has no signature")?;
    let verifier = normalized(&decode(verifier)?)?;
    let hash = |bytes: &[u8]| json!({"algorithm": "sha256", "value": format!("{:x}", Sha256::digest(bytes))});
    let body = json!({
        "apiVersion": "0.0.1",
        "kind": "dsse",
        "spec": {
            "envelopeHash": hash(envelope.as_bytes()),
            "payloadHash": hash(&payload),
            "signatures": [{"signature": signature, "verifier": STANDARD.encode(verifier)}],
        },
    });
    Ok(entry(log, &body.to_string()))
}

/// A certificate as DER or as any PEM. Rekor stores it as PEM of its own encoding.
fn normalized(verifier: &[u8]) -> Result<String, String> {
    let certificate = match Certificate::from_pem(verifier) {
        Ok(certificate) => certificate,
        Err(_) => Certificate::from_der(verifier).map_err(|error| error.to_string())?,
    };
    Ok(pem(&certificate))
}

/// An entry as the only leaf of a tree (RFC 6962, section 2.1), with its signed timestamp and its inclusion proof.
fn entry(log: &Key, body: &str) -> Value {
    let root = Sha256::digest([&[0], body.as_bytes()].concat());
    let time = jiff::Timestamp::now().as_second();
    let (body, log_id) = (STANDARD.encode(body), format!("{:x}", Sha256::digest(&log.public)));
    // Canonical: the members are in order.
    let promise = json!({"body": body, "integratedTime": time, "logID": log_id, "logIndex": 0}).to_string();
    let note = format!("{NAME} - 1\n1\n{}\n", STANDARD.encode(root));
    let signature = [&log.id()[..4], &log.sign(note.as_bytes())].concat();
    let checkpoint = format!("{note}\n\u{2014} {NAME} {}\n", STANDARD.encode(signature));
    json!({format!("{:016x}{root:x}", 1): {
        "body": body,
        "integratedTime": time,
        "logID": log_id,
        "logIndex": 0,
        "verification": {
            "inclusionProof": {
                "checkpoint": checkpoint,
                "hashes": [],
                "logIndex": 0,
                "rootHash": format!("{root:x}"),
                "treeSize": 1,
            },
            "signedEntryTimestamp": STANDARD.encode(log.sign(promise.as_bytes())),
        },
    }})
}
