//! What a status should say. Pure: verdict, acknowledgements and what is written already go in, decisions come out.
//!
//! `Programmed` is true only when every connected data-plane pod has acknowledged the version that this generation
//! compiles to, and none that was connected a moment ago is without it; a refusal is said at once, in the pod's words. Pods
//! come and go, so what is true already stays true for
//! [`GRACE`] while acknowledgements are outstanding: scaling up, or an operator that restarts, changes no condition. For a
//! new generation, and for an object that becomes right because of another one, nothing is said for [`SETTLE`], in which most acknowledgements arrive, and then `Unknown`.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use routeapi_compile::{Detail, Verdict};
use routeapi_crds::condition::{self, ConditionType, Decision, Reason, Status, shorten};

use crate::{
    push::ack::{KeyRejection, Names, Progress},
    tokens::plan::{Finding, Owner},
};

/// How long acknowledgements may be outstanding before that is said.
pub const GRACE: Duration = Duration::from_secs(10);

/// How long the first word about a new generation waits for acknowledgements.
pub const SETTLE: Duration = Duration::from_millis(500);

/// How soon pods that are away are looked for again.
const LOOK_OUT: Duration = Duration::from_millis(250);

/// The longest note that an event may have.
const LONGEST_NOTE: usize = 1000;

/// All that counts.
#[derive(Debug)]
pub struct Facts<'a> {
    /// What compile says.
    pub verdict: &'a Verdict,
    /// How far the compiled resource has got; none if there is none.
    pub progress: Option<Progress>,
    /// Of an ApiToken: what was found out about its Secret, if that is known yet.
    pub finding: Option<Option<Finding>>,
    /// Of an AIProvider: whether its key is rejected.
    pub key_rejection: Option<KeyRejection>,
    /// What the status says now.
    pub held: &'a [Condition],
    /// Since when acknowledgements have been outstanding.
    pub waited: Duration,
    /// Since when this replica has been the one that writes.
    pub led: Duration,
    /// Now.
    pub now: Timestamp,
}

/// What a status should say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// The generation that it is about.
    pub generation: Option<i64>,
    /// Conditions to set. Those that are not here stay as they are.
    pub decisions: Vec<Decision>,
    /// Other fields of the status.
    pub detail: Detail,
    /// How far the compiled resource has got.
    pub progress: Option<Progress>,
}

/// A condition that changed its answer, or why it does not hold: worth an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flip {
    /// The condition.
    pub type_: String,
    /// Whether that is good news.
    pub good: bool,
    /// Why, for programs.
    pub reason: String,
    /// Why, for people.
    pub note: String,
}

/// Decides what to say, if anything yet, and when to decide again if nothing changes until then.
pub fn decide(facts: &Facts<'_>) -> (Option<Wanted>, Option<Duration>) {
    let mut decisions = facts.verdict.decisions.clone();
    let mut further = Vec::new();
    if let Some(finding) = &facts.finding {
        let secret = finding.as_ref().map(secret_ready).or_else(|| kept(facts, ConditionType::SecretReady));
        further.push(secret.unwrap_or_else(|| {
            Decision::unknown(ConditionType::SecretReady, Reason::Pending, "the Secret has not been checked yet")
        }));
    }
    let (programmed, later) = match programmed(facts) {
        Programmed::Now(decision) => (decision, None),
        Programmed::Until(decision, later) => (decision, Some(later)),
        Programmed::Later(later) => return (None, Some(later)),
    };
    further.push(programmed);
    decisions.push(facts.verdict.ready(&further, facts.now.as_second()));
    decisions.extend(further);
    decisions.extend(credentials(facts));
    decisions.iter_mut().for_each(|decision| say(decision, &facts.verdict.detail));
    let wanted = Wanted {
        generation: facts.verdict.generation,
        decisions,
        detail: facts.verdict.detail.clone(),
        progress: facts.progress.clone(),
    };
    (Some(wanted), later.or_else(|| expiry(facts)))
}

/// Whether the vendor takes the provider's key, once it did not. After an operator's start the pods have time to come back
/// and to say so again.
fn credentials(facts: &Facts<'_>) -> Option<Decision> {
    const TYPE: ConditionType = ConditionType::CredentialsAccepted;
    if let Some(KeyRejection { status, since, pods }) = &facts.key_rejection {
        let since = Timestamp::from_second(*since).map(|since| format!(" since {since}")).unwrap_or_default();
        let message = format!(
            "the upstream answers {status} to this provider's key{since}, at pods {pods}; put a valid key into its Secret"
        );
        return Some(Decision::no(TYPE, Reason::RejectedByUpstream, message));
    }
    let held = condition::find(facts.held, TYPE)?;
    let hears = facts.led >= GRACE && facts.progress.as_ref().is_none_or(|progress| progress.connected > 0);
    if held.status == Status::False.to_string() && !hears {
        return Some(Decision::no(TYPE, Reason::RejectedByUpstream, held.message.clone()));
    }
    Some(Decision::yes(TYPE, Reason::CredentialsAccepted))
}

/// What is true says so in words too, if nothing else is worth knowing.
fn say(decision: &mut Decision, detail: &Detail) {
    if !decision.holds() || !decision.message.is_empty() {
        return;
    }
    let text = match (decision.type_, detail) {
        (ConditionType::Accepted, Detail::Route { .. }) => "the spec is valid, and no other AIRoute has its models",
        (ConditionType::Accepted, _) => "the spec is valid",
        (ConditionType::ResolvedRefs, Detail::Route { .. }) => "the AIProvider of every upstream can be used",
        (ConditionType::ResolvedRefs, _) => "everything that the spec refers to was found",
        (ConditionType::SecretReady, _) => "the Secret holds the current key",
        (ConditionType::Programmed, _) => "every connected data-plane pod acknowledged",
        (ConditionType::CredentialsAccepted, _) => "the upstream takes this provider's key again",
        (ConditionType::Ready, _) => "in force in every connected data-plane pod",
    };
    text.clone_into(&mut decision.message);
}

enum Programmed {
    Now(Decision),
    /// Said now, but time alone will change it.
    Until(Decision, Duration),
    /// Nothing worth saying yet.
    Later(Duration),
}

fn programmed(facts: &Facts<'_>) -> Programmed {
    const TYPE: ConditionType = ConditionType::Programmed;
    let Some(progress) = &facts.progress else {
        let cause = facts.verdict.decisions.iter().find(|decision| !decision.holds());
        return Programmed::Now(match cause {
            Some(cause) => Decision::no(TYPE, cause.reason, format!("not sent to data planes: {}", cause.message)),
            None => Decision::unknown(TYPE, Reason::Pending, "there is nothing to send yet"),
        });
    };
    let summary = format!("{}/{} data-plane pods acknowledged", progress.acknowledged, progress.connected);
    let and_who =
        |names: &Names, before: &str| if names.is_empty() { String::new() } else { format!("{before}{names}") };
    if let Some(text) = &progress.rejection {
        return Programmed::Now(Decision::no(TYPE, Reason::Rejected, text));
    }
    let held = kept(facts, TYPE).filter(|_| !mends(facts));
    if progress.complete() && progress.away > 0 && !held.as_ref().is_some_and(Decision::holds) {
        let who = and_who(&progress.away_names, ": ");
        let text = format!("{summary}; pods that left a moment ago without it: {}{who}", progress.away);
        return Programmed::Until(Decision::unknown(TYPE, Reason::Propagating, text), LOOK_OUT);
    }
    if progress.complete() {
        let counts = matches!(facts.verdict.detail, Detail::Route { .. });
        let text = if counts { summary } else { "every connected data-plane pod acknowledged".to_owned() };
        return Programmed::Now(Decision::yes_but(TYPE, Reason::Programmed, text));
    }
    let (reason, text) = match progress.connected {
        0 => (Reason::NoDataPlane, "no data-plane pod is connected".to_owned()),
        _ => (Reason::Propagating, format!("{summary}{}", and_who(&progress.missing, "; waiting for "))),
    };
    let waited = facts.waited.min(facts.led);
    if waited >= GRACE {
        return Programmed::Now(Decision::no(TYPE, reason, text));
    }
    if let Some(decision) = held {
        return Programmed::Until(decision, GRACE - waited);
    }
    if waited < SETTLE {
        return Programmed::Later(SETTLE - waited);
    }
    Programmed::Until(Decision::unknown(TYPE, reason, text), GRACE - waited)
}

/// Whether something that was wrong is right now, although nobody changed the object: a Secret came, or may be read at
/// last. Pods have still to learn of it, so what they acknowledged before says nothing.
fn mends(facts: &Facts<'_>) -> bool {
    let was_wrong = |type_| condition::find(facts.held, type_).is_some_and(|it| it.status == Status::False.to_string());
    facts.verdict.decisions.iter().any(|decision| decision.holds() && was_wrong(decision.type_))
}

/// What the status says already about this generation.
fn kept(facts: &Facts<'_>, type_: ConditionType) -> Option<Decision> {
    let held = condition::find(facts.held, type_).filter(|it| it.observed_generation == facts.verdict.generation)?;
    let reasons = [
        Reason::SecretReady,
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
    let reason = reasons.into_iter().find(|reason| reason.to_string() == held.reason)?;
    let status = [Status::True, Status::False, Status::Unknown].into_iter().find(|it| it.to_string() == held.status)?;
    Some(Decision { type_, status, reason, message: held.message.clone() })
}

fn secret_ready(finding: &Finding) -> Decision {
    const TYPE: ConditionType = ConditionType::SecretReady;
    match finding {
        Finding::Ready => Decision::yes(TYPE, Reason::SecretReady),
        Finding::Minting => Decision::no(TYPE, Reason::Minting, "the token is being issued"),
        Finding::NotOwned(owner) => Decision::no(TYPE, Reason::SecretNotOwned, not_owned(owner.as_ref())),
        Finding::KeyMissing => {
            Decision::no(TYPE, Reason::SecretKeyMissing, "the Secret to import has no value under the key token")
        }
        Finding::KeyUnusable(why) => {
            Decision::no(TYPE, Reason::SecretKeyInvalid, format!("the Secret to import: the value of token {why}"))
        }
        Finding::Terminating(holders) => {
            let text = format!(
                "the Secret is being deleted, held by finalizers ({}); a new key is issued once it is gone",
                shorten(&holders.join(", "), LONGEST_NOTE / 2)
            );
            Decision::no(TYPE, Reason::SecretTerminating, text)
        }
        Finding::Refused(refusal) => Decision::no(TYPE, refusal.reason, refusal.message.clone()),
    }
}

fn not_owned(owner: Option<&Owner>) -> String {
    let exists = "spec.secretName: a Secret of this name exists and";
    match owner {
        Some(Owner::Token(name)) => {
            let name = shorten(name, LONGEST_NOTE / 2);
            format!(
                "{exists} belongs to ApiToken {name}; choose another name, since each ApiToken has a Secret of its own"
            )
        }
        Some(Owner::Predecessor) => format!(
            "{exists} belongs to a deleted ApiToken of this name; Kubernetes deletes it, and a new key is issued then"
        ),
        Some(Owner::Other(kind, name)) => {
            let owner = shorten(&format!("{kind} {name}"), LONGEST_NOTE / 2);
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

fn expiry(facts: &Facts<'_>) -> Option<Duration> {
    let Detail::Token { expires: Some(end), .. } = facts.verdict.detail else { return None };
    u64::try_from(end - facts.now.as_second()).ok().filter(|left| *left > 0).map(Duration::from_secs)
}

/// Whether a decision's message holds numbers of pods, which alone are no news.
fn counts(decision: &Decision) -> bool {
    decision.holds() && !matches!(decision.type_, ConditionType::Accepted | ConditionType::ResolvedRefs)
}

// === impl Wanted ===

impl Wanted {
    /// Whether a status should be written at once. Numbers in the message of what is true can wait: see `numbers`.
    pub fn differs_from(&self, held: &[Condition]) -> bool {
        self.decisions.iter().any(|decision| {
            condition::find(held, decision.type_).is_none_or(|held| {
                held.status != decision.status.to_string()
                    || held.reason != decision.reason.to_string()
                    || held.observed_generation != self.generation
                    || (!counts(decision) && held.message != condition::message(decision))
            })
        })
    }

    /// Sets the conditions; returns those that changed their answer, or why they do not hold.
    pub fn write_into(&self, conditions: &mut Vec<Condition>, now: &Time) -> Vec<Flip> {
        let mut flips = Vec::new();
        for decision in &self.decisions {
            let before = condition::find(conditions, decision.type_).cloned();
            condition::set(conditions, decision, self.generation, now);
            let changed = before.is_none_or(|held| {
                let another_cause = decision.status == Status::False && held.reason != decision.reason.to_string();
                held.status != decision.status.to_string() || another_cause
            });
            let ready = decision.type_ == ConditionType::Ready;
            // One event per cause: `Ready` repeats the cause of a failure, `Programmed` that of an object which is not
            // sent to data planes, and the others the news that all is well.
            let news = match decision.status {
                Status::True => ready,
                Status::False if decision.reason == Reason::Minting => false, // it passes
                Status::False if ready => self.cause_is_ready(),
                Status::False => !self.repeats(decision),
                Status::Unknown => false,
            };
            if changed && news {
                flips.push(Flip::of(decision));
            }
        }
        flips
    }

    /// Whether another condition says the same as this `Programmed`.
    fn repeats(&self, decision: &Decision) -> bool {
        let same = |other: &Decision| {
            !matches!(other.type_, ConditionType::Ready | ConditionType::Programmed)
                && other.status == Status::False
                && other.reason == decision.reason
        };
        decision.type_ == ConditionType::Programmed && self.decisions.iter().any(same)
    }

    /// Whether nothing but `Ready` itself stands in the way (suspended, expired).
    fn cause_is_ready(&self) -> bool {
        self.decisions.iter().all(|decision| decision.holds() || decision.type_ == ConditionType::Ready)
    }
}

impl Flip {
    fn of(decision: &Decision) -> Self {
        let note = shorten(&decision.message, LONGEST_NOTE);
        Self { type_: decision.type_.to_string(), good: decision.holds(), reason: decision.reason.to_string(), note }
    }
}

#[cfg(test)]
mod tests;
