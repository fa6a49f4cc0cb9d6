//! How a session ends: what each side is told, and what the record says. The only permits that does.

use std::time::Duration;

use routeapi_metering::{Exceeded, Outcome};
use routeapi_protocol::{
    problem::{Problem, ProblemKind},
    websocket::{Close, Violation, code},
};

use super::socket::{Broken, Unsent};
use crate::request::{
    outcome::RequestOutcome,
    refusal::{BUFFERS_FULL, Refusal},
    respond,
};

/// One of the two that talk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    /// Whoever called.
    Client,
    /// Whoever answers.
    Upstream,
}

/// Why a session ends.
#[derive(Debug)]
pub(super) enum End {
    /// A side said goodbye.
    Closed(Side, Option<Close>),
    /// A side's connection broke.
    Gone(Side),
    /// A side took nothing for too long.
    Stalled(Side),
    /// A side did not answer a ping.
    Silent(Side),
    /// A side broke the protocol.
    Violation(Side, Violation),
    /// The client sent a binary message, which could not be looked at.
    Binary,
    /// The client made the gateway say more than it reads.
    Flood,
    /// The process holds as many bytes as it may.
    Full,
    /// No thread was free for a large message.
    Busy,
    /// A limit of the token has no room for another answer.
    Limit(Exceeded),
    /// The token, or the route for it, is gone.
    Withdrawn(Box<Refusal>),
    /// Nobody said anything for so long.
    Idle(Duration),
    /// It lasted as long as it may.
    Longest(Duration),
    /// The process ends.
    Shutdown,
}

/// What a side is told.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Farewell {
    /// A close frame, to which its own is awaited.
    Say(Option<Close>),
    /// A close frame in answer to its own.
    Answer(Option<Close>),
    /// A close frame; what it sends cannot be read any more.
    Refuse(Close),
    /// Nothing: it is not there.
    Nothing,
}

/// All that follows from an end.
#[derive(Debug)]
pub(super) struct Verdict {
    /// For the record.
    pub outcome: RequestOutcome,
    /// In words, without any of a side's own; none for an ordinary end.
    pub message: Option<String>,
    /// What the client reads as an event before it is closed.
    pub event: Option<Problem>,
    /// For the client.
    pub client: Farewell,
    /// For the upstream.
    pub upstream: Farewell,
}

impl End {
    /// A side's bytes cannot be read any further.
    pub(super) fn broken(side: Side, broken: &Broken) -> Self {
        match broken {
            Broken::Violation(violation) => Self::Violation(side, *violation),
            Broken::Full => Self::Full,
            Broken::Gone => Self::Gone(side),
        }
    }

    /// A side takes nothing any more.
    pub(super) fn unsent(side: Side, unsent: &Unsent) -> Self {
        match unsent {
            Unsent::Stalled => Self::Stalled(side),
            Unsent::Gone => Self::Gone(side),
        }
    }

    /// What follows.
    pub(super) fn verdict(self) -> Verdict {
        match self {
            Self::Closed(Side::Client, close) => Verdict {
                outcome: RequestOutcome::COMPLETED,
                message: None,
                event: None,
                upstream: Farewell::Say(close.clone()),
                client: Farewell::Answer(close),
            },
            Self::Closed(Side::Upstream, close) => closed_by_upstream(close),
            Self::Gone(side) => lost(side, "the connection broke", ("client_cancelled", "connection_closed")),
            Self::Stalled(side) => lost(side, "it took nothing for too long", ("client_stalled", "upstream_stalled")),
            Self::Silent(side) => lost(side, "it did not answer a ping", ("client_silent", "upstream_silent")),
            Self::Violation(side, violation) => broke_protocol(side, violation),
            Self::Binary => {
                let why = "binary messages are no part of the Realtime API: send JSON as text, sound in base64";
                let problem = Problem::new(ProblemKind::InvalidRequest, why);
                let outcome = RequestOutcome::new(Outcome::ClientCancelled, "binary_message");
                ended(problem, outcome, code::UNSUPPORTED)
            }
            Self::Flood => {
                let problem = Problem::new(ProblemKind::RateLimited, "too many frames that need an answer");
                ended(problem, RequestOutcome::new(Outcome::LimitStopped, "frame_flood"), code::POLICY)
            }
            Self::Full => {
                let problem = Problem::new(ProblemKind::Overloaded, BUFFERS_FULL);
                ended(problem, RequestOutcome::new(Outcome::GatewayStopped, "buffers_full"), code::TRY_AGAIN)
            }
            Self::Busy => {
                let (problem, word) = respond::stream_error(&Refusal::Busy);
                ended(problem, RequestOutcome::new(Outcome::GatewayStopped, word), code::TRY_AGAIN)
            }
            Self::Limit(exceeded) => stopped(&Refusal::LimitReached(exceeded)),
            Self::Withdrawn(refusal) => stopped(&refusal),
            Self::Idle(after) => {
                let problem = Problem::new(ProblemKind::Timeout, format!("no message came for {after:?}"));
                ended(problem, RequestOutcome::new(Outcome::GatewayStopped, "session_idle"), code::NORMAL)
            }
            Self::Longest(after) => {
                // In the words of the vendor, which clients know: they connect anew.
                let why = format!("the session has lasted as long as it may: {after:?}");
                let mut problem = Problem::new(ProblemKind::InvalidRequest, why);
                problem.code = Some("session_expired".to_owned());
                ended(problem, RequestOutcome::new(Outcome::GatewayStopped, "session_expired"), code::GOING_AWAY)
            }
            Self::Shutdown => {
                let problem = Problem::new(ProblemKind::Overloaded, "the gateway is shutting down; connect again");
                let outcome = RequestOutcome::new(Outcome::GatewayStopped, "shutdown");
                Verdict { event: None, ..ended(problem, outcome, code::GOING_AWAY) }
            }
        }
    }
}

/// The gateway ends it, and says why.
fn ended(problem: Problem, outcome: RequestOutcome, code: u16) -> Verdict {
    let close = Close::new(code, &problem.message);
    Verdict {
        outcome,
        message: Some(problem.message.to_string()),
        event: Some(problem),
        client: Farewell::Say(Some(close)),
        upstream: Farewell::Say(Some(Close::new(code::NORMAL, ""))),
    }
}

fn stopped(refusal: &Refusal) -> Verdict {
    let (problem, word) = respond::stream_error(refusal);
    ended(problem, RequestOutcome::new(Outcome::LimitStopped, word), code::POLICY)
}

/// A server that closes with a failure of its own counts as one that failed. Anything else is its answer.
fn closed_by_upstream(close: Option<Close>) -> Verdict {
    let said = close.as_ref().map(|close| close.code);
    let outcome = match said {
        None | Some(code::NORMAL) => RequestOutcome::COMPLETED,
        Some(code::INTERNAL..=1014) => RequestOutcome::new(Outcome::UpstreamFailed, "upstream_closed"),
        Some(_) => RequestOutcome::new(Outcome::Completed, "upstream_closed"),
    };
    Verdict {
        outcome,
        message: outcome.error.and(said).map(|code| format!("the upstream closed the session with code {code}")),
        event: None,
        client: Farewell::Say(close.clone()),
        upstream: Farewell::Answer(close),
    }
}

/// A side that is not there any more.
fn lost(side: Side, how: &str, (client, upstream): (&'static str, &'static str)) -> Verdict {
    match side {
        Side::Client => Verdict {
            outcome: RequestOutcome::new(Outcome::ClientCancelled, client),
            message: Some(format!("the client is gone: {how}")),
            event: None,
            client: Farewell::Nothing,
            upstream: Farewell::Say(Some(Close::new(code::GOING_AWAY, ""))),
        },
        Side::Upstream => {
            let problem = Problem::new(ProblemKind::Upstream, format!("the upstream is gone: {how}"));
            let outcome = RequestOutcome::new(Outcome::UpstreamFailed, upstream);
            Verdict { upstream: Farewell::Nothing, ..ended(problem, outcome, code::INTERNAL) }
        }
    }
}

fn broke_protocol(side: Side, violation: Violation) -> Verdict {
    let is_large = matches!(violation, Violation::TooLarge(_));
    let refused = Farewell::Refuse(Close::new(violation.code(), &violation.to_string()));
    match side {
        Side::Client => {
            let kind = if is_large { ProblemKind::TooLarge } else { ProblemKind::InvalidRequest };
            let word = if is_large { "message_too_large" } else { "protocol_violation" };
            let problem = Problem::new(kind, violation.to_string());
            let outcome = RequestOutcome::new(Outcome::ClientCancelled, word);
            Verdict { client: refused, ..ended(problem, outcome, violation.code()) }
        }
        Side::Upstream => {
            let problem = Problem::new(ProblemKind::Upstream, format!("the upstream's answer: {violation}"));
            // What is too large for the gateway is no fault of the upstream's.
            let (outcome, code) = if is_large {
                (RequestOutcome::new(Outcome::GatewayStopped, "answer_too_large"), code::TOO_LARGE)
            } else {
                (RequestOutcome::new(Outcome::UpstreamFailed, "unreadable_answer"), code::INTERNAL)
            };
            Verdict { upstream: refused, ..ended(problem, outcome, code) }
        }
    }
}
