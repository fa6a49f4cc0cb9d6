use FallbackCondition as On;
use ProblemKind as Kind;
use TryAnother::{Always, If, Never};

use super::*;

fn failure(cause: Cause, problem: Problem) -> Failure {
    Failure {
        upstream: "up".to_owned(),
        cause,
        problem,
        raw: None,
        unsupported: Unsupported::default(),
        was_answered_in_part: false,
        is_client_credential: false,
    }
}

/// Cause, problem → fallback, blame, status for the client.
type Row = (Cause, ProblemKind, u16, TryAnother, Blame);

/// Every cause; those with an answer by what it says. `docs/fallback.md` holds the same table in words.
const TABLE: &[Row] = &[
    (Cause::ConnectFailed, Kind::Upstream, 502, If(On::ConnectFailure), Blame::Upstream),
    (Cause::ConnectTimeout, Kind::Timeout, 504, If(On::ConnectFailure), Blame::Upstream),
    (Cause::ConnectionClosed, Kind::Upstream, 502, If(On::ConnectFailure), Blame::Upstream),
    (Cause::RequestUnformed, Kind::InvalidRequest, 400, Always, Blame::Nobody),
    (Cause::StaleCredentials, Kind::Upstream, 502, Always, Blame::Nobody),
    (Cause::UpstreamBusy, Kind::Overloaded, 503, Always, Blame::Nobody),
    (Cause::FirstContentTimeout, Kind::Timeout, 504, If(On::Timeout), Blame::Upstream),
    (Cause::RequestTimeout, Kind::Timeout, 504, Never, Blame::Nobody),
    (Cause::BuffersFull, Kind::Overloaded, 503, Never, Blame::Nobody),
    (Cause::Truncated, Kind::Upstream, 502, If(On::ServerError), Blame::Upstream),
    (Cause::UnreadableAnswer, Kind::Upstream, 502, If(On::ServerError), Blame::Upstream),
    (Cause::AnswerTooLarge, Kind::Upstream, 502, Never, Blame::Nobody),
    (Cause::ErrorAnswer, Kind::InvalidRequest, 400, Never, Blame::Nobody),
    (Cause::ErrorAnswer, Kind::InvalidRequest, 422, Never, Blame::Nobody),
    (Cause::ErrorAnswer, Kind::Authentication, 401, If(On::AuthFailure), Blame::Upstream),
    (Cause::ErrorAnswer, Kind::Permission, 403, If(On::AuthFailure), Blame::Nobody),
    (Cause::ErrorAnswer, Kind::NotFound, 404, If(On::ModelNotFound), Blame::Nobody),
    (Cause::ErrorAnswer, Kind::ModelNotFound, 404, If(On::ModelNotFound), Blame::Nobody),
    (Cause::ErrorAnswer, Kind::TooLarge, 413, Never, Blame::Nobody),
    (Cause::ErrorAnswer, Kind::ContextLength, 400, If(On::ContextLengthExceeded), Blame::Nobody),
    (Cause::ErrorAnswer, Kind::ContentFiltered, 400, If(On::ContentFiltered), Blame::Nobody),
    (Cause::ErrorAnswer, Kind::RateLimited, 429, If(On::RateLimited), Blame::Account),
    (Cause::ErrorAnswer, Kind::RateLimited, 413, If(On::RateLimited), Blame::Nobody),
    (Cause::ErrorAnswer, Kind::QuotaExceeded, 429, If(On::RateLimited), Blame::Account),
    (Cause::ErrorAnswer, Kind::Overloaded, 529, If(On::ServerError), Blame::Upstream),
    (Cause::ErrorAnswer, Kind::Timeout, 408, If(On::Timeout), Blame::Nobody),
    (Cause::ErrorAnswer, Kind::Timeout, 504, If(On::ServerError), Blame::Upstream),
    (Cause::ErrorAnswer, Kind::Upstream, 500, If(On::ServerError), Blame::Upstream),
    (Cause::ErrorAnswer, Kind::Internal, 500, If(On::ServerError), Blame::Upstream),
    (Cause::LateErrorEvent, Kind::Upstream, 502, If(On::ServerError), Blame::Upstream),
    (Cause::LateErrorEvent, Kind::ContentFiltered, 400, If(On::ContentFiltered), Blame::Nobody),
];

#[test]
fn each_cause_maps_to_fallback_and_blame() {
    for &(cause, kind, status, next, blame) in TABLE {
        let mut problem = Problem::new(kind, "as the upstream says");
        problem.status = status;
        let failure = failure(cause, problem);
        assert_eq!(failure.try_another(), next, "{cause:?} {kind:?} {status}");
        assert_eq!(failure.blame(), blame, "{cause:?} {kind:?} {status}");
    }
}

#[test]
fn what_was_answered_in_vain_spends_the_retry_budget() {
    let overloaded = || failure(Cause::ErrorAnswer, Problem::new(Kind::Overloaded, "busy"));
    assert!(!overloaded().spends_retry_budget(), "it refused before it did any work");
    assert!(Failure { was_answered_in_part: true, ..overloaded() }.spends_retry_budget());
    assert!(failure(Cause::UnreadableAnswer, Problem::new(Kind::Upstream, "?")).spends_retry_budget());
}

#[test]
fn unformable_request_is_a_client_error() {
    let error = SendError::Invalid("uri too long".to_owned());
    let kinds = |error: &SendError| Failure::kinds(error);
    assert_eq!(kinds(&error), (Cause::RequestUnformed, Kind::InvalidRequest));
}

#[test]
fn request_larger_than_the_quota_starts_no_cool_down() {
    let message =
        "Request too large for gpt-4o in organization org-1 on tokens per min (TPM): Limit 30000, Requested 70000.";
    let too_large = failure(Cause::ErrorAnswer, Problem::new(Kind::RateLimited, message));
    assert_eq!((too_large.try_another(), too_large.blame()), (If(On::RateLimited), Blame::Nobody));
    let limited = failure(Cause::ErrorAnswer, Problem::new(Kind::RateLimited, "Rate limit reached for gpt-4o"));
    assert_eq!(limited.blame(), Blame::Account);
}

#[test]
fn rejected_provider_key_is_a_502_for_the_client() {
    let mut rejected = failure(Cause::ErrorAnswer, Problem::new(Kind::Authentication, "Incorrect API key: sk-VENDOR"));
    rejected.raw = Some(RawError { status: 401, headers: HeaderMap::new(), body: Bytes::from_static(b"sk-VENDOR") });
    let told = rejected.client_problem();
    assert_eq!((told.kind, told.status), (Kind::Upstream, 502));
    assert!(!told.message.contains("sk-VENDOR"), "{}", told.message);
    assert!(rejected.take_raw().is_none());
}

#[test]
fn what_is_said_of_the_callers_own_account_is_the_callers_alone() {
    let own = |kind| {
        let problem = Problem::new(kind, "as the vendor says");
        Failure { is_client_credential: true, ..failure(Cause::ErrorAnswer, problem) }
    };
    for kind in [Kind::Authentication, Kind::RateLimited, Kind::QuotaExceeded] {
        let failure = own(kind);
        assert_eq!(failure.blame(), Blame::Nobody, "{kind:?}");
        assert_eq!(failure.client_problem().kind, kind, "it is told as it came");
    }
    assert_eq!(own(Kind::Overloaded).blame(), Blame::Upstream);
}
