//! The only place that turns a refusal into status and body in the client's dialect. Matches are exhaustive: a new refusal does not compile until it is classified here.

use bytes::Bytes;
use http::{
    HeaderMap, HeaderValue, Response, StatusCode,
    header::{ACCEPT, ACCEPT_ENCODING, ALLOW, CONNECTION, CONTENT_TYPE, RETRY_AFTER, SEC_WEBSOCKET_VERSION, UPGRADE},
};
use routeapi_metering::{Exceeded, ExceededKind, Outcome};
use routeapi_protocol::{
    dialect::{Family, Operation, OperationKind},
    direct::Direct,
    problem::{Problem, ProblemKind, error_headers, render},
    stored::StoredKind,
};

use super::{
    common_headers::{CommonHeaders, REQUEST_LIMIT_HEADERS, TOKEN_LIMIT_HEADERS},
    failure::{Cause, Failure, RawError},
    outcome::RequestOutcome,
    read::READ_ENCODINGS,
    refusal::Refusal,
    response_headers,
    settle::Guard,
};

use crate::{service_accounts::InvalidToken, telemetry::LEDGER_FULL};

const JSON: HeaderValue = HeaderValue::from_static("application/json");
/// What programs read where a route has no upstream to ask: an object has to be corrected, waiting does not help.
const ROUTE_NOT_READY: &str = "route_not_ready";
/// What programs read where a limit store is away: the same request may pass in a moment.
const LIMIT_STORE_UNAVAILABLE: &str = "limit_store_unavailable";

/// OpenAI's word for it; its clients then send the whole conversation.
const PREVIOUS_RESPONSE_NOT_FOUND: &str = "previous_response_not_found";

/// Answers a refusal and settles the request.
pub(super) fn refuse(mut refusal: Refusal, mut guard: Guard) -> Response<Bytes> {
    let message = refusal.to_string();
    guard.facts.explain(&refusal.log_message());
    let outcome = outcome(&refusal);
    let raw = if let Refusal::Upstream(failure) = &mut refusal { failure.take_raw() } else { None };
    let mut response = match raw {
        Some(raw) => passthrough_error(raw),
        None => render_refusal(&refusal, message, guard.facts.family(), &guard.context().id),
    };
    refusal_headers(&refusal, response.headers_mut());
    if is_retried_by_sdks(response.status()) && is_retry_useless(&refusal, guard.attempts.count()) {
        response.headers_mut().insert("x-should-retry", HeaderValue::from_static("false"));
    }
    CommonHeaders::of(&guard).insert_into(response.headers_mut());
    guard.facts.set_status(response.status().as_u16());
    guard.facts.add_sent(response.body().len());
    guard.finish(outcome);
    response
}

/// An upstream's error as it came.
fn passthrough_error(raw: RawError) -> Response<Bytes> {
    let mut response = Response::new(raw.body);
    *response.status_mut() = StatusCode::from_u16(raw.status).unwrap_or(StatusCode::BAD_GATEWAY);
    *response.headers_mut() = response_headers::passed(&raw.headers, true);
    response
}

fn render_refusal(refusal: &Refusal, message: String, family: Family, id: &str) -> Response<Bytes> {
    in_dialect(family, &problem(refusal, message), id)
}

/// A problem in the words of a dialect, with the headers that say when to try again.
pub(crate) fn in_dialect(family: Family, problem: &Problem, id: &str) -> Response<Bytes> {
    let (status, body) = render(family, problem, id);
    let mut response = Response::new(Bytes::from(body));
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, JSON);
    if let Some((name, value)) = error_headers(family, problem) {
        headers.insert(name, HeaderValue::from_static(value));
    }
    if let Some(millis) = problem.retry_after_ms {
        headers.insert(RETRY_AFTER, HeaderValue::from(millis.div_ceil(1_000)));
        headers.insert("retry-after-ms", HeaderValue::from(millis));
    }
    response
}

/// The refusal as every dialect can say it.
fn problem(refusal: &Refusal, message: String) -> Problem {
    let (kind, _) = classify(refusal);
    let mut problem = Problem::new(kind, message);
    match refusal {
        Refusal::Upstream(failure) => return failure.client_problem(),
        Refusal::MethodNotAllowed { .. } => problem.status = 405,
        // Codex takes it as the word to go on over HTTP, and anything else as a failure to be tried again.
        Refusal::NoWebSocket | Refusal::UpgradeRequired => problem.status = 426,
        Refusal::BodyStalled { .. } | Refusal::BodySlow { .. } => problem.status = 408,
        Refusal::UnknownEncoding { .. } | Refusal::UnknownContentType { .. } => problem.status = 415,
        Refusal::Malformed(malformed) => problem.param = malformed.field.clone().map(Into::into),
        Refusal::FieldRefused { field, .. } => problem.param = Some(field.field.clone()),
        Refusal::UnknownModel { .. }
        | Refusal::ModelNotAllowed { .. }
        | Refusal::ModelNotOffered { .. }
        | Refusal::Unpriced { .. } => problem.param = Some("model".into()),
        Refusal::UnknownStored { kind, is_subject: false, .. } => {
            problem.param = Some(kind.member().into());
            problem.code = (*kind == StoredKind::Response).then(|| PREVIOUS_RESPONSE_NOT_FOUND.to_owned());
        }
        Refusal::LimitReached(exceeded) => problem.retry_after_ms = exceeded.retry_after_ms,
        Refusal::CoolingDown { wait, .. } => {
            problem.retry_after_ms = u64::try_from(wait.as_millis()).ok();
        }
        Refusal::NotConfigured
        | Refusal::ServiceAccountToken(InvalidToken::IssuerUnknown)
        | Refusal::BuffersFull
        | Refusal::LedgerFull
        | Refusal::Busy
        | Refusal::ShuttingDown => {
            problem.retry_after_ms = Some(1_000);
        }
        // Nothing is too busy: somebody has to correct an object.
        Refusal::RouteBroken { .. } => {
            problem.status = StatusCode::SERVICE_UNAVAILABLE.as_u16();
            problem.code = Some(ROUTE_NOT_READY.to_owned());
        }
        // Not overload, which some dialects answer with a status of their own.
        Refusal::LimitStoreUnavailable(_) => {
            problem.status = StatusCode::SERVICE_UNAVAILABLE.as_u16();
            problem.code = Some(LIMIT_STORE_UNAVAILABLE.to_owned());
            problem.retry_after_ms = Some(1_000);
        }
        Refusal::NoSuchPath { .. }
        | Refusal::NotServed(_)
        | Refusal::UnknownStored { is_subject: true, .. }
        | Refusal::NoToken
        | Refusal::NoClientCredential { .. }
        | Refusal::UnknownToken
        | Refusal::MistypedToken
        | Refusal::ServiceAccountToken(_)
        | Refusal::NoTokenForServiceAccount { .. }
        | Refusal::TokenExpired { .. }
        | Refusal::KeyRotatedOut { .. }
        | Refusal::TokenSuspended { .. }
        | Refusal::BodyTooLarge { .. }
        | Refusal::BodyBroken
        | Refusal::BadEncoding { .. }
        | Refusal::NotCapable { .. }
        | Refusal::NoLane { .. }
        | Refusal::Panicked => {}
    }
    problem
}

/// The kind of problem that a refusal is, and its code in records and metrics.
fn classify(refusal: &Refusal) -> (ProblemKind, &'static str) {
    match refusal {
        Refusal::NoSuchPath { .. } => (ProblemKind::NotFound, "no_such_path"),
        Refusal::NotServed(_) => (ProblemKind::NotFound, "not_served"),
        Refusal::MethodNotAllowed { .. } => (ProblemKind::InvalidRequest, "method_not_allowed"),
        Refusal::NoWebSocket => (ProblemKind::InvalidRequest, "no_web_socket"),
        Refusal::UpgradeRequired => (ProblemKind::InvalidRequest, "upgrade_required"),
        Refusal::NotConfigured => (ProblemKind::Overloaded, "not_configured"),
        Refusal::NoToken => (ProblemKind::Authentication, "no_token"),
        Refusal::NoClientCredential { .. } => (ProblemKind::Authentication, "no_client_credential"),
        Refusal::UnknownToken => (ProblemKind::Authentication, "unknown_token"),
        Refusal::MistypedToken => (ProblemKind::Authentication, "mistyped_token"),
        Refusal::ServiceAccountToken(why @ InvalidToken::IssuerUnknown) => (ProblemKind::Overloaded, why.code()),
        Refusal::ServiceAccountToken(why) => (ProblemKind::Authentication, why.code()),
        Refusal::NoTokenForServiceAccount { .. } => (ProblemKind::Permission, "no_token_for_service_account"),
        Refusal::TokenExpired { .. } => (ProblemKind::Authentication, "token_expired"),
        Refusal::KeyRotatedOut { .. } => (ProblemKind::Authentication, "key_rotated_out"),
        Refusal::TokenSuspended { .. } => (ProblemKind::Permission, "token_suspended"),
        Refusal::BodyTooLarge { .. } => (ProblemKind::TooLarge, "body_too_large"),
        Refusal::BodyStalled { .. } => (ProblemKind::Timeout, "body_stalled"),
        Refusal::BodySlow { .. } => (ProblemKind::Timeout, "body_slow"),
        Refusal::BodyBroken => (ProblemKind::InvalidRequest, "body_broken"),
        Refusal::UnknownEncoding { .. } => (ProblemKind::InvalidRequest, "unknown_encoding"),
        Refusal::UnknownContentType { .. } => (ProblemKind::InvalidRequest, "unknown_content_type"),
        Refusal::BadEncoding { .. } => (ProblemKind::InvalidRequest, "bad_encoding"),
        Refusal::Malformed(_) => (ProblemKind::InvalidRequest, "malformed"),
        Refusal::UnknownModel { .. } => (ProblemKind::ModelNotFound, "unknown_model"),
        Refusal::UnknownStored { kind: StoredKind::Conversation, .. } => {
            (ProblemKind::NotFound, "conversation_not_found")
        }
        Refusal::UnknownStored { is_subject: true, .. } => (ProblemKind::NotFound, "response_not_found"),
        Refusal::UnknownStored { .. } => (ProblemKind::InvalidRequest, PREVIOUS_RESPONSE_NOT_FOUND),
        Refusal::ModelNotAllowed { .. } => (ProblemKind::Permission, "model_not_allowed"),
        Refusal::ModelNotOffered { .. } => (ProblemKind::ModelNotFound, "model_not_offered"),
        Refusal::Unpriced { .. } => (ProblemKind::Permission, "unpriced"),
        Refusal::LimitReached(exceeded) => match exceeded.kind {
            ExceededKind::Requests => (ProblemKind::RateLimited, "request_limit"),
            ExceededKind::Tokens => (ProblemKind::RateLimited, "token_limit"),
            ExceededKind::Spend => (ProblemKind::QuotaExceeded, "spend_limit"),
            ExceededKind::Concurrency => (ProblemKind::RateLimited, "concurrency_limit"),
        },
        Refusal::LimitStoreUnavailable(_) => (ProblemKind::Upstream, LIMIT_STORE_UNAVAILABLE),
        Refusal::RouteBroken { .. } => (ProblemKind::Upstream, ROUTE_NOT_READY),
        Refusal::NotCapable { .. } => (ProblemKind::InvalidRequest, "not_capable"),
        // Clients that count tokens fall back to their own estimate on 404 (docs/protocols/embeddings-and-counting.md).
        Refusal::NoLane { operation, .. } if operation.kind() == OperationKind::CountTokens => {
            (ProblemKind::NotFound, "no_lane")
        }
        Refusal::NoLane { operation: Operation::Direct(Direct::Unlisted), .. } => (ProblemKind::NotFound, "no_lane"),
        Refusal::NoLane { .. } => (ProblemKind::InvalidRequest, "no_lane"),
        Refusal::FieldRefused { .. } => (ProblemKind::InvalidRequest, "field_refused"),
        Refusal::CoolingDown { .. } => (ProblemKind::RateLimited, "cooling_down"),
        Refusal::Upstream(failure) => (failure.problem.kind, failure.code()),
        Refusal::BuffersFull => (ProblemKind::Overloaded, "buffers_full"),
        Refusal::LedgerFull => (ProblemKind::Overloaded, LEDGER_FULL),
        Refusal::Busy => (ProblemKind::Overloaded, "workers_busy"),
        Refusal::ShuttingDown => (ProblemKind::Overloaded, "shutdown"),
        Refusal::Panicked => (ProblemKind::Internal, "panic"),
    }
}

/// How the request ended, for its record.
fn outcome(refusal: &Refusal) -> RequestOutcome {
    let outcome = match refusal {
        Refusal::ServiceAccountToken(InvalidToken::IssuerUnknown) => Outcome::GatewayStopped,
        Refusal::NoToken
        | Refusal::UnknownToken
        | Refusal::MistypedToken
        | Refusal::ServiceAccountToken(_)
        | Refusal::NoTokenForServiceAccount { .. }
        | Refusal::TokenExpired { .. }
        | Refusal::KeyRotatedOut { .. }
        | Refusal::TokenSuspended { .. }
        | Refusal::LimitReached(_) => Outcome::LimitStopped,
        Refusal::BodyBroken => Outcome::ClientCancelled,
        Refusal::NotConfigured
        | Refusal::LimitStoreUnavailable(_)
        | Refusal::RouteBroken { .. }
        | Refusal::BuffersFull
        | Refusal::LedgerFull
        | Refusal::Busy
        | Refusal::ShuttingDown
        | Refusal::Panicked => Outcome::GatewayStopped,
        Refusal::CoolingDown { .. } => Outcome::UpstreamFailed,
        Refusal::Upstream(failure) => upstream_outcome(failure),
        // The whole answer, a refusal, was handed over.
        Refusal::NoSuchPath { .. }
        | Refusal::NotServed(_)
        | Refusal::NoWebSocket
        | Refusal::UpgradeRequired
        | Refusal::MethodNotAllowed { .. }
        | Refusal::BodyTooLarge { .. }
        | Refusal::BodyStalled { .. }
        | Refusal::BodySlow { .. }
        | Refusal::UnknownEncoding { .. }
        | Refusal::UnknownContentType { .. }
        | Refusal::BadEncoding { .. }
        | Refusal::Malformed(_)
        | Refusal::UnknownModel { .. }
        | Refusal::UnknownStored { .. }
        | Refusal::ModelNotAllowed { .. }
        | Refusal::ModelNotOffered { .. }
        | Refusal::Unpriced { .. }
        | Refusal::NotCapable { .. }
        | Refusal::NoClientCredential { .. }
        | Refusal::NoLane { .. }
        | Refusal::FieldRefused { .. } => Outcome::Completed,
    };
    RequestOutcome::new(outcome, classify(refusal).1)
}

/// An upstream's refusal of the request itself (not legal, too large, too long for the model, filtered) is an answer, and
/// whoever asked elsewhere would get it too. Everything else is a failure to give one: its limits, its keys, its models.
fn upstream_outcome(failure: &Failure) -> Outcome {
    let about_the_request = matches!(
        failure.problem.kind,
        ProblemKind::InvalidRequest | ProblemKind::TooLarge | ProblemKind::ContextLength | ProblemKind::ContentFiltered
    );
    match failure.cause {
        Cause::RequestTimeout | Cause::BuffersFull => Outcome::GatewayStopped,
        Cause::ErrorAnswer | Cause::RequestUnformed if about_the_request => Outcome::Completed,
        _ => Outcome::UpstreamFailed,
    }
}

fn refusal_headers(refusal: &Refusal, headers: &mut HeaderMap) {
    match refusal {
        Refusal::MethodNotAllowed { allow } => {
            headers.insert(ALLOW, HeaderValue::from_static(allow));
        }
        // RFC 9110 section 15.5.22: the protocols to use instead.
        Refusal::NoWebSocket => {
            headers.insert(UPGRADE, HeaderValue::from_static("HTTP/1.1"));
            headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
        }
        Refusal::UpgradeRequired => {
            headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
            headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
            headers.insert(SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
        }
        Refusal::NoToken => {
            headers.insert(http::header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        Refusal::LimitReached(exceeded) => limit_headers(exceeded, headers),
        // RFC 9110 section 15.5.16: what would have been read.
        Refusal::UnknownEncoding { .. } => {
            headers.insert(ACCEPT_ENCODING, HeaderValue::from_static(READ_ENCODINGS));
        }
        Refusal::UnknownContentType { .. } => {
            headers.insert(ACCEPT, JSON);
        }
        // The body was not read to its end, so the connection is of no further use.
        Refusal::BodyTooLarge { .. }
        | Refusal::BodyStalled { .. }
        | Refusal::BodySlow { .. }
        | Refusal::BuffersFull
        | Refusal::ShuttingDown => {
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        _ => {}
    }
}

/// Statuses on which the official SDKs ask again by themselves.
fn is_retried_by_sdks(status: StatusCode) -> bool {
    status.is_server_error() || matches!(status.as_u16(), 408 | 409 | 429)
}

/// Whether asking again at once is of no use, which `x-should-retry: false` tells the SDKs of OpenAI and Anthropic (two
/// retries by default; Google's does not retry unless it is told to, and knows no such header).
///
/// The gateway has tried the route already: each retry of the client would try it again, so that one call becomes
/// six requests to upstreams where there are two. After a single attempt a retry is all the second chance there is, so
/// that is left to the client; and so is what comes with a time to wait.
fn is_retry_useless(refusal: &Refusal, attempts: usize) -> bool {
    match refusal {
        Refusal::Upstream(failure) if failure.cause == Cause::RequestTimeout => true,
        Refusal::Upstream(failure) => attempts > 1 && failure.problem.retry_after_ms.is_none(),
        Refusal::LimitReached(exceeded) => exceeded.kind == ExceededKind::Spend || exceeded.requested.is_some(),
        Refusal::RouteBroken { .. } | Refusal::Panicked => true,
        _ => false,
    }
}

/// The limit by name, and in the headers that OpenAI's SDKs and tools read.
fn limit_headers(exceeded: &Exceeded, headers: &mut HeaderMap) {
    if let Ok(name) = HeaderValue::from_str(&exceeded.limit) {
        headers.insert("x-routeapi-limit", name);
    }
    let names = match exceeded.kind {
        ExceededKind::Requests => REQUEST_LIMIT_HEADERS,
        ExceededKind::Tokens => TOKEN_LIMIT_HEADERS,
        ExceededKind::Spend | ExceededKind::Concurrency => return,
    };
    let [limit, remaining, reset] = names;
    headers.insert(limit, HeaderValue::from(exceeded.cap));
    headers.insert(remaining, HeaderValue::from(exceeded.left));
    if let Some(millis) = exceeded.retry_after_ms
        && let Ok(value) = HeaderValue::try_from(format!("{}s", millis.div_ceil(1_000)))
    {
        headers.insert(reset, value);
    }
}

/// How a stream that no upstream answered says why, and how its request ended.
pub(super) fn unanswered_stream_error(refusal: &Refusal) -> (Problem, RequestOutcome) {
    (problem(refusal, refusal.to_string()), outcome(refusal))
}

/// How a stream that is ended early says why: the problem, and its code.
pub(super) fn stream_error(refusal: &Refusal) -> (Problem, &'static str) {
    (problem(refusal, refusal.to_string()), classify(refusal).1)
}
