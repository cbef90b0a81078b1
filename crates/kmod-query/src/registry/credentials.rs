use futures_util::future::{BoxFuture, FutureExt as _, ready};
use secrecy::SecretString;

use crate::reference::Repository;

/// `Debug` shows no secret.
#[derive(Clone, Debug)]
pub struct Credential {
    pub secret: Secret,
    /// For messages: a file, a program or a variable.
    pub origin: String,
}

#[derive(Clone, Debug)]
pub enum Secret {
    /// A user and a password or personal token.
    Password { user: String, password: SecretString },
    /// An OAuth 2 refresh token for the token endpoint.
    IdentityToken(SecretString),
}

pub type CredentialLookupError = Box<dyn miette::Diagnostic + Send + Sync>;

pub trait CredentialProvider: std::fmt::Debug + Send + Sync {
    fn lookup<'a>(
        &'a self,
        repository: &'a Repository,
    ) -> BoxFuture<'a, Result<Option<Credential>, CredentialLookupError>>;
}

#[derive(Clone, Copy, Debug)]
pub struct NoCredentials;

impl CredentialProvider for NoCredentials {
    fn lookup<'a>(
        &'a self,
        _: &'a Repository,
    ) -> BoxFuture<'a, Result<Option<Credential>, CredentialLookupError>> {
        ready(Ok(None)).boxed()
    }
}
