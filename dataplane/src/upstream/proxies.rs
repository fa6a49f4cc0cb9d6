//! Which egress proxy a connection to an upstream goes through, if any. Decides; [`super::tunnel`] connects.
//!
//! A provider names its own proxy, or none; otherwise the process's environment decides, as curl and Go read it:
//! `HTTPS_PROXY` for https upstreams, `HTTP_PROXY` for http, `ALL_PROXY` for both, `NO_PROXY` for exceptions, each in
//! capitals or not. Beside these exceptions the environment's proxy is never asked for what only this host or the cluster
//! can reach: loopback, names without a dot, `*.svc`, `*.cluster.local`.

use std::{fmt, num::NonZeroU16, sync::Arc};

use base64::{Engine, engine::general_purpose::STANDARD};
use http::{HeaderValue, Uri, uri::Scheme};
use hyper_util::client::proxy::matcher::Matcher;
use routeapi_crds::value::{AddressClass, Host};

/// An HTTP proxy. Displays without its credentials.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Proxy {
    uri: Uri,
    /// `Proxy-Authorization`, marked as sensitive.
    authorization: Option<HeaderValue>,
}

/// What a provider says about proxies.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub enum ProxyChoice {
    /// Nothing: the environment decides.
    #[default]
    Environment,
    /// None is used.
    Direct,
    /// This one is used, wherever the upstream is.
    Through(Proxy),
}

/// The proxies of the process's environment.
#[derive(Debug, Default)]
pub struct EnvironmentProxies {
    matcher: Option<Matcher>,
    /// Exceptions for one port each, which the matcher does not know.
    except: Vec<(Matcher, u16)>,
}

/// Says which way connections take.
#[derive(Clone, Debug, Default)]
pub struct EgressChoice {
    /// What the provider says.
    pub choice: ProxyChoice,
    /// What counts if it says nothing.
    pub environment: Arc<EnvironmentProxies>,
}

/// A proxy that cannot be used. Says nothing of its value, which may hold a password.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidProxy {
    /// Not a URL of a proxy.
    #[error("{0} is not the URL of a proxy: http:// or https://, a host and a port are expected")]
    Url(String),
    /// Another kind of proxy.
    #[error("{0} names a SOCKS proxy, which is not supported: only http:// and https:// proxies are")]
    Socks(String),
}

// === impl Proxy ===

impl Proxy {
    /// A proxy at this URL of scheme, host and port. `field` is what an error calls it.
    ///
    /// # Errors
    /// When it is no such URL.
    pub fn new(field: &str, url: &str, basic_auth: Option<(&str, &str)>) -> Result<Self, InvalidProxy> {
        let invalid = || InvalidProxy::Url(field.to_owned());
        let uri: Uri = url.parse().map_err(|_| invalid())?;
        let is_http = matches!(uri.scheme_str(), Some("http" | "https"));
        let is_bare = matches!(uri.path(), "" | "/") && uri.query().is_none() && !url.contains('@');
        if !is_http || !is_bare || !has_host_and_port(&uri) {
            return Err(invalid());
        }
        let authorization = basic_auth.map(|(name, password)| {
            let value = format!("Basic {}", STANDARD.encode(format!("{name}:{password}")));
            HeaderValue::try_from(value).map_err(|_| invalid())
        });
        let mut authorization = authorization.transpose()?;
        authorization.iter_mut().for_each(|value| value.set_sensitive(true));
        Ok(Self { uri, authorization })
    }

    /// Scheme, host and port.
    pub fn uri(&self) -> &Uri {
        &self.uri
    }

    /// `Proxy-Authorization` for it.
    pub fn authorization(&self) -> Option<&HeaderValue> {
        self.authorization.as_ref()
    }
}

impl fmt::Display for Proxy {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let authority = self.uri.authority().map_or("", |it| it.as_str());
        write!(out, "{}://{authority}", self.uri.scheme_str().unwrap_or_default())
    }
}

// === impl EnvironmentProxies ===

impl EnvironmentProxies {
    /// What these variables say.
    ///
    /// # Errors
    /// When one names a proxy that cannot be used: going without it silently would be worse.
    pub fn read(environment: impl Fn(&str) -> Option<String>) -> Result<Self, InvalidProxy> {
        let first = |names: [&'static str; 2]| {
            let found = names.into_iter().find_map(|name| Some((name, environment(name)?.trim().to_owned())));
            found.filter(|(_, value)| !value.is_empty())
        };
        let either = |upper: &'static str, lower: &'static str| first([upper, lower]).or_else(|| first([lower, upper]));
        let all = either("ALL_PROXY", "all_proxy");
        let https = either("HTTPS_PROXY", "https_proxy");
        let http = either("HTTP_PROXY", "http_proxy");
        for (name, value) in [&all, &https, &http].into_iter().flatten() {
            check(name, value)?;
        }
        if all.is_none() && https.is_none() && http.is_none() {
            return Ok(Self::default());
        }
        let text = |found: Option<(&str, String)>| found.map(|(_, value)| value).unwrap_or_default();
        let (mut hosts, mut except) = (Vec::new(), Vec::new());
        for entry in text(either("NO_PROXY", "no_proxy")).split(',').map(str::trim) {
            // Go reads `*.example.com` as `.example.com`.
            let entry = entry.strip_prefix('*').filter(|rest| rest.starts_with('.')).unwrap_or(entry);
            match entry.rsplit_once(':') {
                Some((host, port)) if !host.contains(':') || host.ends_with(']') => {
                    if let Ok(port) = port.parse() {
                        let host = host.trim_start_matches('[').trim_end_matches(']');
                        except.push((Matcher::builder().all("http://any").no(host).build(), port));
                    }
                }
                _ => hosts.push(entry.trim_start_matches('[').trim_end_matches(']').to_owned()),
            }
        }
        let matcher = Matcher::builder().all(text(all)).https(text(https)).http(text(http)).no(hosts.join(",")).build();
        Ok(Self { matcher: Some(matcher), except })
    }

    /// The proxy for an upstream's URL.
    pub fn find(&self, uri: &Uri) -> Option<Proxy> {
        let matcher = self.matcher.as_ref()?;
        let host = uri.host()?;
        if is_local(host) {
            return None;
        }
        let uri = without_dot(uri, host);
        let port = uri.port_u16().unwrap_or(if uri.scheme() == Some(&Scheme::HTTP) { 80 } else { 443 });
        let is_excepted = |(except, at): &(Matcher, u16)| *at == port && except.intercept(&uri).is_none();
        let found = matcher.intercept(&uri)?;
        if self.except.iter().any(is_excepted) {
            return None;
        }
        Some(Proxy { uri: found.uri().clone(), authorization: found.basic_auth().cloned() })
    }
}

fn check(name: &str, value: &str) -> Result<(), InvalidProxy> {
    if value.get(..5).is_some_and(|scheme| scheme.eq_ignore_ascii_case("socks")) {
        return Err(InvalidProxy::Socks(name.to_owned()));
    }
    // The matcher takes what it cannot read for nothing.
    let probe = Uri::from_static("https://upstream.example");
    let found = Matcher::builder().all(value).build().intercept(&probe);
    let is_http = |uri: &Uri| matches!(uri.scheme_str(), Some("http" | "https"));
    match found {
        Some(found) if is_http(found.uri()) && has_host_and_port(found.uri()) => Ok(()),
        _ => Err(InvalidProxy::Url(name.to_owned())),
    }
}

/// Whether there is a host, and a number if there is a port.
fn has_host_and_port(uri: &Uri) -> bool {
    let (Some(authority), Some(host)) = (uri.authority(), uri.host()) else { return false };
    let port = authority.as_str().strip_prefix(host).unwrap_or_default();
    let is_number = |port: &str| port.strip_prefix(':').is_some_and(|digits| digits.parse::<NonZeroU16>().is_ok());
    !host.is_empty() && (port.is_empty() || is_number(port))
}

/// What a proxy elsewhere could not reach.
fn is_local(host: &str) -> bool {
    match Host::of(host) {
        // Linux connects unspecified addresses to this host as well.
        Host::Address(address) => {
            matches!(AddressClass::of(address), AddressClass::Loopback | AddressClass::Unspecified)
        }
        Host::Name(name) => {
            !name.contains('.') || [".svc", ".cluster.local", ".localhost"].iter().any(|suffix| name.ends_with(suffix))
        }
        Host::Ambiguous => false,
    }
}

/// The root's dot says nothing that exceptions would have to repeat.
fn without_dot(uri: &Uri, host: &str) -> Uri {
    let Some(bare) = host.strip_suffix('.') else { return uri.clone() };
    let authority = match uri.port_u16() {
        Some(port) => format!("{bare}:{port}"),
        None => bare.to_owned(),
    };
    let built = Uri::builder().scheme(uri.scheme_str().unwrap_or("https")).authority(authority).path_and_query("/");
    built.build().unwrap_or_else(|_| uri.clone())
}

// === impl EgressChoice ===

impl EgressChoice {
    /// The proxy for an upstream's URL, and whether it is the provider's own; none for a straight connection.
    pub fn find(&self, uri: &Uri) -> Option<(Proxy, bool)> {
        match &self.choice {
            ProxyChoice::Environment => self.environment.find(uri).map(|proxy| (proxy, false)),
            ProxyChoice::Direct => None,
            ProxyChoice::Through(proxy) => Some((proxy.clone(), true)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment<'a>(variables: &'a [(&str, &str)]) -> impl Fn(&str) -> Option<String> + 'a {
        |name| variables.iter().find(|(held, _)| *held == name).map(|(_, value)| (*value).to_owned())
    }

    fn proxies(variables: &[(&str, &str)]) -> EnvironmentProxies {
        EnvironmentProxies::read(environment(variables)).unwrap()
    }

    fn found(proxies: &EnvironmentProxies, url: &str) -> Option<String> {
        proxies.find(&url.parse().unwrap()).map(|proxy| proxy.to_string())
    }

    #[test]
    fn proxy_is_chosen_by_scheme_and_all_proxy_covers_both() {
        let both = proxies(&[("HTTPS_PROXY", "http://secure:3128"), ("http_proxy", "plain:8080")]);
        assert_eq!(found(&both, "https://api.openai.com/v1").as_deref(), Some("http://secure:3128"));
        assert_eq!(found(&both, "http://10.0.0.1:8000").as_deref(), Some("http://plain:8080"));
        let all = proxies(&[("all_proxy", "https://any:443"), ("https_proxy", "")]);
        assert_eq!(found(&all, "https://api.openai.com").as_deref(), Some("https://any:443"));
        assert_eq!(found(&all, "http://10.0.0.1").as_deref(), Some("https://any:443"));
        let empty = proxies(&[("HTTPS_PROXY", " "), ("https_proxy", "http://lower:1")]);
        assert_eq!(found(&empty, "https://a.example").as_deref(), Some("http://lower:1"));
        assert_eq!(found(&proxies(&[("NO_PROXY", "a")]), "https://b.example"), None);
    }

    #[test]
    fn no_proxy_is_read_as_curl_and_go_read_it() {
        let excepted = "example.com, .corp.example,*.wild.example,10.0.0.0/8,fd00::/8,192.0.2.7,port.example:8443,[2001:db8::1]:99";
        let proxies = proxies(&[("HTTPS_PROXY", "http://p:1"), ("NO_PROXY", excepted)]);
        for url in [
            "https://example.com",
            "https://EXAMPLE.com.:444/v1",
            "https://a.example.com",
            "https://corp.example",
            "https://a.b.corp.example",
            "https://a.wild.example",
            "https://10.1.2.3",
            "https://[fd00::1]:9",
            "https://192.0.2.7:8080",
            "https://port.example:8443",
            "https://[2001:db8::1]:99",
        ] {
            assert_eq!(found(&proxies, url), None, "{url}");
        }
        for url in [
            "https://notexample.com",
            "https://example.com.evil.example",
            "https://11.1.2.3",
            "https://[2001:db8::1]",
            "https://192.0.2.8",
            "https://port.example",
        ] {
            assert_eq!(found(&proxies, url).as_deref(), Some("http://p:1"), "{url}");
        }
        let none = super::tests::proxies(&[("HTTPS_PROXY", "http://p:1"), ("no_proxy", "*")]);
        assert_eq!(found(&none, "https://example.com"), None);
    }

    #[test]
    fn cluster_local_hosts_bypass_the_environment_proxy() {
        let proxies = proxies(&[("ALL_PROXY", "http://p:1")]);
        for url in [
            "http://vllm:8000/v1",
            "http://vllm.ai.svc:8000",
            "https://vllm.ai.svc.cluster.local.",
            "http://localhost:11434/v1",
            "http://127.0.0.1:11434",
            "http://[::1]:8000",
            "http://0.0.0.0:8000",
        ] {
            assert_eq!(found(&proxies, url), None, "{url}");
        }
        assert!(found(&proxies, "http://10.1.2.3:8000").is_some(), "private networks can be large");
        assert!(found(&proxies, "https://svc.example").is_some());
    }

    #[test]
    fn proxy_credentials_are_sent_and_never_displayed() {
        let proxies = proxies(&[("HTTPS_PROXY", "http://us%40er:pass%3Aword@p:1")]);
        let proxy = proxies.find(&Uri::from_static("https://a.example")).unwrap();
        assert_eq!(proxy.authorization().unwrap(), "Basic dXNAZXI6cGFzczp3b3Jk");
        let own = Proxy::new("proxy", "http://p:1", Some(("us@er", "pass:word"))).unwrap();
        assert_eq!(own.authorization(), proxy.authorization());
        for shown in [format!("{proxy} {proxy:?} {own:?}"), format!("{proxies:?}")] {
            assert!(!shown.contains("pass") && !shown.contains("dXNA"), "{shown}");
        }
    }

    #[test]
    fn invalid_proxy_error_hides_the_password() {
        let error = |value: &str| EnvironmentProxies::read(environment(&[("https_proxy", value)])).unwrap_err();
        for value in ["http://", "ftp://u:secret@p:1", "http://u:secret@p:port", "http://u:secret@", "::", "a b"] {
            let error = error(value).to_string();
            assert!(error.starts_with("https_proxy is not the URL of a proxy") && !error.contains("secret"), "{error}");
        }
        assert_eq!(error("socks5h://u:secret@p:1080"), InvalidProxy::Socks("https_proxy".to_owned()));
        for url in
            ["http://u:p@proxy:1", "http://p:0", "http://p:port", "http://proxy:1/path", "socks5://p:1", "proxy:1", ""]
        {
            assert!(Proxy::new("proxy.url", url, None).is_err(), "{url}");
        }
    }
}
