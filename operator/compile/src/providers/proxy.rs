//! `spec.proxy`: a provider's own egress proxy and its credentials.

use routeapi_channel::{
    Secret,
    snapshot::{self, ConnectProxy},
};
use routeapi_crds::{
    condition::Reason,
    v1alpha1::{AIProviderSpec, BasicAuth, Proxy, ProxyMode},
};

use crate::{
    address,
    options::Options,
    references::{self, References, Source},
    verdict::SpecError,
};

/// Checks the URL. Whoever writes an AIProvider makes the data plane connect there, so the address rules apply as they do
/// to an upstream; but plain http is allowed anywhere, as is usual for proxies.
pub(crate) fn check(spec: &AIProviderSpec, options: &Options) -> Result<(), SpecError> {
    let Some(url) = spec.proxy.as_ref().and_then(|proxy| proxy.url.as_deref()) else {
        return Ok(());
    };
    let invalid = |what: String| SpecError::new(Reason::InvalidConfig, format!("spec.proxy.url: {what}"));
    let address = address::parse(url, options).map_err(invalid)?;
    if address.has_path {
        return Err(invalid(format!("{url:?} must consist of scheme, host and port only")));
    }
    Ok(())
}

/// The proxy for the snapshot, with its credentials.
pub(crate) fn resolve(
    spec: &AIProviderSpec,
    references: &References<'_>,
) -> Result<Option<snapshot::Proxy>, SpecError> {
    let Some(Proxy { mode, url, basic_auth }) = &spec.proxy else {
        return Ok(None);
    };
    let url = match (mode, url) {
        (ProxyMode::Direct, _) | (ProxyMode::Connect, None) => return Ok(Some(snapshot::Proxy::Direct)),
        (ProxyMode::Connect, Some(url)) => url.trim_end_matches('/').to_owned(),
    };
    let basic_auth = basic_auth.as_ref().map(|auth| credentials(auth, references)).transpose()?;
    Ok(Some(snapshot::Proxy::Connect(ConnectProxy { url, basic_auth })))
}

fn credentials(auth: &BasicAuth, references: &References<'_>) -> Result<snapshot::BasicAuth, SpecError> {
    const FIELD: &str = "spec.proxy.basicAuth.secretRef";
    let value = |key: &str, check: fn(&str) -> Result<(), &'static str>| {
        let source = Source::secret(FIELD.to_owned(), &auth.secret_ref.name, key);
        references::text(references, &source, check).map(Secret::new)
    };
    Ok(snapshot::BasicAuth { username: value("username", is_username)?, password: value("password", is_password)? })
}

/// A colon ends the name (RFC 7617, 2).
fn is_username(text: &str) -> Result<(), &'static str> {
    if text.is_empty() {
        return Err("is empty");
    }
    if text.contains(':') { Err("contains a colon, which is not allowed in a user name") } else { is_password(text) }
}

fn is_password(text: &str) -> Result<(), &'static str> {
    if text.chars().any(char::is_control) { Err("contains control characters") } else { Ok(()) }
}
