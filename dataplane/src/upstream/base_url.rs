//! A provider's base URL, and the URLs of the paths below it.

use http::{
    Uri,
    uri::{Authority, Scheme},
};

/// A provider's base URL, taken apart once.
#[derive(Clone, Debug)]
pub struct BaseUrl {
    scheme: Scheme,
    authority: Authority,
    prefix: String,
}

/// The base URL is not an absolute http(s) URL without query.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("baseURL {0:?} is not an absolute http or https URL")]
pub struct InvalidBaseUrl(pub String);

// === impl BaseUrl ===

impl BaseUrl {
    /// Takes a base URL apart.
    ///
    /// # Errors
    /// When it is not an absolute http or https URL.
    pub fn parse(text: &str) -> Result<Self, InvalidBaseUrl> {
        let invalid = || InvalidBaseUrl(text.to_owned());
        let parts = text.parse::<Uri>().map_err(|_| invalid())?.into_parts();
        let (Some(scheme), Some(authority)) = (parts.scheme, parts.authority) else {
            return Err(invalid());
        };
        let path = parts.path_and_query.as_ref();
        if !matches!(scheme.as_str(), "http" | "https") || path.is_some_and(|path| path.query().is_some()) {
            return Err(invalid());
        }
        let prefix = path.map_or("", http::uri::PathAndQuery::path).trim_end_matches('/').to_owned();
        Ok(Self { scheme, authority, prefix })
    }

    /// The URL of a path below this base.
    ///
    /// # Errors
    /// When the path is not one.
    pub fn join(&self, path: &str) -> Result<Uri, http::Error> {
        Uri::builder()
            .scheme(self.scheme.clone())
            .authority(self.authority.clone())
            .path_and_query(format!("{}{path}", self.prefix))
            .build()
    }

    /// Whether TLS is spoken.
    pub fn scheme(&self) -> &Scheme {
        &self.scheme
    }

    /// Host and port.
    pub fn authority(&self) -> &Authority {
        &self.authority
    }

    /// Scheme, host and port.
    pub fn uri(&self) -> Uri {
        let parts = Uri::builder().scheme(self.scheme.clone()).authority(self.authority.clone()).path_and_query("/");
        parts.build().unwrap_or_default()
    }

    /// The host, for `server.address` in telemetry.
    pub fn host(&self) -> &str {
        self.authority.host()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_join_a_base_url_with_or_without_trailing_slash() {
        for (base, path, url) in [
            ("https://api.openai.com/v1", "/chat/completions", "https://api.openai.com/v1/chat/completions"),
            ("http://vllm.ai.svc:8000/v1/", "/embeddings", "http://vllm.ai.svc:8000/v1/embeddings"),
            ("https://api.anthropic.com", "/v1/messages", "https://api.anthropic.com/v1/messages"),
            ("http://[::1]:9", "/v1beta/models/a%2Fb:x?alt=sse", "http://[::1]:9/v1beta/models/a%2Fb:x?alt=sse"),
        ] {
            assert_eq!(BaseUrl::parse(base).unwrap().join(path).unwrap().to_string(), url);
        }
        for text in ["", "api.openai.com", "/v1", "ftp://x", "http://x?y=z"] {
            assert_eq!(BaseUrl::parse(text).unwrap_err(), InvalidBaseUrl(text.to_owned()));
        }
    }
}
