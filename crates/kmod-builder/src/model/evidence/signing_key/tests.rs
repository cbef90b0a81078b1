use super::*;
use crate::model::Digest;
use crate::model::evidence::EvidenceKind;
use crate::model::evidence::tests::subject;
use crate::model::evidence::verify::{StoredBundle, TrustPolicy, verify_bundle};

/// Made with `COSIGN_PASSWORD=verify_bundle-sesame cosign generate-key-pair` (cosign 3.1.1), and used nowhere else.
const COSIGN_KEY: &str = include_str!("cosign-3.1.1.key");
const COSIGN_PUBLIC_KEY: &str = include_str!("cosign-3.1.1.pub");

fn read(text: &str, password: Option<&str>) -> Result<SigningKey, SigningKeyError> {
    SigningKey::from_pem(&SecretString::from(text), password.map(SecretString::from).as_ref())
}

#[test]
fn cosigns_key_is_opened_with_its_password_only() {
    let key = read(COSIGN_KEY, Some("open-sesame")).unwrap();
    assert_eq!(*key.public(), PublicKey::from_pem(COSIGN_PUBLIC_KEY).unwrap());
    assert!(matches!(read(COSIGN_KEY, None), Err(SigningKeyError::NoPassword)));
    assert!(matches!(read(COSIGN_KEY, Some("open-sesam")), Err(SigningKeyError::WrongPassword)));
}

#[test]
fn what_was_signed_is_verified_with_the_public_key() {
    let key = read(COSIGN_KEY, Some("open-sesame")).unwrap();
    let subject = subject();
    let bundle = key.sign(&Statement::signature(&subject)).unwrap();
    let trust = TrustPolicy::key(key.public().clone());
    let stored = StoredBundle { referrer: Digest::of(b""), json: bundle };
    verify_bundle(&stored, EvidenceKind::Signature, &subject.digest, &trust).unwrap();
    key.sign_simple(&subject).unwrap().verify(key.public(), &subject.name, &subject.digest).unwrap();
}

#[test]
fn other_forms_are_refused_with_their_names() {
    for (text, expected) in [
        ("", "no PEM text"),
        ("-----BEGIN EC PRIVATE KEY-----\nAAAA\n-----END EC PRIVATE KEY-----\n", "`EC PRIVATE KEY`"),
        (COSIGN_PUBLIC_KEY, "`PUBLIC KEY`"),
        ("-----BEGIN PRIVATE KEY-----\n", "does not end"),
        ("-----BEGIN PRIVATE KEY-----\n?\n-----END PRIVATE KEY-----\n", "no base64"),
        ("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", "ECDSA over P-256"),
    ] {
        let message = read(text, None).unwrap_err().to_string();
        assert!(message.contains(expected), "{message}");
    }
}

#[test]
fn parameters_that_would_take_for_ever_are_refused() {
    let json = |cost: u64| {
        let text = format!(
            r#"{{"kdf":{{"name":"scrypt","params":{{"N":{cost},"r":8,"p":1}},"salt":""}},"cipher":{{"name":"nacl/secretbox","nonce":""}},"ciphertext":""}}"#
        );
        format!(
            "-----BEGIN ENCRYPTED SIGSTORE PRIVATE KEY-----\n{}\n-----END ENCRYPTED SIGSTORE PRIVATE KEY-----\n",
            STANDARD.encode(text)
        )
    };
    for cost in [0, 3, 1 << 40] {
        let message = read(&json(cost), Some("")).unwrap_err().to_string();
        assert!(message.contains("out of bounds"), "{message}");
    }
}

#[test]
fn nothing_secret_is_shown() {
    let key = read(COSIGN_KEY, Some("open-sesame")).unwrap();
    let shown = format!("{key:?}");
    assert!(shown.contains(&key.public().hint()) && shown.len() < 200, "{shown}");
}
