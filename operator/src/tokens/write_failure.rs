//! Why a token's Secret or status could not be written, for its condition: a reason, and the API server's message without
//! secrets. Pure.

use base64::{Engine, engine::general_purpose::STANDARD};
use kube::core::Status;
use routeapi_channel::Secret;
use routeapi_crds::condition::{Reason, shorten};

use super::error::TokenError;

/// Maximum length of a message in bytes: an event's note has at most a thousand.
const MAX_MESSAGE: usize = 900;

const REDACTED: &str = "[redacted]";

/// A failed write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WriteFailure {
    /// The reason for the condition.
    pub reason: Reason,
    /// The message for the condition: one line without secrets.
    pub message: String,
    /// Whether the write may have succeeded nevertheless.
    pub ambiguous: bool,
}

// === impl WriteFailure ===

impl WriteFailure {
    /// The failure of an error. Removes `secrets` from the message, which may quote the request.
    pub fn of(error: &TokenError, secrets: &[&Secret]) -> Self {
        let (reason, message, ambiguous) = match error {
            TokenError::Api(what, error) => match error.as_ref() {
                kube::Error::Api(status) => {
                    (reason(status), format!("{what}: {}", message_of(status)), matches!(status.code, 500 | 504))
                }
                error => (Reason::ApiServerError, format!("{what}: {error}"), true),
            },
            TokenError::TimedOut(_) => (Reason::ApiServerError, error.to_string(), true),
            TokenError::NoRandomness(_) => (Reason::ApiServerError, error.to_string(), false),
        };
        Self { reason, message: sanitize(&message, secrets), ambiguous }
    }

    /// Whether a retry will probably succeed, so that it need not be reported yet.
    pub fn is_transient(&self) -> bool {
        matches!(self.reason, Reason::Conflict | Reason::ApiServerError)
    }

    /// Whether this is the same failure as another, except for numbers such as the counts of a quota.
    pub fn repeats(&self, other: &Self) -> bool {
        let plain = |text: &str| text.chars().filter(|character| !character.is_ascii_digit()).collect::<String>();
        self.reason == other.reason && plain(&self.message) == plain(&other.message)
    }
}

/// The API server tells failures apart by code, by cause, or only by message: quotas, webhooks and policies all respond with "is
/// forbidden", and policies with 422 by default.
fn reason(status: &Status) -> Reason {
    let contains = |text: &str| status.message.contains(text);
    let terminating =
        status.details.iter().flat_map(|details| &details.causes).any(|cause| cause.reason == "NamespaceTerminating");
    if terminating {
        return Reason::NamespaceTerminating;
    }
    let denied = (contains("admission webhook ") && contains(" denied the request"))
        || (contains("ValidatingAdmissionPolicy ") && contains(" denied request"));
    match status.code {
        400..500 if denied => Reason::AdmissionDenied,
        403 if contains("exceeded quota: ") => Reason::QuotaExceeded,
        401 | 403 => Reason::Forbidden,
        409 => Reason::Conflict,
        422 if contains("field is immutable") => Reason::SecretImmutable,
        400 | 413 | 422 => Reason::SecretInvalid,
        _ => Reason::ApiServerError,
    }
}

fn message_of(status: &Status) -> String {
    match (status.message.trim(), status.reason.as_str()) {
        ("", "") => format!("HTTP status {}", status.code),
        ("", reason) => reason.to_owned(),
        (message, _) => message.to_owned(),
    }
}

/// One line, without secrets, of bounded length.
fn sanitize(message: &str, secrets: &[&Secret]) -> String {
    let mut text: String =
        message.chars().map(|character| if character.is_control() { ' ' } else { character }).collect();
    for secret in secrets.iter().map(|secret| secret.expose()).filter(|secret| !secret.is_empty()) {
        text = text.replace(secret, REDACTED).replace(&STANDARD.encode(secret), REDACTED);
    }
    shorten(&text, MAX_MESSAGE)
}

#[cfg(test)]
mod tests {
    use kube::core::response::{StatusCause, StatusDetails};

    use super::*;

    fn refused(code: u16, message: &str) -> WriteFailure {
        let status = Status { code, message: message.to_owned(), ..Status::default() };
        WriteFailure::of(&TokenError::Api("creating the Secret", Box::new(kube::Error::Api(status.boxed()))), &[])
    }

    #[test]
    fn every_kind_of_failure_has_a_reason() {
        for (code, message, reason) in [
            (403, r#"secrets "a" is forbidden: exceeded quota: q, requested: secrets=1"#, Reason::QuotaExceeded),
            (403, r#"secrets "a" is forbidden: User "x" cannot create resource "secrets""#, Reason::Forbidden),
            (403, r#"admission webhook "w.example" denied the request: no"#, Reason::AdmissionDenied),
            (400, r#"admission webhook "w.example" denied the request: no"#, Reason::AdmissionDenied),
            (
                422,
                r#"secrets "a" is forbidden: ValidatingAdmissionPolicy 'p' with binding 'b' denied request: no"#,
                Reason::AdmissionDenied,
            ),
            (
                422,
                r#"Secret "a" is invalid: data: Forbidden: field is immutable when `immutable` is set"#,
                Reason::SecretImmutable,
            ),
            (422, r#"Secret "a" is invalid: metadata.name: Invalid value"#, Reason::SecretInvalid),
            (413, "Request entity too large: limit is 3145728", Reason::SecretInvalid),
            (409, "the object has been modified", Reason::Conflict),
            (401, "Unauthorized", Reason::Forbidden),
            (429, "too many requests", Reason::ApiServerError),
            (500, r#"failed calling webhook "w.example": timeout"#, Reason::ApiServerError),
            (503, "", Reason::ApiServerError),
        ] {
            let failure = refused(code, message);
            assert_eq!(failure.reason, reason, "{code} {message}");
            assert!(failure.message.starts_with("creating the Secret: ") && failure.message.contains(message));
        }
    }

    #[test]
    fn a_terminating_namespace_is_recognized_by_its_cause() {
        let cause = StatusCause {
            reason: "NamespaceTerminating".to_owned(),
            message: String::new(),
            field: "metadata.namespace".to_owned(),
        };
        let details = StatusDetails { causes: vec![cause], ..serde_json::from_value(serde_json::json!({})).unwrap() };
        let status = Status { code: 403, details: Some(details), ..Status::default() };
        assert_eq!(reason(&status), Reason::NamespaceTerminating);
    }

    #[test]
    fn messages_contain_no_secrets_and_no_line_breaks() {
        let secret = Secret::new("sk-very-secret");
        let message = format!("no:\n{} {}\t", secret.expose(), STANDARD.encode(secret.expose()));
        let status = Status { code: 422, message, ..Status::default() };
        let error = TokenError::Api("writing the Secret", Box::new(kube::Error::Api(status.boxed())));
        let failure = WriteFailure::of(&error, &[&secret]);
        assert_eq!(failure.message, "writing the Secret: no: [redacted] [redacted]");
        assert_eq!(refused(422, &"x".repeat(100_000)).message.len(), MAX_MESSAGE);
    }

    #[test]
    fn failures_that_differ_in_numbers_are_the_same() {
        let used = |count: u32| refused(403, &format!("exceeded quota: q, used: secrets={count}"));
        assert!(used(7).repeats(&used(12)));
        assert!(!used(7).repeats(&refused(403, "exceeded quota: other, used: secrets=7")));
    }
}
