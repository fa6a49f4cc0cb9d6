use super::*;
use crate::{push::ack::PodName, tokens::refusal::Refusal};

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
        missing: Names::default(),
        away: 0,
        away_names: Names::default(),
        rejection: None,
    }
}

fn names(pods: &[&str]) -> Names {
    let pods: Vec<_> = pods.iter().map(|name| PodName { namespace: "ai".into(), name: (*name).into() }).collect();
    Names::of(&pods)
}

fn progress(acknowledged: usize, connected: usize) -> Option<Progress> {
    Some(Progress { acknowledged, connected, ..nowhere() })
}

fn facts<'a>(verdict: &'a Verdict, progress: Option<Progress>, held: &'a [Condition], waited: u64) -> Facts<'a> {
    Facts {
        verdict,
        progress,
        finding: None,
        key_rejection: None,
        held,
        waited: Duration::from_millis(waited),
        led: Duration::from_secs(3600),
        now: Timestamp::from_second(1_800_000_000).unwrap(),
    }
}

fn condition(wanted: &Wanted, type_: ConditionType) -> (Status, Reason, &str) {
    let decision = wanted.decisions.iter().find(|it| it.type_ == type_).unwrap();
    (decision.status, decision.reason, &decision.message)
}

fn written(wanted: &Wanted) -> Vec<Condition> {
    let mut conditions = Vec::new();
    wanted.write_into(&mut conditions, &Time(Timestamp::from_second(1_800_000_000).unwrap()));
    conditions
}

#[test]
fn all_pods_have_it_so_it_is_programmed_and_ready() {
    let verdict = good();
    let (wanted, later) = decide(&facts(&verdict, progress(3, 3), &[], 0));
    let wanted = wanted.unwrap();
    let programmed = condition(&wanted, ConditionType::Programmed);
    assert_eq!(programmed, (Status::True, Reason::Programmed, "3/3 data-plane pods acknowledged"));
    assert_eq!(condition(&wanted, ConditionType::Ready).0, Status::True);
    assert_eq!(later, None);
    assert!(!wanted.differs_from(&written(&wanted)), "once written it is not written again");
}

#[test]
fn more_pods_are_no_news() {
    let verdict = good();
    let held = written(&decide(&facts(&verdict, progress(3, 3), &[], 0)).0.unwrap());
    assert!(!decide(&facts(&verdict, progress(4, 4), &held, 0)).0.unwrap().differs_from(&held));
    let joining = decide(&facts(&verdict, progress(4, 5), &held, 9_000));
    assert!(!joining.0.unwrap().differs_from(&held), "a pod that joins has its time");
    assert_eq!(joining.1, Some(Duration::from_secs(1)));
    let stuck = decide(&facts(&verdict, progress(4, 5), &held, 10_000)).0.unwrap();
    let programmed = condition(&stuck, ConditionType::Programmed);
    assert_eq!(programmed, (Status::False, Reason::Propagating, "4/5 data-plane pods acknowledged"));
    assert!(stuck.differs_from(&held));
}

#[test]
fn a_pod_that_is_away_for_a_moment_delays_good_news_and_takes_none_back() {
    let verdict = good();
    let away = || Some(Progress { acknowledged: 2, connected: 2, away: 1, ..nowhere() });
    let (wanted, later) = decide(&facts(&verdict, away(), &[], 0));
    let wanted = wanted.unwrap();
    let text = "2/2 data-plane pods acknowledged; pods that left a moment ago without it: 1";
    assert_eq!(condition(&wanted, ConditionType::Programmed), (Status::Unknown, Reason::Propagating, text));
    assert_eq!(condition(&wanted, ConditionType::Ready).0, Status::Unknown);
    assert_eq!(later, Some(LOOK_OUT));
    let held = written(&decide(&facts(&verdict, progress(3, 3), &[], 0)).0.unwrap());
    assert!(!decide(&facts(&verdict, away(), &held, 0)).0.unwrap().differs_from(&held));
}

#[test]
fn a_new_generation_is_given_a_moment_before_anything_is_said() {
    let mut older = good();
    older.generation = Some(2);
    let held = written(&decide(&facts(&older, progress(3, 3), &[], 0)).0.unwrap());
    let verdict = good();
    assert_eq!(decide(&facts(&verdict, progress(0, 3), &held, 100)), (None, Some(Duration::from_millis(400))));
    let wanted = decide(&facts(&verdict, progress(1, 3), &held, 600)).0.unwrap();
    assert_eq!(condition(&wanted, ConditionType::Programmed).0, Status::Unknown);
    assert_eq!(condition(&wanted, ConditionType::Ready).0, Status::Unknown);
}

#[test]
fn a_refusal_is_said_at_once_in_the_pods_words() {
    let verdict = good();
    let text = "pod ai/gw-1: unknown field `shiny`";
    let refused = Some(Progress { acknowledged: 2, connected: 3, rejection: Some(text.into()), ..nowhere() });
    let wanted = decide(&facts(&verdict, refused, &[], 0)).0.unwrap();
    assert_eq!(condition(&wanted, ConditionType::Programmed), (Status::False, Reason::Rejected, text));
    assert_eq!(condition(&wanted, ConditionType::Ready), (Status::False, Reason::Rejected, text));
}

#[test]
fn an_operator_that_starts_does_not_take_absent_pods_for_gone() {
    let verdict = good();
    let held = written(&decide(&facts(&verdict, progress(3, 3), &[], 0)).0.unwrap());
    let mut starting = facts(&verdict, progress(0, 0), &held, 60_000);
    starting.led = Duration::from_secs(2);
    assert!(!decide(&starting).0.unwrap().differs_from(&held));
    starting.led = Duration::from_secs(11);
    let wanted = decide(&starting).0.unwrap();
    assert_eq!(condition(&wanted, ConditionType::Programmed).1, Reason::NoDataPlane);
}

#[test]
fn what_compile_refused_is_not_programmed_for_the_same_reason() {
    let conflict = Decision::no(ConditionType::Accepted, Reason::ModelConflict, "spec.model: taken by ai/older");
    let verdict = verdict(vec![conflict]);
    let wanted = decide(&facts(&verdict, None, &[], 0)).0.unwrap();
    let (status, reason, text) = condition(&wanted, ConditionType::Programmed);
    assert_eq!((status, reason), (Status::False, Reason::ModelConflict));
    assert!(text.contains("taken by ai/older"));
    let flips = wanted.write_into(&mut Vec::new(), &Time(Timestamp::UNIX_EPOCH));
    let told: Vec<_> = flips.iter().map(|flip| (flip.type_.as_str(), flip.good)).collect();
    assert_eq!(told, [("Accepted", false)], "an event per cause, none for what follows from it");
}

#[test]
fn conditions_that_hold_say_so_in_words() {
    let token = Detail::Token { expires: None, suspended: false };
    let route = Detail::Route { upstreams: Vec::new() };
    for detail in [token, route, Detail::Provider { attached_routes: 0 }] {
        let verdict = Verdict { detail, ..good() };
        let mut facts = facts(&verdict, progress(1, 1), &[], 0);
        facts.finding = Some(Some(Finding::Ready));
        let wanted = decide(&facts).0.unwrap();
        assert_eq!(wanted.decisions.len(), 5);
        for decision in &wanted.decisions {
            assert!(decision.holds() && !decision.message.is_empty(), "{decision:?}");
        }
        assert!(!wanted.differs_from(&written(&wanted)), "once written it is not written again");
    }
}

#[test]
fn the_owner_of_a_secret_is_named() {
    let verdict = good();
    let said = |owner| {
        let mut token = facts(&verdict, progress(1, 1), &[], 0);
        token.finding = Some(Some(Finding::NotOwned(owner)));
        condition(&decide(&token).0.unwrap(), ConditionType::SecretReady).2.to_owned()
    };
    let other = said(Some(Owner::Token("checkout".to_owned())));
    assert!(other.contains("belongs to ApiToken checkout") && !other.contains("import"), "{other}");
    assert!(said(Some(Owner::Predecessor)).contains("a deleted ApiToken of this name"));
    let certificate = said(Some(Owner::Other("Certificate".to_owned(), "serving".to_owned())));
    assert!(certificate.contains("belongs to Certificate serving"), "{certificate}");
    assert!(said(None).contains("is not owned by this ApiToken"));
    let hostile = said(Some(Owner::Other("K".repeat(5_000), "é".repeat(5_000))));
    assert!(hostile.len() < LONGEST_NOTE, "{}", hostile.len());
}

#[test]
fn a_long_message_that_changes_is_written_and_one_that_stays_is_not() {
    let long = |end: &str| {
        let message = format!("{}{end}", "m".repeat(2_000));
        verdict(vec![Decision::yes_but(ConditionType::Accepted, Reason::Accepted, message)])
    };
    let (one, other) = (long("one"), long("other"));
    let held = written(&decide(&facts(&one, progress(1, 1), &[], 0)).0.unwrap());
    assert!(!decide(&facts(&one, progress(1, 1), &held, 0)).0.unwrap().differs_from(&held));
    assert!(decide(&facts(&other, progress(1, 1), &held, 0)).0.unwrap().differs_from(&held));
}

#[test]
fn a_token_needs_its_secret_and_says_when_it_expires() {
    let now = 1_800_000_000;
    let detail = Detail::Token { expires: Some(now + 60), suspended: false };
    let decisions = vec![Decision::yes(ConditionType::Accepted, Reason::Accepted)];
    let verdict = Verdict { generation: Some(1), decisions, detail };
    let mut token = facts(&verdict, progress(1, 1), &[], 0);
    token.finding = Some(Some(Finding::NotOwned(None)));
    let wanted = decide(&token).0.unwrap();
    assert_eq!(condition(&wanted, ConditionType::SecretReady).1, Reason::SecretNotOwned);
    assert_eq!(condition(&wanted, ConditionType::Ready).1, Reason::SecretNotOwned);

    token.finding = Some(Some(Finding::Ready));
    let (wanted, later) = decide(&token);
    let wanted = wanted.unwrap();
    assert!(condition(&wanted, ConditionType::Ready).0 == Status::True);
    let text = condition(&wanted, ConditionType::Programmed).2;
    assert_eq!(text, "every connected data-plane pod acknowledged", "nothing that a new pod makes untrue");
    assert_eq!(later, Some(Duration::from_secs(60)), "looked at again when it expires");
    token.now = Timestamp::from_second(now + 60).unwrap();
    assert_eq!(condition(&decide(&token).0.unwrap(), ConditionType::Ready).1, Reason::Expired);
}

#[test]
fn a_secret_that_was_not_looked_at_yet_keeps_what_its_status_says() {
    let decisions = vec![Decision::yes(ConditionType::Accepted, Reason::Accepted)];
    let detail = Detail::Token { expires: None, suspended: false };
    let verdict = Verdict { generation: Some(1), decisions, detail };
    let mut token = facts(&verdict, progress(1, 1), &[], 0);
    token.finding = Some(Some(Finding::Ready));
    let held = written(&decide(&token).0.unwrap());
    token.finding = Some(None);
    token.held = &held;
    assert!(!decide(&token).0.unwrap().differs_from(&held), "a new leader flips nothing");
}

#[test]
fn what_mends_is_not_ready_before_pods_have_it() {
    let missing = Decision::no(ConditionType::ResolvedRefs, Reason::SecretNotFound, "no Secret");
    let broken = verdict(vec![Decision::yes(ConditionType::Accepted, Reason::Accepted), missing]);
    let held = written(&decide(&facts(&broken, progress(2, 2), &[], 0)).0.unwrap());
    let mended = good();
    let (wanted, later) = decide(&facts(&mended, progress(0, 2), &held, 0));
    assert_eq!((wanted, later), (None, Some(SETTLE)), "what pods acknowledged was the broken object");
    let (wanted, _) = decide(&facts(&mended, progress(0, 2), &held, 600));
    assert_eq!(condition(&wanted.unwrap(), ConditionType::Ready).0, Status::Unknown);
    let (wanted, _) = decide(&facts(&mended, progress(2, 2), &held, 700));
    assert_eq!(condition(&wanted.unwrap(), ConditionType::Ready).0, Status::True);
}

#[test]
fn pods_that_are_missing_are_named() {
    let verdict = good();
    let stuck = Progress { acknowledged: 2, connected: 3, missing: names(&["gw-3"]), ..nowhere() };
    let wanted = decide(&facts(&verdict, Some(stuck), &[], 10_000)).0.unwrap();
    let text = "2/3 data-plane pods acknowledged; waiting for ai/gw-3";
    assert_eq!(condition(&wanted, ConditionType::Programmed), (Status::False, Reason::Propagating, text));

    let left = Progress { acknowledged: 2, connected: 2, away: 1, away_names: names(&["gw-3"]), ..nowhere() };
    let wanted = decide(&facts(&verdict, Some(left), &[], 0)).0.unwrap();
    let text = "2/2 data-plane pods acknowledged; pods that left a moment ago without it: 1: ai/gw-3";
    assert_eq!(condition(&wanted, ConditionType::Programmed), (Status::Unknown, Reason::Propagating, text));
}

#[test]
fn many_pods_are_counted_after_three_names() {
    assert_eq!(names(&["e", "d", "c", "b", "a"]).to_string(), "ai/a, ai/b, ai/c and 2 more");
}

fn refused(reason: Reason, message: &str) -> Finding {
    Finding::Refused(Refusal { reason, message: message.to_owned(), ambiguous: false })
}

#[test]
fn a_refusal_of_the_api_server_is_why_a_token_is_not_ready() {
    let verdict = good();
    let mut token = facts(&verdict, progress(1, 1), &[], 0);
    token.finding = Some(Some(refused(Reason::QuotaExceeded, "creating the Secret: exceeded quota: q")));
    let wanted = decide(&token).0.unwrap();
    let said = (Status::False, Reason::QuotaExceeded, "creating the Secret: exceeded quota: q");
    assert_eq!(condition(&wanted, ConditionType::SecretReady), said);
    assert_eq!(condition(&wanted, ConditionType::Ready), said);
}

#[test]
fn one_event_per_cause() {
    let verdict = good();
    let now = Time(Timestamp::from_second(1_800_000_000).unwrap());
    let mut conditions = Vec::new();
    let mut events = |finding: Finding| {
        let mut token = facts(&verdict, progress(1, 1), &[], 0);
        token.finding = Some(Some(finding));
        let flips = decide(&token).0.unwrap().write_into(&mut conditions, &now);
        flips.into_iter().map(|flip| (flip.type_, flip.reason)).collect::<Vec<_>>()
    };
    let event = |type_: &str, reason: &str| vec![(type_.to_owned(), reason.to_owned())];
    assert_eq!(events(Finding::Minting), []);
    assert_eq!(events(refused(Reason::QuotaExceeded, "1 of 1")), event("SecretReady", "QuotaExceeded"));
    assert_eq!(events(refused(Reason::QuotaExceeded, "2 of 2")), []);
    assert_eq!(events(refused(Reason::AdmissionDenied, "no")), event("SecretReady", "AdmissionDenied"));
    assert_eq!(events(Finding::Ready), event("Ready", "Ready"));
}

#[test]
fn a_rejected_key_is_told_once_and_taken_back() {
    const TYPE: ConditionType = ConditionType::CredentialsAccepted;
    let verdict = good();
    let (quiet, _) = decide(&facts(&verdict, progress(2, 2), &[], 0));
    assert!(quiet.unwrap().decisions.iter().all(|it| it.type_ != TYPE), "nothing is said of a key that works");

    let rejection = KeyRejection { status: 401, since: 1_800_000_000, pods: names(&["a", "b"]) };
    let rejected = |held| Facts { key_rejection: Some(rejection.clone()), ..facts(&verdict, progress(2, 2), held, 0) };
    let (wanted, _) = decide(&rejected(&[]));
    let wanted = wanted.unwrap();
    let (status, reason, message) = condition(&wanted, TYPE);
    assert_eq!((status, reason), (Status::False, Reason::RejectedByUpstream));
    assert!(
        message.contains("answers 401") && message.contains("2027-01-15T08:00:00Z") && message.contains("ai/a, ai/b")
    );
    assert_eq!(condition(&wanted, ConditionType::Ready).0, Status::True, "the object itself is well");
    let mut held = Vec::new();
    let at = Time(Timestamp::from_second(1_800_000_000).unwrap());
    let flips = wanted.write_into(&mut held, &at);
    let warnings: Vec<_> = flips.iter().filter(|flip| !flip.good).map(|flip| flip.reason.as_str()).collect();
    assert_eq!(warnings, ["RejectedByUpstream"]);
    let (again, _) = decide(&rejected(&held));
    assert!(again.unwrap().write_into(&mut held.clone(), &at).is_empty(), "one event per cause");

    let fresh = Facts { led: Duration::from_secs(1), ..facts(&verdict, progress(2, 2), &held, 0) };
    assert_eq!(condition(&decide(&fresh).0.unwrap(), TYPE).0, Status::False, "pods may not have said it again yet");
    let (healed, _) = decide(&facts(&verdict, progress(2, 2), &held, 0));
    assert_eq!(condition(&healed.unwrap(), TYPE).0, Status::True);
}
