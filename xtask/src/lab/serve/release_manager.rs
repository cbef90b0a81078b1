//! The release manager of OpenZFS in the lab: an OpenPGP key that signs checksums.

use std::fs;
use std::path::Path;

use pgp::composed::{
    ArmorOptions, CleartextSignedMessage, EncryptionCaps, KeyType, SecretKeyParamsBuilder, SignedPublicKey,
    SignedSecretKey,
};
use pgp::types::{KeyDetails as _, Password};

use crate::error::Result;
use crate::lab::environment;

pub(crate) struct ReleaseManager {
    key: SignedSecretKey,
}

impl ReleaseManager {
    pub(crate) fn new() -> Result<Self> {
        let mut parameters = SecretKeyParamsBuilder::default();
        parameters
            .key_type(KeyType::Ed25519Legacy)
            .can_certify(true)
            .can_sign(true)
            .can_encrypt(EncryptionCaps::None)
            .primary_user_id("Release manager of the lab <lab@example.org>".into());
        Ok(Self { key: parameters.build()?.generate(rand::thread_rng())? })
    }

    fn fingerprint(&self) -> String {
        format!("{:X}", self.key.fingerprint())
    }

    /// Serves the public key below `www`, and writes the file that pins it. Returns the program's variables.
    pub(crate) fn publish(&self, www: &Path, pins: &Path) -> Result<Vec<(String, String)>> {
        let (keys, fingerprint) = (www.join("keys"), self.fingerprint());
        fs::create_dir_all(&keys)?;
        let public = SignedPublicKey::from(self.key.clone());
        fs::write(keys.join(&fingerprint), public.to_armored_string(ArmorOptions::default())?)?;
        let row = format!(
            "[[key]]\nname = \"Lab\"\nfingerprint = \"{fingerprint}\"\nsource = \"https://example.org/\"\n"
        );
        fs::write(pins, row)?;
        let url = environment::url("/keys/{fingerprint}");
        let variables =
            [("ZFS_KMODS_OPENZFS_KEYS", pins.display().to_string()), ("ZFS_KMODS_OPENZFS_KEY_URL", url)];
        Ok(variables.map(|(name, value)| (name.to_owned(), value)).into())
    }

    /// The text with a cleartext signature.
    pub(crate) fn sign(&self, text: &str) -> Result<String> {
        let signed = CleartextSignedMessage::sign(
            rand::thread_rng(),
            text,
            &self.key.primary_key,
            &Password::empty(),
        )?;
        Ok(signed.to_armored_string(ArmorOptions::default())?)
    }
}
