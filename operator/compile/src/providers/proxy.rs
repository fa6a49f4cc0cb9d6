//! `spec.proxy`: where a provider's own egress proxy is, and as whom it is asked.

use routeapi_channel::{
    Secret,
    snapshot::{self, ConnectProxy},
};
use routeapi_crds::{
    condition::Reason,
    v1alpha1::{AIProviderSpec, BasicAuth, Proxy, ProxyMode},
};

use crate::{
    Options, address,
    references::{self, References, Source},
    verdict::Problem,
};

/// Judges the address. Whoever writes an AIProvider makes the data plane connect there, so the rules about places hold
/// for it as for an upstream's; but plain http may go anywhere, as proxies are used.
pub(crate) fn check(spec: &AIProviderSpec, options: &Options) -> Result<(), Problem> {
    let Some(url) = spec.proxy.as_ref().and_then(|proxy| proxy.url.as_deref()) else {
        return Ok(());
    };
    let invalid = |what: String| Problem::new(Reason::InvalidConfig, format!("spec.proxy.url: {what}"));
    let address = address::find(url, options).map_err(invalid)?;
    if address.has_path {
        return Err(invalid(format!("{url:?} must end after host and port")));
    }
    Ok(())
}

/// The proxy for the snapshot, with its credentials.
pub(crate) fn resolve(spec: &AIProviderSpec, references: &References<'_>) -> Result<Option<snapshot::Proxy>, Problem> {
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

fn credentials(auth: &BasicAuth, references: &References<'_>) -> Result<snapshot::BasicAuth, Problem> {
    const FIELD: &str = "spec.proxy.basicAuth.secretRef";
    let part = |key: &str, check: fn(&str) -> Result<(), &'static str>| {
        let source = Source::secret(FIELD.to_owned(), &auth.secret_ref.name, key);
        references::text(references, &source, check).map(Secret::new)
    };
    Ok(snapshot::BasicAuth { username: part("username", is_username)?, password: part("password", is_password)? })
}

/// A colon ends the name (RFC 7617, 2).
fn is_username(text: &str) -> Result<(), &'static str> {
    if text.is_empty() {
        return Err("is empty");
    }
    if text.contains(':') { Err("holds a colon, which no user name may") } else { is_password(text) }
}

fn is_password(text: &str) -> Result<(), &'static str> {
    if text.chars().any(char::is_control) { Err("holds control characters") } else { Ok(()) }
}
