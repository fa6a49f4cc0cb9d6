use FallbackCondition as On;
use Next::{Always, If, Never};
use ProblemKind as Kind;

use super::*;

fn failure(cause: Cause, problem: Problem) -> Failure {
    Failure { upstream: "up".to_owned(), cause, problem, raw: None, names_stream_options: false }
}

/// Cause, problem → fallback, blame, status for the client.
type Row = (Cause, ProblemKind, u16, Next, Blame);

/// Every cause; those with an answer by what it says. `docs/fallback.md` holds the same table in words.
const TABLE: &[Row] = &[
    (Cause::Connect, Kind::Upstream, 502, If(On::ConnectFailure), Blame::Upstream),
    (Cause::ConnectTimeout, Kind::Timeout, 504, If(On::ConnectFailure), Blame::Upstream),
    (Cause::Closed, Kind::Upstream, 502, If(On::ConnectFailure), Blame::Upstream),
    (Cause::Unformed, Kind::InvalidRequest, 400, Always, Blame::Nobody),
    (Cause::Busy, Kind::Overloaded, 503, Always, Blame::Nobody),
    (Cause::Silent, Kind::Timeout, 504, If(On::Timeout), Blame::Upstream),
    (Cause::Deadline, Kind::Timeout, 504, Never, Blame::Nobody),
    (Cause::Full, Kind::Overloaded, 503, Never, Blame::Nobody),
    (Cause::Truncated, Kind::Upstream, 502, If(On::ServerError), Blame::Upstream),
    (Cause::Unreadable, Kind::Upstream, 502, If(On::ServerError), Blame::Upstream),
    (Cause::Oversized, Kind::Upstream, 502, Never, Blame::Nobody),
    (Cause::Answered, Kind::InvalidRequest, 400, Never, Blame::Nobody),
    (Cause::Answered, Kind::InvalidRequest, 422, Never, Blame::Nobody),
    (Cause::Answered, Kind::Authentication, 401, If(On::AuthFailure), Blame::Upstream),
    (Cause::Answered, Kind::Permission, 403, If(On::AuthFailure), Blame::Nobody),
    (Cause::Answered, Kind::NotFound, 404, If(On::ModelNotFound), Blame::Nobody),
    (Cause::Answered, Kind::ModelNotFound, 404, If(On::ModelNotFound), Blame::Nobody),
    (Cause::Answered, Kind::TooLarge, 413, Never, Blame::Nobody),
    (Cause::Answered, Kind::ContextLength, 400, If(On::ContextLengthExceeded), Blame::Nobody),
    (Cause::Answered, Kind::ContentFiltered, 400, If(On::ContentFiltered), Blame::Nobody),
    (Cause::Answered, Kind::RateLimited, 429, If(On::RateLimited), Blame::Account),
    (Cause::Answered, Kind::RateLimited, 413, If(On::RateLimited), Blame::Nobody),
    (Cause::Answered, Kind::QuotaExceeded, 429, If(On::RateLimited), Blame::Account),
    (Cause::Answered, Kind::Overloaded, 529, If(On::ServerError), Blame::Upstream),
    (Cause::Answered, Kind::Timeout, 408, If(On::Timeout), Blame::Nobody),
    (Cause::Answered, Kind::Timeout, 504, If(On::ServerError), Blame::Upstream),
    (Cause::Answered, Kind::Upstream, 500, If(On::ServerError), Blame::Upstream),
    (Cause::Answered, Kind::Internal, 500, If(On::ServerError), Blame::Upstream),
    (Cause::AnsweredLate, Kind::Upstream, 502, If(On::ServerError), Blame::Upstream),
    (Cause::AnsweredLate, Kind::ContentFiltered, 400, If(On::ContentFiltered), Blame::Nobody),
];

#[test]
fn every_cause_has_its_fallback_and_its_blame() {
    for &(cause, kind, status, next, blame) in TABLE {
        let mut problem = Problem::new(kind, "as the upstream says");
        problem.status = status;
        let failure = failure(cause, problem);
        assert_eq!(failure.next(), next, "{cause:?} {kind:?} {status}");
        assert_eq!(failure.blame(), blame, "{cause:?} {kind:?} {status}");
    }
}

#[test]
fn a_request_that_could_not_be_formed_is_the_clients_error() {
    let error = SendError::Invalid("uri too long".to_owned());
    let kinds = |error: &SendError| Failure::kinds(error);
    assert_eq!(kinds(&error), (Cause::Unformed, Kind::InvalidRequest));
}

#[test]
fn a_request_larger_than_the_accounts_quota_pauses_nobody() {
    let message =
        "Request too large for gpt-4o in organization org-1 on tokens per min (TPM): Limit 30000, Requested 70000.";
    let too_large = failure(Cause::Answered, Problem::new(Kind::RateLimited, message));
    assert_eq!((too_large.next(), too_large.blame()), (If(On::RateLimited), Blame::Nobody));
    let limited = failure(Cause::Answered, Problem::new(Kind::RateLimited, "Rate limit reached for gpt-4o"));
    assert_eq!(limited.blame(), Blame::Account);
}

#[test]
fn a_rejected_key_of_the_provider_is_not_the_clients() {
    let mut rejected = failure(Cause::Answered, Problem::new(Kind::Authentication, "Incorrect API key: sk-VENDOR"));
    rejected.raw = Some(RawError { status: 401, headers: HeaderMap::new(), body: Bytes::from_static(b"sk-VENDOR") });
    let told = rejected.for_the_client();
    assert_eq!((told.kind, told.status), (Kind::Upstream, 502));
    assert!(!told.message.contains("sk-VENDOR"), "{}", told.message);
    assert!(rejected.take_raw().is_none());
}
