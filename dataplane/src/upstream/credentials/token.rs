//! What a token endpoint answers, in every cloud's words.

use std::time::Duration;

use http::{HeaderMap, HeaderValue, StatusCode, header::AUTHORIZATION, header::RETRY_AFTER};
use serde::Deserialize;

use crate::{clock::Now, upstream::authorization::Authorization};

/// Largest answer, in bytes: tokens have a few KiB.
pub(super) const MAX_ANSWER: usize = 64 << 10;
/// Longest message of a vendor's that is shown, in bytes.
const MAX_MESSAGE: usize = 400;

/// No token came.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub(super) struct FetchError {
    /// The status of the answer; none if there was none.
    pub(super) status: Option<u16>,
    /// Whether the identity was refused, which trying again does not change.
    pub(super) is_refusal: bool,
    /// In the vendor's own words, if it said any. Holds no secret: neither what was sent nor a token is ever in it.
    pub(super) message: String,
    /// When to come back, if the server said so.
    pub(super) retry_after: Option<Duration>,
}

/// An answer, whole.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Vec<u8>,
}

/// A token, as OAuth 2 has it (RFC 6749, 5.1). Azure's metadata service writes numbers as text.
#[derive(Deserialize)]
struct OAuthToken {
    access_token: String,
    expires_in: Seconds,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Seconds {
    Number(u64),
    Text(String),
}

/// An error, as OAuth 2 has it (5.2), or as Google's other services have it.
#[derive(Default, Deserialize)]
#[serde(default)]
struct StatedError {
    error: Option<ErrorMember>,
    error_description: Option<String>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum ErrorMember {
    Code(String),
    Object { message: Option<String> },
}

// === impl FetchError ===

impl FetchError {
    /// The endpoint did not answer.
    pub(super) fn unreachable(why: impl Into<String>) -> Self {
        Self { status: None, is_refusal: false, message: why.into(), retry_after: None }
    }

    /// What is needed to ask is not there: trying again changes nothing until somebody provides it.
    pub(super) fn missing(what: impl Into<String>) -> Self {
        Self { status: None, is_refusal: true, message: what.into(), retry_after: None }
    }

    /// Names the endpoint.
    #[must_use]
    pub(super) fn at(self, endpoint: &str) -> Self {
        Self { message: format!("{endpoint}: {}", self.message), ..self }
    }

    /// What an answer that is no success says.
    pub(super) fn answered(answer: &Answer) -> Self {
        let stated: StatedError = serde_json::from_slice(&answer.body).unwrap_or_default();
        let said = stated.error_description.or(match stated.error {
            Some(ErrorMember::Code(code)) => Some(code),
            Some(ErrorMember::Object { message }) => message,
            None => None,
        });
        Self::stated(answer, said.as_deref())
    }

    /// The same, where whoever calls has read what the answer says.
    pub(super) fn stated(answer: &Answer, said: Option<&str>) -> Self {
        let status = answer.status.as_u16();
        let said = said.map(printable).filter(|said| !said.is_empty());
        let message = said.map_or_else(|| format!("status {status}"), |said| format!("status {status}: {said}"));
        let retry_after = answer.headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.trim().parse().ok());
        Self {
            status: Some(status),
            is_refusal: answer.status.is_client_error() && !matches!(status, 404 | 408 | 410 | 429),
            message,
            retry_after: retry_after.map(Duration::from_secs),
        }
    }
}

/// A vendor's text on one line, cut.
fn printable(text: &str) -> String {
    let line = text.lines().next().unwrap_or_default();
    // What Microsoft Entra ID puts behind differs each time, and says nothing to whoever reads the message.
    let line = line.split(" Trace ID: ").next().unwrap_or_default();
    let mut kept: String = line.chars().filter(|letter| !letter.is_control()).collect();
    if kept.len() > MAX_MESSAGE {
        let end = (0..=MAX_MESSAGE).rev().find(|end| kept.is_char_boundary(*end)).unwrap_or(0);
        kept.truncate(end);
        kept.push('…');
    }
    kept
}

// === impl Answer ===

impl Answer {
    /// The body, if the status says success.
    pub(super) fn success(&self) -> Result<&[u8], FetchError> {
        if self.status == StatusCode::OK { Ok(&self.body) } else { Err(FetchError::answered(self)) }
    }

    /// The token and how long it lives, from an OAuth answer.
    pub(super) fn oauth_token(&self) -> Result<(String, Duration), FetchError> {
        let body = self.success()?;
        let token: OAuthToken = serde_json::from_slice(body)
            .map_err(|_| FetchError::unreachable("the answer holds no access_token with expires_in"))?;
        let seconds = match token.expires_in {
            Seconds::Number(seconds) => Some(seconds),
            Seconds::Text(text) => text.parse().ok(),
        };
        let seconds = seconds.ok_or_else(|| FetchError::unreachable("the answer's expires_in is no number"))?;
        Ok((token.access_token, Duration::from_secs(seconds)))
    }
}

/// The header that carries a token until its end.
pub(super) fn bearer(token: &str, life: Duration, now: Now) -> Result<Authorization, FetchError> {
    let mut value = HeaderValue::try_from(format!("Bearer {token}"))
        .map_err(|_| FetchError::unreachable("the token holds characters that a header cannot carry"))?;
    value.set_sensitive(true);
    let life = i64::try_from(life.as_millis()).unwrap_or(i64::MAX);
    Ok(Authorization::Header { name: AUTHORIZATION, value, expires: Some(now.unix_ms.saturating_add(life)) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, body: &str) -> Answer {
        let mut headers = HeaderMap::new();
        headers.insert(RETRY_AFTER, HeaderValue::from_static("7"));
        Answer { status: StatusCode::from_u16(status).unwrap(), headers, body: body.as_bytes().to_vec() }
    }

    #[test]
    fn errors_are_told_in_the_vendors_words() {
        let entra = r#"{"error":"invalid_client","error_description":"AADSTS7000215: Invalid client secret provided. Trace ID: x Correlation ID: y"}"#;
        let google = r#"{"error":{"code":403,"message":"Permission 'iam.serviceAccounts.getAccessToken' denied"}}"#;
        for (status, body, message, refusal) in [
            (401, entra, "status 401: AADSTS7000215: Invalid client secret provided.", true),
            (400, r#"{"error":"invalid_grant"}"#, "status 400: invalid_grant", true),
            (403, google, "status 403: Permission 'iam.serviceAccounts.getAccessToken' denied", true),
            (429, "busy", "status 429", false),
            (503, "<html>", "status 503", false),
            (404, "", "status 404", false),
        ] {
            let error = answer(status, body).oauth_token().unwrap_err();
            assert_eq!((error.message.as_str(), error.is_refusal), (message, refusal), "{body}");
            assert_eq!(error.retry_after, Some(Duration::from_secs(7)));
        }
        let long = format!(r#"{{"error":"{}"}}"#, "é".repeat(900));
        assert!(answer(400, &long).oauth_token().unwrap_err().message.len() < MAX_MESSAGE + 20);
    }

    #[test]
    fn lives_are_numbers_or_text() {
        for body in [r#"{"access_token":"t","expires_in":60}"#, r#"{"access_token":"t","expires_in":"60"}"#] {
            assert_eq!(answer(200, body).oauth_token(), Ok(("t".to_owned(), Duration::from_secs(60))));
        }
        for body in ["", "{}", r#"{"access_token":"t"}"#, r#"{"access_token":"t","expires_in":"soon"}"#] {
            let error = answer(200, body).oauth_token().unwrap_err();
            assert!(!error.is_refusal && !error.message.contains('t') || error.message.contains("answer"), "{body}");
        }
        let now = crate::clock::now();
        assert!(bearer("a\nb", Duration::ZERO, now).is_err());
        let bearer = bearer("canary", Duration::from_secs(1), now).unwrap();
        assert_eq!(bearer.expires(), Some(now.unix_ms + 1_000));
        assert!(!format!("{bearer:?}").contains("canary"));
    }
}
