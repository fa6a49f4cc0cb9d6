//! Why a token's Secret or status could not be written, as its condition says it: a reason for programs, and the API
//! server's own words without anything secret in them. Pure.

use base64::{Engine, engine::general_purpose::STANDARD};
use kube::core::Status;
use routeapi_channel::Secret;
use routeapi_crds::condition::{Reason, shorten};

use super::TokenError;

/// Bytes of the longest message: an event takes no more than a thousand.
const LONGEST: usize = 900;

const REDACTED: &str = "[redacted]";

/// A write that did not come about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Why, for programs.
    pub reason: Reason,
    /// Why, for people.
    pub message: String,
    /// Whether it may have come about all the same.
    pub ambiguous: bool,
}

// === impl Refusal ===

impl Refusal {
    /// Of an error. What must not be shown is taken out of the message, whoever put it there.
    pub fn of(error: &TokenError, hidden: &[&Secret]) -> Self {
        let (reason, message, ambiguous) = match error {
            TokenError::Api(what, error) => match error.as_ref() {
                kube::Error::Api(status) => {
                    (reason(status), format!("{what}: {}", words(status)), matches!(status.code, 500 | 504))
                }
                error => (Reason::ApiServerError, format!("{what}: {error}"), true),
            },
            TokenError::TimedOut(_) => (Reason::ApiServerError, error.to_string(), true),
            TokenError::NoRandomness(_) => (Reason::ApiServerError, error.to_string(), false),
        };
        Self { reason, message: clean(&message, hidden), ambiguous }
    }

    /// Whether trying again soon may well help, so that it is not worth telling yet.
    pub fn is_passing(&self) -> bool {
        matches!(self.reason, Reason::Conflict | Reason::ApiServerError)
    }

    /// Whether this says the same as another, but for numbers: a quota counts, a request has an id.
    pub fn repeats(&self, other: &Self) -> bool {
        let plain = |text: &str| text.chars().filter(|it| !it.is_ascii_digit()).collect::<String>();
        self.reason == other.reason && plain(&self.message) == plain(&other.message)
    }
}

/// The API server says the kind of a refusal by its code, by a cause, or in words alone: a quota, a webhook and a policy all
/// answer "is forbidden", and policies with 422 unless told otherwise.
fn reason(status: &Status) -> Reason {
    let says = |text: &str| status.message.contains(text);
    let terminating = status.details.iter().flat_map(|it| &it.causes).any(|it| it.reason == "NamespaceTerminating");
    if terminating {
        return Reason::NamespaceTerminating;
    }
    let denied = (says("admission webhook ") && says(" denied the request"))
        || (says("ValidatingAdmissionPolicy ") && says(" denied request"));
    match status.code {
        400..500 if denied => Reason::AdmissionDenied,
        403 if says("exceeded quota: ") => Reason::QuotaExceeded,
        401 | 403 => Reason::Forbidden,
        409 => Reason::Conflict,
        422 if says("field is immutable") => Reason::SecretImmutable,
        400 | 413 | 422 => Reason::SecretInvalid,
        _ => Reason::ApiServerError,
    }
}

fn words(status: &Status) -> String {
    match (status.message.trim(), status.reason.as_str()) {
        ("", "") => format!("HTTP status {}", status.code),
        ("", reason) => reason.to_owned(),
        (message, _) => message.to_owned(),
    }
}

/// One line, without secrets, of bounded length.
fn clean(message: &str, hidden: &[&Secret]) -> String {
    let mut text: String = message.chars().map(|it| if it.is_control() { ' ' } else { it }).collect();
    for secret in hidden.iter().map(|it| it.expose()).filter(|it| !it.is_empty()) {
        text = text.replace(secret, REDACTED).replace(&STANDARD.encode(secret), REDACTED);
    }
    shorten(&text, LONGEST)
}

#[cfg(test)]
mod tests {
    use kube::core::response::{StatusCause, StatusDetails};

    use super::*;

    fn refused(code: u16, message: &str) -> Refusal {
        let status = Status { code, message: message.to_owned(), ..Status::default() };
        Refusal::of(&TokenError::Api("creating the Secret", Box::new(kube::Error::Api(status.boxed()))), &[])
    }

    #[test]
    fn each_kind_of_refusal_has_a_reason() {
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
            let refusal = refused(code, message);
            assert_eq!(refusal.reason, reason, "{code} {message}");
            assert!(refusal.message.starts_with("creating the Secret: ") && refusal.message.contains(message));
        }
    }

    #[test]
    fn a_terminating_namespace_is_told_by_its_cause() {
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
    fn no_secret_and_no_line_break_is_in_a_message() {
        let secret = Secret::new("sk-very-secret");
        let message = format!("no:\n{} {}\t", secret.expose(), STANDARD.encode(secret.expose()));
        let status = Status { code: 422, message, ..Status::default() };
        let error = TokenError::Api("writing the Secret", Box::new(kube::Error::Api(status.boxed())));
        let refusal = Refusal::of(&error, &[&secret]);
        assert_eq!(refusal.message, "writing the Secret: no: [redacted] [redacted]");
        assert_eq!(refused(422, &"x".repeat(100_000)).message.len(), LONGEST);
    }

    #[test]
    fn numbers_alone_are_no_news() {
        let used = |count: u32| refused(403, &format!("exceeded quota: q, used: secrets={count}"));
        assert!(used(7).repeats(&used(12)));
        assert!(!used(7).repeats(&refused(403, "exceeded quota: other, used: secrets=7")));
    }
}
