use super::*;
use crate::{push::pod_name::PodName, tokens::write_failure::WriteFailure};

fn verdict(decisions: Vec<Decision>) -> Verdict {
    Verdict { generation: Some(3), decisions, detail: Detail::Route { upstreams: Vec::new() } }
}

fn good() -> Verdict {
    verdict(vec![
        Decision::yes(ConditionType::Accepted, Reason::Accepted),
        Decision::yes(ConditionType::ResolvedRefs, Reason::ResolvedRefs),
    ])
}

fn nowhere() -> Progress {
    Progress {
        acknowledged: 0,
        connected: 0,
        missing: PodNames::default(),
        recently_disconnected: 0,
        recently_disconnected_names: PodNames::default(),
        rejection: None,
    }
}

fn names(pods: &[&str]) -> PodNames {
    let pods: Vec<_> = pods.iter().map(|name| PodName { namespace: "ai".into(), name: (*name).into() }).collect();
    PodNames::of(&pods)
}

fn progress(acknowledged: usize, connected: usize) -> Option<Progress> {
    Some(Progress { acknowledged, connected, ..nowhere() })
}

fn inputs<'a>(
    verdict: &'a Verdict,
    progress: Option<Progress>,
    current: &'a [Condition],
    pending_for: u64,
) -> StatusInputs<'a> {
    StatusInputs {
        verdict,
        progress,
        secret_state: None,
        key_rejection: None,
        current,
        pending_for: Duration::from_millis(pending_for),
        leading_for: Duration::from_secs(3600),
        now: Timestamp::from_second(1_800_000_000).unwrap(),
    }
}

fn condition(desired: &DesiredStatus, type_: ConditionType) -> (Status, Reason, &str) {
    let decision = desired.decisions.iter().find(|decision| decision.type_ == type_).unwrap();
    (decision.status, decision.reason, &decision.message)
}

fn written(desired: &DesiredStatus) -> Vec<Condition> {
    let mut conditions = Vec::new();
    desired.write_into(&mut conditions, &Time(Timestamp::from_second(1_800_000_000).unwrap()));
    conditions
}

#[test]
fn an_object_that_all_pods_acknowledged_is_programmed_and_ready() {
    let verdict = good();
    let (desired, later) = decide(&inputs(&verdict, progress(3, 3), &[], 0));
    let desired = desired.unwrap();
    let programmed = condition(&desired, ConditionType::Programmed);
    assert_eq!(programmed, (Status::True, Reason::Programmed, "3/3 data-plane pods acknowledged"));
    assert_eq!(condition(&desired, ConditionType::Ready).0, Status::True);
    assert_eq!(later, None);
    assert!(!desired.differs_from(&written(&desired)), "once written it is not written again");
}

#[test]
fn additional_pods_do_not_change_the_status() {
    let verdict = good();
    let current = written(&decide(&inputs(&verdict, progress(3, 3), &[], 0)).0.unwrap());
    assert!(!decide(&inputs(&verdict, progress(4, 4), &current, 0)).0.unwrap().differs_from(&current));
    let joining = decide(&inputs(&verdict, progress(4, 5), &current, 9_000));
    assert!(!joining.0.unwrap().differs_from(&current), "a new pod has time to acknowledge");
    assert_eq!(joining.1, Some(Duration::from_secs(1)));
    let stuck = decide(&inputs(&verdict, progress(4, 5), &current, 10_000)).0.unwrap();
    let programmed = condition(&stuck, ConditionType::Programmed);
    assert_eq!(programmed, (Status::False, Reason::Propagating, "4/5 data-plane pods acknowledged"));
    assert!(stuck.differs_from(&current));
}

#[test]
fn a_recently_disconnected_pod_delays_programmed_and_never_resets_it() {
    let verdict = good();
    let recently_disconnected =
        || Some(Progress { acknowledged: 2, connected: 2, recently_disconnected: 1, ..nowhere() });
    let (desired, later) = decide(&inputs(&verdict, recently_disconnected(), &[], 0));
    let desired = desired.unwrap();
    let text = "2/2 data-plane pods acknowledged; recently disconnected without it: 1";
    assert_eq!(condition(&desired, ConditionType::Programmed), (Status::Unknown, Reason::Propagating, text));
    assert_eq!(condition(&desired, ConditionType::Ready).0, Status::Unknown);
    assert_eq!(later, Some(RECONNECT_POLL_INTERVAL));
    let current = written(&decide(&inputs(&verdict, progress(3, 3), &[], 0)).0.unwrap());
    assert!(!decide(&inputs(&verdict, recently_disconnected(), &current, 0)).0.unwrap().differs_from(&current));
}

#[test]
fn the_first_status_of_a_new_generation_is_delayed() {
    let mut older = good();
    older.generation = Some(2);
    let current = written(&decide(&inputs(&older, progress(3, 3), &[], 0)).0.unwrap());
    let verdict = good();
    assert_eq!(decide(&inputs(&verdict, progress(0, 3), &current, 100)), (None, Some(Duration::from_millis(400))));
    let desired = decide(&inputs(&verdict, progress(1, 3), &current, 600)).0.unwrap();
    assert_eq!(condition(&desired, ConditionType::Programmed).0, Status::Unknown);
    assert_eq!(condition(&desired, ConditionType::Ready).0, Status::Unknown);
}

#[test]
fn a_rejection_is_reported_immediately_with_the_pods_message() {
    let verdict = good();
    let text = "pod ai/gw-1: unknown field `shiny`";
    let refused = Some(Progress { acknowledged: 2, connected: 3, rejection: Some(text.into()), ..nowhere() });
    let desired = decide(&inputs(&verdict, refused, &[], 0)).0.unwrap();
    assert_eq!(condition(&desired, ConditionType::Programmed), (Status::False, Reason::Rejected, text));
    assert_eq!(condition(&desired, ConditionType::Ready), (Status::False, Reason::Rejected, text));
}

#[test]
fn a_restarted_operator_waits_for_pods_to_reconnect() {
    let verdict = good();
    let current = written(&decide(&inputs(&verdict, progress(3, 3), &[], 0)).0.unwrap());
    let mut starting = inputs(&verdict, progress(0, 0), &current, 60_000);
    starting.leading_for = Duration::from_secs(2);
    assert!(!decide(&starting).0.unwrap().differs_from(&current));
    starting.leading_for = Duration::from_secs(11);
    let desired = decide(&starting).0.unwrap();
    assert_eq!(condition(&desired, ConditionType::Programmed).1, Reason::NoDataPlane);
}

#[test]
fn an_object_that_is_not_accepted_is_not_programmed_for_the_same_reason() {
    let conflict = Decision::no(ConditionType::Accepted, Reason::ModelConflict, "spec.model: taken by ai/older");
    let verdict = verdict(vec![conflict]);
    let desired = decide(&inputs(&verdict, None, &[], 0)).0.unwrap();
    let (status, reason, text) = condition(&desired, ConditionType::Programmed);
    assert_eq!((status, reason), (Status::False, Reason::ModelConflict));
    assert!(text.contains("taken by ai/older"));
    let transitions = desired.write_into(&mut Vec::new(), &Time(Timestamp::UNIX_EPOCH));
    let events: Vec<_> = transitions.iter().map(|transition| (transition.type_.as_str(), transition.good)).collect();
    assert_eq!(events, [("Accepted", false)], "an event per cause, none for what follows from it");
}

#[test]
fn conditions_that_are_true_have_a_message() {
    let token = Detail::Token { expires: None, suspended: false };
    let route = Detail::Route { upstreams: Vec::new() };
    for detail in [token, route, Detail::Provider { attached_routes: 0 }] {
        let verdict = Verdict { detail, ..good() };
        let mut inputs = inputs(&verdict, progress(1, 1), &[], 0);
        inputs.secret_state = Some(Some(SecretState::Ready));
        let desired = decide(&inputs).0.unwrap();
        assert_eq!(desired.decisions.len(), 5);
        for decision in &desired.decisions {
            assert!(decision.holds() && !decision.message.is_empty(), "{decision:?}");
        }
        assert!(!desired.differs_from(&written(&desired)), "once written it is not written again");
    }
}

#[test]
fn the_owner_of_a_secret_is_named() {
    let verdict = good();
    let message = |owner| {
        let mut token = inputs(&verdict, progress(1, 1), &[], 0);
        token.secret_state = Some(Some(SecretState::NotOwned(owner)));
        condition(&decide(&token).0.unwrap(), ConditionType::SecretReady).2.to_owned()
    };
    let other = message(Some(Owner::Token("checkout".to_owned())));
    assert!(other.contains("belongs to ApiToken checkout") && !other.contains("import"), "{other}");
    assert!(message(Some(Owner::Predecessor)).contains("a deleted ApiToken with this name"));
    let certificate = message(Some(Owner::Other("Certificate".to_owned(), "serving".to_owned())));
    assert!(certificate.contains("belongs to Certificate serving"), "{certificate}");
    assert!(message(None).contains("is not owned by this ApiToken"));
    let hostile = message(Some(Owner::Other("K".repeat(5_000), "é".repeat(5_000))));
    assert!(hostile.len() < MAX_EVENT_NOTE, "{}", hostile.len());
}

#[test]
fn only_a_changed_message_is_written() {
    let long = |end: &str| {
        let message = format!("{}{end}", "m".repeat(2_000));
        verdict(vec![Decision::yes_but(ConditionType::Accepted, Reason::Accepted, message)])
    };
    let (one, other) = (long("one"), long("other"));
    let current = written(&decide(&inputs(&one, progress(1, 1), &[], 0)).0.unwrap());
    assert!(!decide(&inputs(&one, progress(1, 1), &current, 0)).0.unwrap().differs_from(&current));
    assert!(decide(&inputs(&other, progress(1, 1), &current, 0)).0.unwrap().differs_from(&current));
}

#[test]
fn a_token_is_ready_with_its_secret_until_it_expires() {
    let now = 1_800_000_000;
    let detail = Detail::Token { expires: Some(now + 60), suspended: false };
    let decisions = vec![Decision::yes(ConditionType::Accepted, Reason::Accepted)];
    let verdict = Verdict { generation: Some(1), decisions, detail };
    let mut token = inputs(&verdict, progress(1, 1), &[], 0);
    token.secret_state = Some(Some(SecretState::NotOwned(None)));
    let desired = decide(&token).0.unwrap();
    assert_eq!(condition(&desired, ConditionType::SecretReady).1, Reason::SecretNotOwned);
    assert_eq!(condition(&desired, ConditionType::Ready).1, Reason::SecretNotOwned);

    token.secret_state = Some(Some(SecretState::Ready));
    let (desired, later) = decide(&token);
    let desired = desired.unwrap();
    assert!(condition(&desired, ConditionType::Ready).0 == Status::True);
    let text = condition(&desired, ConditionType::Programmed).2;
    assert_eq!(text, "acknowledged by all connected data-plane pods", "nothing that a new pod makes untrue");
    assert_eq!(later, Some(Duration::from_secs(60)), "looked at again when it expires");
    token.now = Timestamp::from_second(now + 60).unwrap();
    assert_eq!(condition(&decide(&token).0.unwrap(), ConditionType::Ready).1, Reason::Expired);
}

#[test]
fn an_unchecked_secret_keeps_its_condition() {
    let decisions = vec![Decision::yes(ConditionType::Accepted, Reason::Accepted)];
    let detail = Detail::Token { expires: None, suspended: false };
    let verdict = Verdict { generation: Some(1), decisions, detail };
    let mut token = inputs(&verdict, progress(1, 1), &[], 0);
    token.secret_state = Some(Some(SecretState::Ready));
    let current = written(&decide(&token).0.unwrap());
    token.secret_state = Some(None);
    token.current = &current;
    assert!(!decide(&token).0.unwrap().differs_from(&current), "a new leader changes nothing");
}

#[test]
fn a_recovered_object_is_not_ready_before_pods_acknowledge_it() {
    let missing = Decision::no(ConditionType::ResolvedRefs, Reason::SecretNotFound, "no Secret");
    let broken = verdict(vec![Decision::yes(ConditionType::Accepted, Reason::Accepted), missing]);
    let current = written(&decide(&inputs(&broken, progress(2, 2), &[], 0)).0.unwrap());
    let mended = good();
    let (desired, later) = decide(&inputs(&mended, progress(0, 2), &current, 0));
    assert_eq!((desired, later), (None, Some(FIRST_STATUS_DELAY)), "what pods acknowledged was the broken object");
    let (desired, _) = decide(&inputs(&mended, progress(0, 2), &current, 600));
    assert_eq!(condition(&desired.unwrap(), ConditionType::Ready).0, Status::Unknown);
    let (desired, _) = decide(&inputs(&mended, progress(2, 2), &current, 700));
    assert_eq!(condition(&desired.unwrap(), ConditionType::Ready).0, Status::True);
}

#[test]
fn pods_that_are_missing_are_named() {
    let verdict = good();
    let stuck = Progress { acknowledged: 2, connected: 3, missing: names(&["gw-3"]), ..nowhere() };
    let desired = decide(&inputs(&verdict, Some(stuck), &[], 10_000)).0.unwrap();
    let text = "2/3 data-plane pods acknowledged; waiting for ai/gw-3";
    assert_eq!(condition(&desired, ConditionType::Programmed), (Status::False, Reason::Propagating, text));

    let left = Progress {
        acknowledged: 2,
        connected: 2,
        recently_disconnected: 1,
        recently_disconnected_names: names(&["gw-3"]),
        ..nowhere()
    };
    let desired = decide(&inputs(&verdict, Some(left), &[], 0)).0.unwrap();
    let text = "2/2 data-plane pods acknowledged; recently disconnected without it: 1: ai/gw-3";
    assert_eq!(condition(&desired, ConditionType::Programmed), (Status::Unknown, Reason::Propagating, text));
}

#[test]
fn many_pods_are_counted_after_three_names() {
    assert_eq!(names(&["e", "d", "c", "b", "a"]).to_string(), "ai/a, ai/b, ai/c and 2 more");
}

fn refused(reason: Reason, message: &str) -> SecretState {
    SecretState::WriteFailed(WriteFailure { reason, message: message.to_owned(), ambiguous: false })
}

#[test]
fn a_failed_write_of_the_secret_is_the_reason_of_ready() {
    let verdict = good();
    let mut token = inputs(&verdict, progress(1, 1), &[], 0);
    token.secret_state = Some(Some(refused(Reason::QuotaExceeded, "creating the Secret: exceeded quota: q")));
    let desired = decide(&token).0.unwrap();
    let message = (Status::False, Reason::QuotaExceeded, "creating the Secret: exceeded quota: q");
    assert_eq!(condition(&desired, ConditionType::SecretReady), message);
    assert_eq!(condition(&desired, ConditionType::Ready), message);
}

#[test]
fn one_event_per_cause() {
    let verdict = good();
    let now = Time(Timestamp::from_second(1_800_000_000).unwrap());
    let mut conditions = Vec::new();
    let mut events = |secret_state: SecretState| {
        let mut token = inputs(&verdict, progress(1, 1), &[], 0);
        token.secret_state = Some(Some(secret_state));
        let transitions = decide(&token).0.unwrap().write_into(&mut conditions, &now);
        transitions.into_iter().map(|transition| (transition.type_, transition.reason)).collect::<Vec<_>>()
    };
    let event = |type_: &str, reason: &str| vec![(type_.to_owned(), reason.to_owned())];
    assert_eq!(events(SecretState::Issuing), []);
    assert_eq!(events(refused(Reason::QuotaExceeded, "1 of 1")), event("SecretReady", "QuotaExceeded"));
    assert_eq!(events(refused(Reason::QuotaExceeded, "2 of 2")), []);
    assert_eq!(events(refused(Reason::AdmissionDenied, "no")), event("SecretReady", "AdmissionDenied"));
    assert_eq!(events(SecretState::Ready), event("Ready", "Ready"));
}

#[test]
fn a_rejected_key_is_one_event_and_recovers() {
    const TYPE: ConditionType = ConditionType::CredentialsAccepted;
    let verdict = good();
    let (quiet, _) = decide(&inputs(&verdict, progress(2, 2), &[], 0));
    assert!(quiet.unwrap().decisions.iter().all(|decision| decision.type_ != TYPE), "no condition while the key works");

    let rejection = KeyRejection { status: 401, since: 1_800_000_000, message: None, pods: names(&["a", "b"]) };
    let rejected = |current| StatusInputs {
        key_rejection: Some(rejection.clone()),
        ..inputs(&verdict, progress(2, 2), current, 0)
    };
    let (desired, _) = decide(&rejected(&[]));
    let desired = desired.unwrap();
    let (status, reason, message) = condition(&desired, TYPE);
    assert_eq!((status, reason), (Status::False, Reason::RejectedByUpstream));
    assert!(
        message.contains("rejects this provider's key with status 401")
            && message.contains("2027-01-15T08:00:00Z")
            && message.contains("ai/a, ai/b")
    );
    assert_eq!(condition(&desired, ConditionType::Ready).0, Status::True, "the object itself is well");
    let mut current = Vec::new();
    let at = Time(Timestamp::from_second(1_800_000_000).unwrap());
    let transitions = desired.write_into(&mut current, &at);
    let warnings: Vec<_> =
        transitions.iter().filter(|transition| !transition.good).map(|transition| transition.reason.as_str()).collect();
    assert_eq!(warnings, ["RejectedByUpstream"]);
    let (again, _) = decide(&rejected(&current));
    assert!(again.unwrap().write_into(&mut current.clone(), &at).is_empty(), "one event per cause");

    let fresh = StatusInputs { leading_for: Duration::from_secs(1), ..inputs(&verdict, progress(2, 2), &current, 0) };
    assert_eq!(condition(&decide(&fresh).0.unwrap(), TYPE).0, Status::False, "pods may not have reported it again yet");
    let (healed, _) = decide(&inputs(&verdict, progress(2, 2), &current, 0));
    assert_eq!(condition(&healed.unwrap(), TYPE).0, Status::True);
}

#[test]
fn a_refused_identity_is_an_unresolved_reference_in_the_vendors_words() {
    const TYPE: ConditionType = ConditionType::ResolvedRefs;
    let verdict = good();
    let said = "login.microsoftonline.com: status 401: AADSTS7000215: Invalid client secret provided.";
    let rejection =
        KeyRejection { status: 401, since: 1_800_000_000, message: Some(said.to_owned()), pods: names(&["a"]) };
    let refused = StatusInputs { key_rejection: Some(rejection), ..inputs(&verdict, progress(1, 1), &[], 0) };
    let desired = decide(&refused).0.unwrap();
    let (status, reason, message) = condition(&desired, TYPE);
    assert_eq!((status, reason), (Status::False, Reason::CredentialsRejected));
    assert!(message.contains(said) && message.contains("ai/a"), "{message}");
    assert_eq!(condition(&desired, ConditionType::Ready).0, Status::False);
    assert!(
        desired.decisions.iter().all(|it| it.type_ != ConditionType::CredentialsAccepted),
        "one fault, one condition"
    );

    let current = written(&desired);
    let fresh = StatusInputs { leading_for: Duration::from_secs(1), ..inputs(&verdict, progress(1, 1), &current, 0) };
    assert_eq!(condition(&decide(&fresh).0.unwrap(), TYPE).0, Status::False, "pods may not have reported it again yet");
    let (healed, _) = decide(&inputs(&verdict, progress(1, 1), &current, 0));
    assert_eq!(condition(&healed.unwrap(), TYPE).0, Status::True);
}
