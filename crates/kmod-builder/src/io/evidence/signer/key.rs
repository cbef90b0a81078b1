use std::path::{Path, PathBuf};

use secrecy::{ExposeSecret as _, SecretString};
use tokio::io::{AsyncRead, AsyncReadExt as _};

use crate::model::evidence::{KeyError, PublicKey, SigningKey, SigningKeyError};

/// Bytes.
const LARGEST: u64 = 64 * 1024;

#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum KeyFileError {
    #[error("cannot read {what}")]
    Read {
        what: String,
        #[source]
        error: std::io::Error,
    },
    #[error("`{}` cannot be signed with", file.display())]
    #[diagnostic(help("see below for what is wrong with it"))]
    Private {
        file: PathBuf,
        #[source]
        #[diagnostic_source]
        error: SigningKeyError,
    },
    #[error("`{}` cannot be verified with", file.display())]
    Public {
        file: PathBuf,
        #[source]
        #[diagnostic_source]
        error: KeyError,
    },
}

/// Reads a private key file ([`SigningKey::from_pem`] lists the formats).
///
/// Key derivation takes about a second and does not block other tasks.
pub async fn read_key(file: &Path, password: Option<SecretString>) -> Result<SigningKey, KeyFileError> {
    let text = SecretString::from(read(file).await?);
    parse_key(text, password).await.map_err(|error| KeyFileError::Private { file: file.to_owned(), error })
}

/// [`read_key`] for a text.
pub async fn parse_key(
    text: SecretString,
    password: Option<SecretString>,
) -> Result<SigningKey, SigningKeyError> {
    let read = tokio::task::spawn_blocking(move || SigningKey::from_pem(&text, password.as_ref())).await;
    read.unwrap_or_else(|panic| Err(SigningKeyError::Signing(panic.to_string())))
}

pub async fn read_public_key(file: &Path) -> Result<PublicKey, KeyFileError> {
    let text = read(file).await?;
    PublicKey::from_pem(&text).map_err(|error| KeyFileError::Public { file: file.to_owned(), error })
}

/// The whole input without its final line break. Never prompts on a terminal.
pub async fn read_password(input: impl AsyncRead + Unpin) -> Result<SecretString, KeyFileError> {
    let fail = |error| KeyFileError::Read { what: "the password from standard input".to_owned(), error };
    let mut text = String::new();
    input.take(LARGEST).read_to_string(&mut text).await.map_err(fail)?;
    let whole = SecretString::from(text);
    let password = whole.expose_secret();
    Ok(SecretString::from(password.strip_suffix('\n').unwrap_or(password)))
}

async fn read(file: &Path) -> Result<String, KeyFileError> {
    let fail = |error| KeyFileError::Read { what: format!("`{}`", file.display()), error };
    let mut text = String::new();
    let opened = tokio::fs::File::open(file).await.map_err(fail)?;
    opened.take(LARGEST).read_to_string(&mut text).await.map_err(fail)?;
    Ok(text)
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
