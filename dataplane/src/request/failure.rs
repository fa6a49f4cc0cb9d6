//! One failed attempt: what happened, whether another upstream may be tried, and what it says about the upstream's
//! health.

use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, header::CONTENT_TYPE};
use routeapi_crds::value::FallbackCondition;
use routeapi_protocol::{
    problem::{Problem, ProblemKind},
    unsupported::Unsupported,
};

use crate::{config::runtime::Upstream, upstream::SendError};

/// The pause of an upstream that answers 429 without saying how long, where others can serve meanwhile.
const DEFAULT_COOL_DOWN: Duration = Duration::from_secs(5);

/// The longest pause that an upstream is granted: a vendor's daily quota shall not outlive a corrected setting.
const MAX_COOL_DOWN: Duration = Duration::from_secs(3_600);

/// An attempt that did not serve.
#[derive(Debug)]
pub(super) struct Failure {
    /// The upstream's name in its route.
    pub upstream: String,
    /// What happened.
    pub cause: Cause,
    /// What the client is told.
    pub problem: Problem,
    /// The upstream's error as it came, where the client speaks the same dialect.
    pub raw: Option<RawError>,
    /// What the upstream says that it does not take.
    pub unsupported: Unsupported,
    /// Some of the calls that the request was sent in had been answered, in vain.
    pub was_answered_in_part: bool,
    /// The request was sent with the caller's own credential.
    pub is_client_credential: bool,
}

/// An upstream's error answer, untouched.
#[derive(Debug)]
pub(super) struct RawError {
    /// Its status.
    pub status: u16,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Bytes,
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cause {
    /// No connection: nothing was sent.
    ConnectFailed,
    /// No connection in time: nothing was sent.
    ConnectTimeout,
    /// The connection broke before the answer's head.
    ConnectionClosed,
    /// The request could not be formed: nothing was sent.
    RequestUnformed,
    /// The gateway's credentials for the upstream have expired, and newer ones have not come: nothing was sent.
    StaleCredentials,
    /// All of the provider's `maxConcurrentRequests` are in use.
    UpstreamBusy,
    /// No HTTP/2 stream was free, or the server refused it: nothing was processed.
    NoFreeStream,
    /// This process has no file descriptor for a connection: nothing was sent.
    NoDescriptors,
    /// No content within `firstContent`.
    FirstContentTimeout,
    /// The deadline of the whole request passed.
    RequestTimeout,
    /// The process holds as many bytes as it may.
    BuffersFull,
    /// The answer ended or broke before any content.
    Truncated,
    /// The answer is not one of its dialect.
    UnreadableAnswer,
    /// The whole answer is larger than the gateway holds; the request asked for so much.
    AnswerTooLarge,
    /// It answered with a redirect, which is not followed: keys and prompts go to the configured address only.
    Redirected,
    /// It answered with an error, as a status or as an event before any content.
    ErrorAnswer,
    /// An error event after content that had not gone out yet.
    LateErrorEvent,
}

/// Whether another upstream may be tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TryAnother {
    /// In any case.
    Always,
    /// If the route says so.
    If(FallbackCondition),
    /// The same request would fail elsewhere, or there is no time.
    Never,
}

/// What a failure says about its upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Blame {
    /// It failed: counts towards its eviction, for this tenant or, together with failures of others, for everybody.
    Upstream,
    /// It limits the rate of the whole account: it is left alone for a while.
    Account,
    /// Nothing: the cause is, or may be, what the client wrote or did, or the gateway itself.
    Nobody,
}

/// All that follows from a failure. `docs/fallback.md` shows the whole table.
struct Facts {
    code: &'static str,
    try_another: TryAnother,
    blame: Blame,
    weight: u8,
    spends_retry_budget: bool,
    log: LogText,
}

/// What a log says of a failure.
enum LogText {
    /// The problem's message, which is the gateway's own.
    Message,
    /// Which status an error had.
    ErrorAnswer,
    /// That the answer broke off.
    Truncated,
    /// That the answer cannot be read.
    Unreadable,
}

// === impl Failure ===

impl Failure {
    pub(super) fn new(upstream: &Upstream, cause: Cause, problem: Problem) -> Box<Self> {
        Box::new(Self {
            upstream: upstream.name.clone(),
            cause,
            problem,
            raw: None,
            unsupported: Unsupported::default(),
            was_answered_in_part: false,
            is_client_credential: upstream.provider.takes_client_credential,
        })
    }

    /// Keeps an error that came inside an answer of status 200 as the upstream wrote it, under the status that it means.
    pub(super) fn keep_raw(&mut self, body: Option<Bytes>, headers: &HeaderMap) {
        let is_error = (400..600).contains(&self.problem.status);
        self.raw = body.filter(|_| is_error).map(|body| {
            let mut headers = headers.clone();
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
            RawError { status: self.problem.status, headers, body }
        });
    }

    pub(super) fn send_failed(upstream: &Upstream, error: &SendError) -> Box<Self> {
        let (cause, kind) = Self::kinds(error);
        let mut problem = Problem::new(kind, format!("upstream {}: {error}", upstream.name));
        if matches!(cause, Cause::NoFreeStream | Cause::NoDescriptors) {
            problem.retry_after_ms = Some(1_000);
        }
        Self::new(upstream, cause, problem)
    }

    fn kinds(error: &SendError) -> (Cause, ProblemKind) {
        match error {
            SendError::Connect(_) => (Cause::ConnectFailed, ProblemKind::Upstream),
            SendError::ConnectTimeout(_) => (Cause::ConnectTimeout, ProblemKind::Timeout),
            SendError::Saturated(_) | SendError::Refused => (Cause::NoFreeStream, ProblemKind::Overloaded),
            SendError::Descriptors => (Cause::NoDescriptors, ProblemKind::Overloaded),
            SendError::Closed(_) | SendError::Stale(_) | SendError::Unprocessed(_) => {
                (Cause::ConnectionClosed, ProblemKind::Upstream)
            }
            SendError::Unauthorized(_) => (Cause::StaleCredentials, ProblemKind::Upstream),
            SendError::Invalid(_) => (Cause::RequestUnformed, ProblemKind::InvalidRequest),
        }
    }

    pub(super) fn request_timeout(upstream: &Upstream) -> Box<Self> {
        let name = &upstream.name;
        let message = format!("the request took longer than the route allows; upstream {name} was last");
        Self::new(upstream, Cause::RequestTimeout, Problem::new(ProblemKind::Timeout, message))
    }

    pub(super) fn first_content_timeout(upstream: &Upstream, timeout: Duration) -> Box<Self> {
        let message = format!("upstream {} sent no content within {timeout:?}", upstream.name);
        Self::new(upstream, Cause::FirstContentTimeout, Problem::new(ProblemKind::Timeout, message))
    }

    pub(super) fn truncated(upstream: &Upstream, how: &str) -> Box<Self> {
        let message = format!("upstream {} {how} before any content", upstream.name);
        Self::new(upstream, Cause::Truncated, Problem::new(ProblemKind::Upstream, message))
    }

    /// `to` is the answer's `location`. Only its scheme and host are told: the rest can hold whatever the upstream wrote.
    pub(super) fn redirected(upstream: &Upstream, status: u16, to: Option<&str>) -> Box<Self> {
        let to = to.and_then(|to| to.parse::<http::Uri>().ok());
        let place = to.and_then(|to| Some(format!(" to {}://{}", to.scheme_str()?, host_and_port(&to)?)));
        let place = place.unwrap_or_else(|| " to another path".to_owned());
        let message = format!(
            "upstream {} answered with a redirect ({status}){place}, which the gateway does not follow; spec.baseURL of \
             AIProvider {} has to be the final address",
            upstream.name, upstream.provider.id
        );
        Self::new(upstream, Cause::Redirected, Problem::new(ProblemKind::Upstream, message))
    }

    /// What the client is told. A key that the vendor rejects is the provider's, not the client's: passed on, its 401 would
    /// send apps looking for a fault in their own token.
    pub(super) fn client_problem(&self) -> Problem {
        if !self.is_gateway_key_rejected() {
            return self.problem.clone();
        }
        let message = format!(
            "upstream {} refused the gateway's own credentials; the AIProvider's key has to be looked at",
            self.upstream
        );
        Problem::new(ProblemKind::Upstream, message)
    }

    /// The upstream's error as it came, if the client may have it.
    pub(super) fn take_raw(&mut self) -> Option<RawError> {
        self.raw.take().filter(|_| !self.is_gateway_key_rejected())
    }

    /// Whether the upstream rejects what the gateway shows it, be it a key or a token.
    pub(super) fn is_gateway_key_rejected(&self) -> bool {
        let answered = matches!(self.cause, Cause::ErrorAnswer | Cause::LateErrorEvent);
        answered && self.problem.kind == ProblemKind::Authentication && !self.is_client_credential
    }

    /// Whether another upstream may be tried.
    pub(super) fn try_another(&self) -> TryAnother {
        self.facts().try_another
    }

    /// Whether trying another upstream takes from the retry budget: an answer that was made, and will be billed, is made
    /// again. An upstream that refused, vanished or stays silent is bounded by its eviction instead, so that all requests
    /// that were with it in that moment can be saved.
    pub(super) fn spends_retry_budget(&self) -> bool {
        self.was_answered_in_part || self.facts().spends_retry_budget
    }

    /// How much this failure tells the client: an upstream's own words more than a timeout, that more than "not reached".
    pub(super) fn weight(&self) -> u8 {
        self.facts().weight
    }

    /// Its code in records and metrics.
    pub(super) fn code(&self) -> &'static str {
        self.facts().code
    }

    /// Whom this failure is held against.
    pub(super) fn blame(&self) -> Blame {
        self.facts().blame
    }

    /// Whether the upstream itself is held to have failed.
    pub(super) fn is_upstream_fault(&self) -> bool {
        self.blame() == Blame::Upstream
    }

    /// What a log may say of it: an upstream's own words can quote the prompt or a part of a key, so they stay out.
    pub(super) fn log_message(&self) -> String {
        let upstream = &self.upstream;
        match self.facts().log {
            LogText::Message => self.problem.message.to_string(),
            LogText::ErrorAnswer => {
                format!("upstream {upstream} answered with an error, status {}", self.problem.status)
            }
            LogText::Truncated => {
                format!("upstream {upstream} broke off its answer, or ended it with an error, before any content")
            }
            LogText::Unreadable => format!("the answer of upstream {upstream} cannot be read"),
        }
    }

    /// All that follows from its cause: one line each.
    fn facts(&self) -> Facts {
        use FallbackCondition::{ConnectFailure, ServerError};
        use TryAnother::{Always, If, Never};
        let cause = |code, try_another, blame, weight| Facts {
            code,
            try_another,
            blame,
            weight,
            spends_retry_budget: false,
            log: LogText::Message,
        };
        match self.cause {
            Cause::ConnectFailed => cause("connect_failed", If(ConnectFailure), Blame::Upstream, 1),
            Cause::ConnectTimeout => cause("connect_timeout", If(ConnectFailure), Blame::Upstream, 1),
            Cause::ConnectionClosed => cause("connection_closed", If(ConnectFailure), Blame::Upstream, 1),
            // Another upstream may take the same model id under a name that can be sent.
            Cause::RequestUnformed => cause("request_unformed", Always, Blame::Nobody, 1),
            // Another upstream has credentials of its own.
            Cause::StaleCredentials => cause("stale_credentials", Always, Blame::Nobody, 1),
            Cause::UpstreamBusy => cause("upstream_busy", Always, Blame::Nobody, 0),
            // Nothing was processed, and another may have a connection that is open.
            Cause::NoFreeStream => cause("no_free_stream", Always, Blame::Nobody, 0),
            Cause::NoDescriptors => cause("no_descriptors", Always, Blame::Nobody, 0),
            Cause::FirstContentTimeout => {
                cause("first_content_timeout", If(FallbackCondition::Timeout), Blame::Upstream, 2)
            }
            Cause::RequestTimeout => cause("request_timeout", Never, Blame::Nobody, 2),
            Cause::BuffersFull => cause("buffers_full", Never, Blame::Nobody, 2),
            // What came at the end may have been an error event without a blank line behind it.
            Cause::Truncated => {
                Facts { log: LogText::Truncated, ..cause("truncated", If(ServerError), Blame::Upstream, 2) }
            }
            Cause::UnreadableAnswer => Facts {
                spends_retry_budget: true,
                log: LogText::Unreadable,
                ..cause("unreadable_answer", If(ServerError), Blame::Upstream, 2)
            },
            Cause::AnswerTooLarge => {
                Facts { spends_retry_budget: true, ..cause("answer_too_large", Never, Blame::Nobody, 2) }
            }
            Cause::Redirected => cause("redirected", If(ServerError), Blame::Upstream, 3),
            Cause::ErrorAnswer => self.facts_of_answer(),
            Cause::LateErrorEvent => Facts { spends_retry_budget: true, ..self.facts_of_answer() },
        }
    }

    /// The same for an upstream's error, which says itself what happened.
    fn facts_of_answer(&self) -> Facts {
        let kind = self.problem.kind;
        let is_server_error = self.problem.status >= 500;
        let try_another = match kind {
            ProblemKind::RateLimited | ProblemKind::QuotaExceeded => TryAnother::If(FallbackCondition::RateLimited),
            ProblemKind::Authentication | ProblemKind::Permission => TryAnother::If(FallbackCondition::AuthFailure),
            ProblemKind::ModelNotFound | ProblemKind::NotFound => TryAnother::If(FallbackCondition::ModelNotFound),
            ProblemKind::ContentFiltered => TryAnother::If(FallbackCondition::ContentFiltered),
            ProblemKind::ContextLength => TryAnother::If(FallbackCondition::ContextLengthExceeded),
            ProblemKind::Timeout if !is_server_error => TryAnother::If(FallbackCondition::Timeout),
            ProblemKind::Overloaded | ProblemKind::Upstream | ProblemKind::Internal | ProblemKind::Timeout => {
                TryAnother::If(FallbackCondition::ServerError)
            }
            ProblemKind::InvalidRequest | ProblemKind::TooLarge => TryAnother::Never,
        };
        let blame = match kind {
            // The limits of the caller's own account.
            ProblemKind::RateLimited | ProblemKind::QuotaExceeded if self.is_client_credential => Blame::Nobody,
            ProblemKind::RateLimited if self.exceeds_account_limit() => Blame::Nobody,
            ProblemKind::RateLimited | ProblemKind::QuotaExceeded => Blame::Account,
            // 408: the upstream did not get the request in time.
            ProblemKind::Timeout if !is_server_error => Blame::Nobody,
            kind if is_fault_of_upstream(kind, self.is_client_credential) => Blame::Upstream,
            _ => Blame::Nobody,
        };
        let code = kind_code(kind);
        Facts { code, try_another, blame, weight: 3, spends_retry_budget: false, log: LogText::ErrorAnswer }
    }

    /// Whether this one request is larger than all that the account may use in a minute. Vendors answer it as a rate
    /// limit (OpenAI with 429, Groq with 413), but it is one however long anybody waits.
    fn exceeds_account_limit(&self) -> bool {
        let message = self.problem.message.get(..64).unwrap_or(&self.problem.message).to_ascii_lowercase();
        self.problem.status == 413 || message.contains("request too large")
    }

    /// Reports a failed request of this tenant to the upstream's health. `is_only_upstream` says that no other upstream
    /// could serve meanwhile: then only a cool-down that was asked for is kept, not a guessed one.
    pub(super) fn report_to_health(&self, upstream: &Upstream, now: Instant, tenant: &str, is_only_upstream: bool) {
        let health = &upstream.health;
        match self.blame() {
            Blame::Account => {
                let guess = (!is_only_upstream).then_some(DEFAULT_COOL_DOWN);
                if let Some(retry_after) = self.retry_after().or(guess) {
                    health.cool_down(now, retry_after);
                }
            }
            Blame::Upstream => {
                if let Some(retry_after) = self.retry_after() {
                    health.cool_down_for(now, retry_after, tenant);
                }
                health.failed(now, tenant);
                upstream.load.failed(now);
            }
            Blame::Nobody => {}
        }
    }

    /// The pause that the upstream asked for.
    pub(super) fn retry_after(&self) -> Option<Duration> {
        self.problem.retry_after_ms.map(|millis| Duration::from_millis(millis).min(MAX_COOL_DOWN))
    }
}

/// Host and port of a URL, without user and password.
fn host_and_port(url: &http::Uri) -> Option<String> {
    let authority = url.authority()?;
    let port = authority.port().map(|port| format!(":{port}")).unwrap_or_default();
    Some(format!("{}{port}", authority.host()))
}

/// Whether an upstream that reports a problem of this kind is itself at fault: not the request, and not a limit. A
/// rejected key concerns every request, unless it was the caller's own.
pub(super) const fn is_fault_of_upstream(kind: ProblemKind, is_client_credential: bool) -> bool {
    match kind {
        ProblemKind::Authentication => !is_client_credential,
        ProblemKind::Overloaded | ProblemKind::Timeout | ProblemKind::Upstream | ProblemKind::Internal => true,
        ProblemKind::InvalidRequest
        | ProblemKind::Permission
        | ProblemKind::NotFound
        | ProblemKind::ModelNotFound
        | ProblemKind::TooLarge
        | ProblemKind::ContextLength
        | ProblemKind::ContentFiltered
        | ProblemKind::RateLimited
        | ProblemKind::QuotaExceeded => false,
    }
}

/// A problem's kind as a code for records and metrics.
pub(super) const fn kind_code(kind: ProblemKind) -> &'static str {
    match kind {
        ProblemKind::InvalidRequest => "invalid_request",
        ProblemKind::Authentication => "upstream_authentication",
        ProblemKind::Permission => "upstream_permission",
        ProblemKind::NotFound => "not_found",
        ProblemKind::ModelNotFound => "upstream_model_not_found",
        ProblemKind::TooLarge => "too_large",
        ProblemKind::ContextLength => "context_length",
        ProblemKind::ContentFiltered => "content_filtered",
        ProblemKind::RateLimited => "rate_limited",
        ProblemKind::QuotaExceeded => "quota_exceeded",
        ProblemKind::Overloaded => "overloaded",
        ProblemKind::Timeout => "upstream_timeout",
        ProblemKind::Upstream => "server_error",
        ProblemKind::Internal => "internal",
    }
}

#[cfg(test)]
mod tests;
