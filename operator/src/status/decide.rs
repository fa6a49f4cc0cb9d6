//! Decides the status of an object. Pure: verdict, acknowledgements and the current status go in, decisions come out.
//!
//! `Programmed` is true only when every connected data-plane pod has acknowledged the version that this generation compiles to,
//! and no recently disconnected pod lacks it; a rejection is reported immediately, with the message of the pod. Pods come and
//! go, so what is true stays true for [`ACK_GRACE`] while acknowledgements are outstanding: scaling up, or a restart of the
//! operator, changes no condition. For a new generation, and for an object that recovers because of another one, nothing is
//! written for [`FIRST_STATUS_DELAY`], in which most acknowledgements arrive, and then `Unknown`.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use routeapi_compile::{Detail, Verdict};
use routeapi_crds::condition::{self, ConditionType, Decision, Reason, Status, shorten};

use crate::{
    push::ack::{KeyRejection, PodNames, Progress},
    tokens::plan::{Owner, SecretState},
};

/// How long acknowledgements may be outstanding before a condition changes: a new pod takes a few seconds to connect.
pub const ACK_GRACE: Duration = Duration::from_secs(10);

/// How long the first status of a new generation waits for acknowledgements, so that most objects need one write.
pub const FIRST_STATUS_DELAY: Duration = Duration::from_millis(500);

/// How often recently disconnected pods are checked; most reconnect within a second.
const RECONNECT_POLL_INTERVAL: Duration = Duration::from_millis(250);

/// Maximum length of an event's note in the API, in bytes.
const MAX_EVENT_NOTE: usize = 1000;

/// What a status depends on.
#[derive(Debug)]
pub struct StatusInputs<'a> {
    /// The result of the compilation.
    pub verdict: &'a Verdict,
    /// Progress of the rollout; none if the object compiles to nothing.
    pub progress: Option<Progress>,
    /// Of an ApiToken: the state of its Secret; the inner none if it was not checked yet.
    pub secret_state: Option<Option<SecretState>>,
    /// Of an AIProvider: the rejection of its key, if it is rejected.
    pub key_rejection: Option<KeyRejection>,
    /// The current conditions.
    pub current: &'a [Condition],
    /// How long acknowledgements have been outstanding.
    pub pending_for: Duration,
    /// How long this replica has been the leader.
    pub leading_for: Duration,
    /// The current time.
    pub now: Timestamp,
}

/// The status that an object should have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DesiredStatus {
    /// The observed generation.
    pub generation: Option<i64>,
    /// Conditions to set. Others stay as they are.
    pub decisions: Vec<Decision>,
    /// Other fields of the status.
    pub detail: Detail,
    /// Progress of the rollout.
    pub progress: Option<Progress>,
}

/// A condition that changed its status, or the reason for being false: worth an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transition {
    /// Type of the condition.
    pub type_: String,
    /// Whether the condition is true now.
    pub good: bool,
    /// Reason of the condition.
    pub reason: String,
    /// Message of the condition, shortened to what an event may have.
    pub note: String,
}

/// The desired status, if it is time to write one, and when to decide again if nothing changes until then.
pub fn decide(inputs: &StatusInputs<'_>) -> (Option<DesiredStatus>, Option<Duration>) {
    let verdict = &Verdict { decisions: resolved(inputs), ..inputs.verdict.clone() };
    let mut decisions = verdict.decisions.clone();
    let mut further = Vec::new();
    if let Some(secret_state) = &inputs.secret_state {
        let secret =
            secret_state.as_ref().map(secret_ready).or_else(|| current_decision(inputs, ConditionType::SecretReady));
        further.push(secret.unwrap_or_else(|| {
            Decision::unknown(ConditionType::SecretReady, Reason::Pending, "Secret not checked yet")
        }));
    }
    let (programmed, later) = match programmed(inputs) {
        Programmed::Now(decision) => (decision, None),
        Programmed::Until(decision, later) => (decision, Some(later)),
        Programmed::Later(later) => return (None, Some(later)),
    };
    further.push(programmed);
    decisions.push(verdict.ready(&further, inputs.now.as_second()));
    decisions.extend(further);
    decisions.extend(credentials(inputs));
    decisions.iter_mut().for_each(|decision| add_default_message(decision, &inputs.verdict.detail));
    let desired = DesiredStatus {
        generation: inputs.verdict.generation,
        decisions,
        detail: inputs.verdict.detail.clone(),
        progress: inputs.progress.clone(),
    };
    (Some(desired), later.or_else(|| expiry(inputs)))
}

/// The verdict's decisions. The identity of a provider is a reference as well, which whoever issues tokens may refuse: what the
/// data plane got before is used until it expires.
fn resolved(inputs: &StatusInputs<'_>) -> Vec<Decision> {
    const TYPE: ConditionType = ConditionType::ResolvedRefs;
    let mut decisions = inputs.verdict.decisions.clone();
    let Some(refs) = decisions.iter_mut().find(|decision| decision.type_ == TYPE && decision.holds()) else {
        return decisions;
    };
    if let Some(KeyRejection { message: Some(said), since, pods, .. }) = &inputs.key_rejection {
        let since = Timestamp::from_second(*since).map(|since| format!(" since {since}")).unwrap_or_default();
        let message = format!(
            "spec.credentials: no token can be obtained with this identity{since}, as reported by {pods}: {said}"
        );
        *refs = Decision::no(TYPE, Reason::CredentialsRejected, message);
        return decisions;
    }
    let current = condition::find(inputs.current, TYPE);
    if let Some(current) =
        current.filter(|it| it.reason == Reason::CredentialsRejected.to_string() && !would_know(inputs))
    {
        *refs = Decision::no(TYPE, Reason::CredentialsRejected, current.message.clone());
    }
    decisions
}

/// Whether what no pod reports is not so: after a restart of the operator, pods have time to reconnect and report it again.
fn would_know(inputs: &StatusInputs<'_>) -> bool {
    inputs.leading_for >= ACK_GRACE && inputs.progress.as_ref().is_none_or(|progress| progress.connected > 0)
}

/// The `CredentialsAccepted` condition, once the vendor has rejected the provider's key.
fn credentials(inputs: &StatusInputs<'_>) -> Option<Decision> {
    const TYPE: ConditionType = ConditionType::CredentialsAccepted;
    if let Some(KeyRejection { status, since, message: None, pods }) = &inputs.key_rejection {
        let since = Timestamp::from_second(*since).map(|since| format!(" since {since}")).unwrap_or_default();
        let message = format!(
            "the upstream rejects this provider's key with status {status}{since}, as reported by {pods}; put a valid key into \
         its Secret"
        );
        return Some(Decision::no(TYPE, Reason::RejectedByUpstream, message));
    }
    let current = condition::find(inputs.current, TYPE)?;
    if current.status == Status::False.to_string() && !would_know(inputs) {
        return Some(Decision::no(TYPE, Reason::RejectedByUpstream, current.message.clone()));
    }
    Some(Decision::yes(TYPE, Reason::CredentialsAccepted))
}

/// Adds a message to a condition that is true and has none.
fn add_default_message(decision: &mut Decision, detail: &Detail) {
    if !decision.holds() || !decision.message.is_empty() {
        return;
    }
    let text = match (decision.type_, detail) {
        (ConditionType::Accepted, Detail::Route { .. }) => {
            "the spec is valid and its models are not claimed by another AIRoute"
        }
        (ConditionType::Accepted, _) => "the spec is valid",
        (ConditionType::ResolvedRefs, Detail::Route { .. }) => "all upstreams refer to ready AIProviders",
        (ConditionType::ResolvedRefs, _) => "all references were resolved",
        (ConditionType::SecretReady, _) => "the Secret contains the current API key",
        (ConditionType::Programmed, _) => "acknowledged by all connected data-plane pods",
        (ConditionType::CredentialsAccepted, _) => "the upstream accepts this provider's key again",
        (ConditionType::Ready, _) => "in use by all connected data-plane pods",
    };
    text.clone_into(&mut decision.message);
}

enum Programmed {
    Now(Decision),
    /// To be written now, and decided again after this time.
    Until(Decision, Duration),
    /// To be decided after this time.
    Later(Duration),
}

fn programmed(inputs: &StatusInputs<'_>) -> Programmed {
    const TYPE: ConditionType = ConditionType::Programmed;
    let Some(progress) = &inputs.progress else {
        let cause = inputs.verdict.decisions.iter().find(|decision| !decision.holds());
        return Programmed::Now(match cause {
            Some(cause) => Decision::no(TYPE, cause.reason, format!("not sent to data planes: {}", cause.message)),
            None => Decision::unknown(TYPE, Reason::Pending, "nothing to send yet"),
        });
    };
    let summary = format!("{}/{} data-plane pods acknowledged", progress.acknowledged, progress.connected);
    let and_who =
        |names: &PodNames, before: &str| if names.is_empty() { String::new() } else { format!("{before}{names}") };
    if let Some(text) = &progress.rejection {
        return Programmed::Now(Decision::no(TYPE, Reason::Rejected, text));
    }
    let current = current_decision(inputs, TYPE).filter(|_| !recovered(inputs));
    if progress.complete() && progress.recently_disconnected > 0 && !current.as_ref().is_some_and(Decision::holds) {
        let who = and_who(&progress.recently_disconnected_names, ": ");
        let text = format!("{summary}; recently disconnected without it: {}{who}", progress.recently_disconnected);
        return Programmed::Until(Decision::unknown(TYPE, Reason::Propagating, text), RECONNECT_POLL_INTERVAL);
    }
    if progress.complete() {
        let with_counts = matches!(inputs.verdict.detail, Detail::Route { .. });
        let text = if with_counts { summary } else { "acknowledged by all connected data-plane pods".to_owned() };
        return Programmed::Now(Decision::yes_but(TYPE, Reason::Programmed, text));
    }
    let (reason, text) = match progress.connected {
        0 => (Reason::NoDataPlane, "no data-plane pod is connected".to_owned()),
        _ => (Reason::Propagating, format!("{summary}{}", and_who(&progress.missing, "; waiting for "))),
    };
    let pending_for = inputs.pending_for.min(inputs.leading_for);
    if pending_for >= ACK_GRACE {
        return Programmed::Now(Decision::no(TYPE, reason, text));
    }
    if let Some(decision) = current {
        return Programmed::Until(decision, ACK_GRACE - pending_for);
    }
    if pending_for < FIRST_STATUS_DELAY {
        return Programmed::Later(FIRST_STATUS_DELAY - pending_for);
    }
    Programmed::Until(Decision::unknown(TYPE, reason, text), ACK_GRACE - pending_for)
}

/// Whether a condition that was false is true now although the object did not change, for example because its Secret was
/// created. Pods do not have the result yet, so their earlier acknowledgements are not about it.
fn recovered(inputs: &StatusInputs<'_>) -> bool {
    let was_wrong = |type_| {
        condition::find(inputs.current, type_).is_some_and(|condition| condition.status == Status::False.to_string())
    };
    inputs.verdict.decisions.iter().any(|decision| decision.holds() && was_wrong(decision.type_))
}

/// The current condition, if it is about this generation.
fn current_decision(inputs: &StatusInputs<'_>, type_: ConditionType) -> Option<Decision> {
    let current = condition::find(inputs.current, type_)
        .filter(|condition| condition.observed_generation == inputs.verdict.generation)?;
    let reasons = [
        Reason::SecretReady,
        Reason::SecretNotRequired,
        Reason::SecretNotOwned,
        Reason::SecretKeyMissing,
        Reason::SecretKeyInvalid,
        Reason::SecretTerminating,
        Reason::SecretImmutable,
        Reason::SecretInvalid,
        Reason::Forbidden,
        Reason::QuotaExceeded,
        Reason::AdmissionDenied,
        Reason::NamespaceTerminating,
        Reason::Conflict,
        Reason::ApiServerError,
        Reason::Minting,
        Reason::Programmed,
        Reason::Propagating,
        Reason::NoDataPlane,
        Reason::Rejected,
    ];
    let reason = reasons.into_iter().find(|reason| reason.to_string() == current.reason)?;
    let status = [Status::True, Status::False, Status::Unknown]
        .into_iter()
        .find(|status| status.to_string() == current.status)?;
    Some(Decision { type_, status, reason, message: current.message.clone() })
}

fn secret_ready(secret_state: &SecretState) -> Decision {
    const TYPE: ConditionType = ConditionType::SecretReady;
    match secret_state {
        SecretState::Ready => Decision::yes(TYPE, Reason::SecretReady),
        SecretState::Issuing => Decision::no(TYPE, Reason::Minting, "the API key is being issued"),
        SecretState::NotOwned(owner) => Decision::no(TYPE, Reason::SecretNotOwned, not_owned(owner.as_ref())),
        SecretState::KeyMissing => {
            Decision::no(TYPE, Reason::SecretKeyMissing, "the Secret to import has no key \"token\"")
        }
        SecretState::KeyInvalid(why) => Decision::no(
            TYPE,
            Reason::SecretKeyInvalid,
            format!("the Secret to import: the value of key \"token\" {why}"),
        ),
        SecretState::Terminating(finalizers) => {
            let text = format!(
                "the Secret is being deleted and waits for finalizers ({}); a new API key is issued after that",
                shorten(&finalizers.join(", "), MAX_EVENT_NOTE / 2)
            );
            Decision::no(TYPE, Reason::SecretTerminating, text)
        }
        SecretState::WriteFailed(failure) => Decision::no(TYPE, failure.reason, failure.message.clone()),
        SecretState::NotRequired => {
            let text = "spec.secretKeys is None: there is no API key, and only spec.subjects may call";
            Decision::yes_but(TYPE, Reason::SecretNotRequired, text)
        }
    }
}

fn not_owned(owner: Option<&Owner>) -> String {
    let exists = "spec.secretName: a Secret with this name exists and";
    match owner {
        Some(Owner::Token(name)) => {
            let name = shorten(name, MAX_EVENT_NOTE / 2);
            format!(
                "{exists} belongs to ApiToken {name}; choose another name, because each ApiToken needs its own Secret"
            )
        }
        Some(Owner::Predecessor) => format!(
            "{exists} belongs to a deleted ApiToken with this name; a new API key is issued when Kubernetes has deleted it"
        ),
        Some(Owner::Other(kind, name)) => {
            let owner = shorten(&format!("{kind} {name}"), MAX_EVENT_NOTE / 2);
            format!(
                "{exists} belongs to {owner}; choose another name, or label it routeapi.dev/import=true to import its value"
            )
        }
        None => format!(
            "{exists} is not owned by this ApiToken; delete it, choose another name, or label it \
             routeapi.dev/import=true to import its value"
        ),
    }
}

fn expiry(inputs: &StatusInputs<'_>) -> Option<Duration> {
    let Detail::Token { expires: Some(end), .. } = inputs.verdict.detail else { return None };
    u64::try_from(end - inputs.now.as_second()).ok().filter(|left| *left > 0).map(Duration::from_secs)
}

/// Whether the message may contain numbers of pods, which are not worth a write by themselves.
fn has_pod_counts(decision: &Decision) -> bool {
    decision.holds() && !matches!(decision.type_, ConditionType::Accepted | ConditionType::ResolvedRefs)
}

// === impl DesiredStatus ===

impl DesiredStatus {
    /// Whether a status should be written now. Numbers of pods in a condition that is true can wait: see `pod_counts`.
    pub fn differs_from(&self, current: &[Condition]) -> bool {
        self.decisions.iter().any(|decision| {
            condition::find(current, decision.type_).is_none_or(|current| {
                current.status != decision.status.to_string()
                    || current.reason != decision.reason.to_string()
                    || current.observed_generation != self.generation
                    || (!has_pod_counts(decision) && current.message != condition::message(decision))
            })
        })
    }

    /// Sets the conditions; returns those that changed their status, or the reason for being false.
    pub fn write_into(&self, conditions: &mut Vec<Condition>, now: &Time) -> Vec<Transition> {
        let mut transitions = Vec::new();
        for decision in &self.decisions {
            let before = condition::find(conditions, decision.type_).cloned();
            condition::set(conditions, decision, self.generation, now);
            let changed = before.is_none_or(|current| {
                let another_cause = decision.status == Status::False && current.reason != decision.reason.to_string();
                current.status != decision.status.to_string() || another_cause
            });
            let ready = decision.type_ == ConditionType::Ready;
            // One event per cause: `Ready` repeats the cause of a failure, `Programmed` that of an object which is not sent to
            // data planes, and only `Ready` reports success.
            let is_event = match decision.status {
                Status::True => ready,
                Status::False if decision.reason == Reason::Minting => false, // temporary
                Status::False if ready => self.only_ready_fails(),
                Status::False => !self.repeats(decision),
                Status::Unknown => false,
            };
            if changed && is_event {
                transitions.push(Transition::of(decision));
            }
        }
        transitions
    }

    /// Whether another condition has the same reason as this `Programmed`.
    fn repeats(&self, decision: &Decision) -> bool {
        let same = |other: &Decision| {
            !matches!(other.type_, ConditionType::Ready | ConditionType::Programmed)
                && other.status == Status::False
                && other.reason == decision.reason
        };
        decision.type_ == ConditionType::Programmed && self.decisions.iter().any(same)
    }

    /// Whether only `Ready` itself is false (suspended, expired).
    fn only_ready_fails(&self) -> bool {
        self.decisions.iter().all(|decision| decision.holds() || decision.type_ == ConditionType::Ready)
    }
}

impl Transition {
    fn of(decision: &Decision) -> Self {
        let note = shorten(&decision.message, MAX_EVENT_NOTE);
        Self { type_: decision.type_.to_string(), good: decision.holds(), reason: decision.reason.to_string(), note }
    }
}

#[cfg(test)]
mod tests;
