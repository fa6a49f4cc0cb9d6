//! Identities at clouds: whose tokens are asked for, and how.

use std::sync::Arc;

use routeapi_channel::{
    ObjectId,
    snapshot::{Aws, Azure, Credential, Google, GoogleIdentity},
};

use super::{
    aws, azure,
    google::{self, InvalidKeyFile, KeyFile},
    token::FetchError,
    token_client::TokenClient,
};
use crate::upstream::authorization::Authorization;

/// An identity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Identity {
    /// At AWS.
    Aws {
        /// Who signs.
        told: Aws,
        /// For which token, where each has a session of its own.
        token: Option<ObjectId>,
    },
    /// At Microsoft Entra ID.
    Azure(Azure),
    /// At Google Cloud.
    Google {
        /// Who asks; none for whoever the pod is.
        key: Option<Arc<KeyFile>>,
        /// Who is impersonated.
        impersonate: Option<String>,
    },
}

/// What was said of an identity cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the service account's key file cannot be used: {0}")]
pub struct InvalidIdentity(#[from] InvalidKeyFile);

impl Identity {
    /// The identity that a credential stands for; none for keys.
    ///
    /// # Errors
    /// When a key file is none.
    pub fn new(told: &Credential) -> Result<Option<Self>, InvalidIdentity> {
        Ok(match told {
            Credential::ApiKey(_) | Credential::Header(_) | Credential::FromClient {} => None,
            Credential::Aws(aws) => Some(Self::Aws { told: aws.clone(), token: None }),
            Credential::Azure(azure) => Some(Self::Azure(azure.clone())),
            Credential::Google(Google { identity, impersonate }) => {
                let key = match identity {
                    GoogleIdentity::Workload {} => None,
                    GoogleIdentity::ServiceAccountKey(file) => Some(Arc::new(KeyFile::read(file.expose())?)),
                };
                Some(Self::Google { key, impersonate: impersonate.clone() })
            }
        })
    }

    /// The URL of the configuration that is called for tokens; none where this program or the process's environment says it.
    pub fn stated_url(&self) -> Option<&str> {
        match self {
            Self::Aws { .. } | Self::Azure(_) => None,
            Self::Google { key, .. } => key.as_ref().map(|key| key.token_uri()),
        }
    }

    /// Whether each token has a session of its own.
    pub(super) fn is_per_token(&self) -> bool {
        match self {
            Self::Aws { told, token: None } => told.assume_role.as_ref().is_some_and(|role| role.session_per_token),
            Self::Aws { .. } | Self::Azure(_) | Self::Google { .. } => false,
        }
    }

    /// The same for the requests of one token.
    pub(super) fn of_token(&self, token: &ObjectId) -> Self {
        match self {
            Self::Aws { told, token: _ } => Self::Aws { told: told.clone(), token: Some(token.clone()) },
            Self::Azure(_) | Self::Google { .. } => self.clone(),
        }
    }

    /// Fetches a token.
    pub(super) async fn fetch(&self, client: &TokenClient) -> Result<Authorization, FetchError> {
        match self {
            Self::Aws { told, token } => aws::fetch(told, token.as_ref(), client).await,
            Self::Azure(azure) => azure::fetch(azure, client).await,
            Self::Google { key, impersonate } => google::fetch(key.as_deref(), impersonate.as_deref(), client).await,
        }
    }
}
