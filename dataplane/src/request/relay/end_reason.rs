//! Why an answer ends before its upstream has ended it, and how that is reported to the client and in the record.

use routeapi_metering::Outcome;
use routeapi_protocol::problem::{Problem, ProblemKind};

use crate::{
    config::runtime::Runtime,
    request::{
        caller::{self, Caller},
        outcome::RequestOutcome,
        respond,
    },
};

/// Why an answer ends from outside.
#[derive(Clone, Copy)]
pub(super) enum EndReason<'a> {
    /// The shutdown deadline has passed.
    Shutdown,
    /// The request's deadline has passed.
    Deadline,
    /// The configuration is another one: is the token still in it?
    Changed(&'a Runtime),
}

/// The deadline of the whole request has passed.
pub(super) fn request_timed_out() -> (Problem, RequestOutcome) {
    let problem = Problem::new(ProblemKind::Timeout, "the request took longer than its route allows");
    (problem, RequestOutcome::new(Outcome::GatewayStopped, "request_timeout"))
}

/// The shutdown deadline has passed.
pub(super) fn shutting_down() -> (Problem, RequestOutcome) {
    let problem = Problem::new(ProblemKind::Overloaded, "the gateway is shutting down; try again");
    (problem, RequestOutcome::new(Outcome::GatewayStopped, "shutdown"))
}

/// Whether an answer ends for this, and how that is told.
pub(super) fn end_outcome(why: EndReason<'_>, caller: Option<&Caller>) -> Option<(Problem, RequestOutcome)> {
    match why {
        EndReason::Shutdown => Some(shutting_down()),
        EndReason::Deadline => Some(request_timed_out()),
        EndReason::Changed(runtime) => {
            let refusal = caller::revoked(runtime, caller?)?;
            let (problem, code) = respond::stream_error(&refusal);
            Some((problem, RequestOutcome::new(Outcome::LimitStopped, code)))
        }
    }
}
