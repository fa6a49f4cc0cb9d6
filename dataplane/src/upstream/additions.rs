//! What a provider's owner adds to every request: headers, query parameters, members of the body, and headers of the
//! client that are passed on. Parsed once; values from Secrets are marked as sensitive and never shown.

use std::{borrow::Cow, fmt};

use http::{HeaderName, HeaderValue};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use routeapi_channel::snapshot::{QueryParameter, RequestSettings};
use routeapi_protocol::defaults::Defaults;

/// Everything but RFC 3986's unreserved characters.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Headers that are lists of features: what an owner sets there joins what the client asks for.
const LIST_HEADERS: [&str; 2] = ["anthropic-beta", "openai-beta"];

/// What is added to every request of one provider.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Additions {
    headers: Vec<(HeaderName, HeaderValue)>,
    /// Encoded; for the eye without secret values.
    query: String,
    shown_query: String,
    defaults: Defaults,
    forwarded: Vec<HeaderName>,
}

/// A name or value that cannot be sent. Says the name alone.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("request.{field} {name:?}: it cannot be sent")]
pub struct InvalidAdditions {
    field: &'static str,
    name: String,
}

impl Additions {
    /// As the snapshot has them.
    ///
    /// # Errors
    /// When a name or value cannot be a header's.
    pub fn new(spec: &RequestSettings) -> Result<Self, InvalidAdditions> {
        let RequestSettings { headers, query_parameters, body_defaults, forward_headers } = spec;
        let mut additions = Self { defaults: Defaults::new(body_defaults), ..Self::default() };
        for (name, text) in headers {
            let invalid = || InvalidAdditions { field: "headers", name: name.clone() };
            let mut value = HeaderValue::try_from(text.expose()).map_err(|_| invalid())?;
            value.set_sensitive(text.is_secret());
            additions.headers.push((HeaderName::try_from(name).map_err(|_| invalid())?, value));
        }
        for QueryParameter { name, value } in query_parameters {
            let encode = |text: &str| utf8_percent_encode(text, ENCODED).to_string();
            let separator = if additions.query.is_empty() { "" } else { "&" };
            let shown = if value.is_secret() { "<redacted>".to_owned() } else { encode(value.expose()) };
            additions.query += &format!("{separator}{}={}", encode(name), encode(value.expose()));
            additions.shown_query += &format!("{separator}{}={shown}", encode(name));
        }
        for name in forward_headers {
            let name = HeaderName::try_from(name)
                .map_err(|_| InvalidAdditions { field: "forwardHeaders", name: name.clone() })?;
            additions.forwarded.push(name);
        }
        Ok(additions)
    }

    /// Headers to send; values from Secrets are sensitive.
    pub fn headers(&self) -> &[(HeaderName, HeaderValue)] {
        &self.headers
    }

    /// Whether a header joins those of the same name instead of replacing them.
    pub fn is_list(name: &HeaderName) -> bool {
        LIST_HEADERS.contains(&name.as_str())
    }

    /// Names of client headers that are passed on.
    pub fn forwarded(&self) -> &[HeaderName] {
        &self.forwarded
    }

    /// Members of the body that clients need not set.
    pub fn defaults(&self) -> &Defaults {
        &self.defaults
    }

    /// A path with the parameters.
    pub fn path<'a>(&self, path: &'a str) -> Cow<'a, str> {
        join(path, &self.query)
    }

    /// The same for the eye: without secret values.
    pub fn shown_path<'a>(&self, path: &'a str) -> Cow<'a, str> {
        join(path, &self.shown_query)
    }
}

impl fmt::Debug for Additions {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { headers, query: _, shown_query, defaults, forwarded } = self;
        out.debug_struct("Additions")
            .field("headers", headers)
            .field("query", shown_query)
            .field("defaults", defaults)
            .field("forwarded", forwarded)
            .finish()
    }
}

fn join<'a>(path: &'a str, query: &str) -> Cow<'a, str> {
    if query.is_empty() {
        return path.into();
    }
    let separator = if path.contains('?') { '&' } else { '?' };
    format!("{path}{separator}{query}").into()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn additions(spec: serde_json::Value) -> Result<Additions, InvalidAdditions> {
        Additions::new(&serde_json::from_value(spec).unwrap())
    }

    #[test]
    fn parameters_are_encoded_and_secret_ones_are_not_shown() {
        let additions = additions(json!({
            "headers": {"x-a": {"secret": "canary"}},
            "queryParameters": [
                {"name": "api-version", "value": {"plain": "2024-10-21&x=1"}},
                {"name": "key", "value": {"secret": "canary +é"}},
            ],
        }));
        let additions = additions.unwrap();
        assert_eq!(additions.path("/chat"), "/chat?api-version=2024-10-21%26x%3D1&key=canary%20%2B%C3%A9");
        assert_eq!(additions.shown_path("/m?alt=sse"), "/m?alt=sse&api-version=2024-10-21%26x%3D1&key=<redacted>");
        assert!(!format!("{additions:?}").contains("canary"), "{additions:?}");
        assert_eq!(Additions::default().path("/chat"), "/chat");
    }

    #[test]
    fn invalid_additions_name_the_field() {
        let error = additions(json!({"headers": {"x-a": {"secret": "can\nary"}}})).unwrap_err().to_string();
        assert_eq!(error, r#"request.headers "x-a": it cannot be sent"#);
        assert!(additions(json!({"headers": {"x a": {"plain": "a"}}})).is_err());
        assert!(additions(json!({"forwardHeaders": ["x a"]})).is_err());
    }
}
