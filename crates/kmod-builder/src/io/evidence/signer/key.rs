use std::path::Path;

use secrecy::{ExposeSecret as _, SecretString};
use tokio::io::{AsyncRead, AsyncReadExt as _};

use super::error::SignerError;
use crate::io::blocking;
use crate::model::evidence::{PublicKey, SigningKey};

/// Bytes of a key file or password.
const MAX_SIZE: u64 = 64 * 1024;

/// Reads a private key file ([`SigningKey::from_pem`] lists the formats).
pub async fn read_key(file: &Path, password: Option<SecretString>) -> Result<SigningKey, SignerError> {
    let text = SecretString::from(read(file).await?);
    parse_key(text, password, format!("`{}`", file.display())).await
}

/// `place` is for messages. Key derivation takes about a second and does not block other tasks.
pub async fn parse_key(
    text: SecretString,
    password: Option<SecretString>,
    place: String,
) -> Result<SigningKey, SignerError> {
    blocking::run(move |_| SigningKey::from_pem(&text, password.as_ref()))
        .await
        .map_err(|error| SignerError::PrivateKey { place, error })
}

pub async fn read_public_key(file: &Path) -> Result<PublicKey, SignerError> {
    let text = read(file).await?;
    PublicKey::from_pem(&text).map_err(|error| SignerError::PublicKey { file: file.to_owned(), error })
}

/// The whole input without its final line break. Never prompts on a terminal.
pub async fn read_password(input: impl AsyncRead + Unpin) -> Result<SecretString, SignerError> {
    let text = read_text(input, || "the password from standard input".to_owned()).await?;
    let whole = SecretString::from(text);
    let password = whole.expose_secret();
    Ok(SecretString::from(password.strip_suffix('\n').unwrap_or(password)))
}

async fn read(file: &Path) -> Result<String, SignerError> {
    let what = || format!("`{}`", file.display());
    let opened = tokio::fs::File::open(file).await;
    read_text(opened.map_err(|source| SignerError::Read { what: what(), source })?, what).await
}

async fn read_text(
    input: impl AsyncRead + Unpin,
    what: impl FnOnce() -> String,
) -> Result<String, SignerError> {
    let mut text = String::new();
    match input.take(MAX_SIZE).read_to_string(&mut text).await {
        Ok(_) => Ok(text),
        Err(source) => Err(SignerError::Read { what: what(), source }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_the_end_of_the_line_is_no_part_of_a_password() {
        for (input, expected) in
            [("secret\n", "secret"), ("secret", "secret"), (" a b \n\n", " a b \n"), ("", "")]
        {
            assert_eq!(read_password(input.as_bytes()).await.unwrap().expose_secret(), expected);
        }
    }

    #[tokio::test]
    async fn errors_name_the_file_and_nothing_of_its_content() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("key.pem");
        std::fs::write(&file, "-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n-----END PRIVATE KEY-----\n").unwrap();
        let shown = format!("{:?}", miette::Report::new(read_key(&file, None).await.unwrap_err()));
        assert!(
            shown.contains("key.pem") && shown.contains("P-256") && !shown.contains("c2VjcmV0"),
            "{shown}"
        );
        assert!(read_public_key(&file).await.is_err());
        assert!(read_key(&directory.path().join("absent"), None).await.is_err());
    }
}
