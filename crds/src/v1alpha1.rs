//! Version `v1alpha1` of the three kinds: spec, status and the rules the API server checks. One kind per file.
//!
//! Conventions, from the Kubernetes API conventions and Gateway API: every string, list and number is bounded; lists of
//! structs are keyed by `name`; unions are optional members under an "exactly one" rule; enum values are PascalCase;
//! integers are signed in the schema; durations and money are strings. Defaults that depend on other fields (a vendor's
//! address, for instance) are not in the schema: `compile` fills them in and the field's description mentions them.
//!
//! Kept compatible on purpose, so that a later version can be served side by side without a conversion webhook.

#![allow(
    rustdoc::bare_urls,
    rustdoc::invalid_html_tags,
    reason = "field comments are plain text: kubectl explain shows them"
)]

mod namespaces;
mod patterns;
#[expect(clippy::duplicated_attributes, reason = "printer columns share their type and priority")]
mod provider;
mod reference;
#[expect(clippy::duplicated_attributes, reason = "printer columns share their type and priority")]
mod route;
mod token;

pub use namespaces::{From, LabelSelector, Namespaces, Operator, Requirement};
pub use provider::{
    AIProvider, AIProviderSpec, AIProviderStatus, AllowedRoutes, ApiKeyCredential, AwsAssumeRole, AwsCredential,
    AwsWorkloadIdentity, AzureClientSecret, AzureCredential, AzureManagedIdentity, AzureOpenAI, AzureWorkloadIdentity,
    BasicAuth, Bedrock, Credentials, Eviction, FromClientCredential, GoogleCredential, GoogleServiceAccountKey,
    GoogleWorkloadIdentity, Header, ProviderModel, Proxy, ProxyMode, QueryParameter, RequestSettings, Tls, ValueFrom,
    VertexAI,
};
pub use reference::{CaCertificateKind, CaCertificateRef, ConfigMapKeyRef, ProviderRef, SecretKeyRef, SecretRef};
pub use route::{
    AIRoute, AIRouteSpec, AIRouteStatus, Affinity, AllowedTokens, DataPlaneStatus, Delegates, Fallback, Heartbeat,
    LoadBalancer, Price, Timeouts, Upstream, UpstreamStatus, Visibility,
};
pub use token::{
    ApiToken, ApiTokenSpec, ApiTokenStatus, KeyStatus, Limit, Rotation, SecretKeys, Subject, TokenState,
    UnpricedModels, default_secret_name,
};

/// The API group of all kinds.
pub const GROUP: &str = "routeapi.dev";

/// The version of this module.
pub const VERSION: &str = "v1alpha1";

/// A Secret with this label set to `"true"` contains a key that its owner chose for the `ApiToken` whose
/// `secretName` it has; the operator takes over its hash and never writes to it.
pub const IMPORT_LABEL: &str = "routeapi.dev/import";

/// The key of a token's Secret that contains the API key.
pub const TOKEN_KEY: &str = "token";
