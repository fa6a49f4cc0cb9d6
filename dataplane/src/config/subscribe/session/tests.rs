use routeapi_channel::{Kind, ObjectId};
use serde_json::value::RawValue;

use super::*;

fn catalog(names: &[&str]) -> Catalog {
    let mut catalog = Catalog::default();
    for name in names {
        let body = RawValue::from_string(format!("{{\"name\":{name:?}}}")).unwrap();
        catalog.insert(key(name), Entry::new(body.into()));
    }
    catalog
}

fn key(name: &str) -> Key {
    Key { kind: Kind::Token, id: ObjectId::new("a", name) }
}

fn floor(version: u64) -> Floor {
    Floor::from([("apitokens".to_owned(), version)])
}

fn frames(base: Option<&Catalog>, target: &Catalog, floor: Floor) -> Vec<FromOperator> {
    let begin = FromOperator::Begin {
        revision: target.revision(),
        base: base.map(Catalog::revision),
        count: target.len(),
        floor,
    };
    let puts = target.iter().map(|(key, entry)| FromOperator::Put {
        t: key.kind,
        id: key.id.clone(),
        v: entry.version.clone(),
        body: Arc::clone(&entry.body),
    });
    let commit = FromOperator::Commit { revision: target.revision() };
    std::iter::once(begin).chain(puts).chain([commit]).collect()
}

fn feed(session: &mut Session, frames: Vec<FromOperator>, now: Instant) -> Result<Effect, ProtocolError> {
    let mut last = Effect::None;
    for frame in frames {
        last = session.receive(frame, now)?;
    }
    Ok(last)
}

fn install(session: &mut Session, effect: Effect, refused: &[Unreadable]) -> Vec<FromDataPlane> {
    let Effect::Install(target) = effect else { panic!("{effect:?}") };
    let in_force = Arc::clone(&target.catalog);
    session.installed(target, in_force, refused)
}

fn holding(names: &[&str], version: u64, now: Instant) -> Session {
    let mut session = Session::default();
    let effect = feed(&mut session, frames(None, &catalog(names), floor(version)), now).unwrap();
    assert!(matches!(*install(&mut session, effect, &[]), [FromDataPlane::Ack { .. }]));
    session
}

#[test]
fn state_below_the_floor_is_applied_after_the_timeout() {
    let start = Instant::now();
    let mut session = holding(&["a"], 5, start);
    let stale = catalog(&["a", "revoked"]);
    let effect = feed(&mut session, frames(None, &stale, floor(4)), start).unwrap();
    assert!(matches!(effect, Effect::Deferred(at) if at == start + STALE_STATE_TIMEOUT));
    assert!(session.due(start + STALE_STATE_TIMEOUT - Duration::from_millis(1)).is_none());
    let target = session.due(start + STALE_STATE_TIMEOUT).unwrap();
    assert_eq!(target.revision, stale.revision());
    install(&mut session, Effect::Install(target), &[]);
    assert_eq!(session.floor(), &floor(4));
    assert!(session.deadline().is_none());
}

#[test]
fn reconnecting_does_not_restart_the_timeout() {
    let start = Instant::now();
    let mut session = holding(&["a"], 5, start);
    let stale = catalog(&["b"]);
    feed(&mut session, frames(None, &stale, floor(4)), start).unwrap();
    session.hello("pod", "boot", Features::default());
    assert!(session.deadline().is_none(), "what was told on the old connection waits no more");
    let later = start + STALE_STATE_TIMEOUT;
    assert!(matches!(feed(&mut session, frames(None, &stale, floor(4)), later).unwrap(), Effect::Install(_)));
}

#[test]
fn state_in_force_is_acknowledged_below_the_floor() {
    let start = Instant::now();
    let mut session = holding(&["a"], 5, start);
    let effect = feed(&mut session, frames(None, &catalog(&["a"]), floor(4)), start).unwrap();
    assert!(matches!(effect, Effect::Install(_)));
}

#[test]
fn hello_lists_the_state_in_force_not_the_last_received() {
    let start = Instant::now();
    let mut session = holding(&["a"], 1, start);
    let effect = feed(&mut session, frames(None, &catalog(&["a", "bad"]), floor(2)), start).unwrap();
    let Effect::Install(target) = effect else { panic!("{effect:?}") };
    let refused = vec![Unreadable { key: key("bad"), message: "no".to_owned() }];
    let answer = session.installed(target, Arc::new(catalog(&["a"])), &refused);
    assert!(matches!(&*answer, [FromDataPlane::Nack { errors, more: false, .. }] if errors.len() == 1));
    let FromDataPlane::Hello(hello) = session.hello("pod", "boot", Features::default()) else { panic!("no hello") };
    assert_eq!(hello.revision, Some(catalog(&["a"]).revision()));
    assert_eq!(hello.held.iter().map(|it| &it.key).collect::<Vec<_>>(), [&key("a")]);
}

#[test]
fn out_of_order_frames_end_the_connection() {
    let now = Instant::now();
    let target = catalog(&["a", "b"]);
    let good = || frames(None, &target, floor(1));
    let run = |frames| feed(&mut Session::default(), frames, now).unwrap_err();

    let mut lost = good();
    lost.remove(1);
    assert_eq!(run(lost), ProtocolError::Count { announced: 2, came: 1 });
    assert_eq!(run(good().split_off(1)), ProtocolError::Outside("put"));
    assert_eq!(run(good().split_off(3)), ProtocolError::Outside("commit"));
    let mut nested = good();
    nested.insert(1, nested[0].clone());
    assert_eq!(run(nested), ProtocolError::Nested);
    assert!(matches!(run(frames(Some(&catalog(&["c"])), &target, floor(1))), ProtocolError::Base(_)));
    let mut other = good();
    other[3] = FromOperator::Commit { revision: catalog(&["c"]).revision() };
    assert!(matches!(run(other), ProtocolError::Revision(..)));
    let wrong = FromOperator::Fleet { pods: 2, rank: 2 };
    assert_eq!(run(vec![wrong]), ProtocolError::Fleet { pods: 2, rank: 2 });
    assert!(feed(&mut Session::default(), good(), now).is_ok());
}

const MODERN: Features = Features { list: true, nack_parts: true, credentials: true };

/// A state of so many resources with names as long as Kubernetes allows.
fn large(resources: usize) -> Catalog {
    let mut catalog = Catalog::default();
    let body: Arc<serde_json::value::RawValue> = RawValue::from_string("{}".to_owned()).unwrap().into();
    for at in 0..resources {
        let id = ObjectId::new("n".repeat(63), format!("{at:0>253}"));
        catalog.insert(Key { kind: Kind::Token, id }, Entry::new(Arc::clone(&body)));
    }
    catalog
}

fn said(frame: &FromDataPlane) -> usize {
    serde_json::to_vec(frame).unwrap().len()
}

#[test]
fn large_state_is_listed_in_parts_on_request() {
    let state = Arc::new(large(20_000));
    let mut session = Session::resume(Arc::clone(&state), floor(1));
    let hello = session.hello("pod", "boot", MODERN);
    assert!(said(&hello) < 1024, "{}", said(&hello));
    let FromDataPlane::Hello(hello) = hello else { panic!("no hello") };
    assert_eq!((hello.revision, hello.held.len()), (Some(state.revision()), 0));

    let Effect::Send(parts) = session.receive(FromOperator::List {}, Instant::now()).unwrap() else {
        panic!("no list")
    };
    assert!(parts.iter().all(|part| said(part) < MAX_LINE / 4));
    let mut listed = Vec::new();
    for (at, part) in parts.iter().enumerate() {
        let FromDataPlane::Held { items, more } = part else { panic!("{part:?}") };
        assert_eq!(*more, at + 1 < parts.len());
        listed.extend(items.iter().map(|it| it.key.clone()));
    }
    assert!(listed.iter().eq(state.iter().map(|(key, _)| key)));
}

#[test]
fn keys_of_response_ids_are_taken_between_transactions() {
    let mut session = Session::default();
    let FromDataPlane::Hello(hello) = session.hello("pod", "boot", MODERN) else { panic!("no hello") };
    assert!(hello.knows(FEATURE_RESPONSE_IDS));
    let keys = || FromOperator::ResponseIdKeys { keys: vec![Secret::new("k")] };
    let effect = session.receive(keys(), Instant::now()).unwrap();
    assert!(matches!(&effect, Effect::ResponseIdKeys(keys) if keys[0].expose() == "k"), "{effect:?}");
    assert!(format!("{effect:?}").contains("redacted"));
    let begin = frames(None, &catalog(&["a"]), floor(1)).swap_remove(0);
    session.receive(begin, Instant::now()).unwrap();
    assert!(matches!(session.receive(keys(), Instant::now()), Err(ProtocolError::Inside("responseIdKeys"))));
}

#[test]
fn v1_operator_gets_a_list_that_fits_one_line_or_none() {
    for (resources, fits) in [(1_000, true), (20_000, false)] {
        let mut session = Session::resume(Arc::new(large(resources)), floor(1));
        let hello = session.hello("pod", "boot", Features::default());
        assert!(said(&hello) < MAX_LINE);
        let FromDataPlane::Hello(hello) = hello else { panic!("no hello") };
        assert_eq!((hello.revision.is_some(), hello.held.len()), (fits, if fits { resources } else { 0 }));
    }
}

#[test]
fn state_too_large_to_list_is_sent_again() {
    let mut session = Session::resume(Arc::new(large(MAX_LISTED + 1)), floor(1));
    let FromDataPlane::Hello(hello) = session.hello("pod", "boot", MODERN) else { panic!("no hello") };
    assert_eq!(hello.revision, None);
    let target = catalog(&["a"]);
    let effect = feed(&mut session, frames(None, &target, floor(1)), Instant::now()).unwrap();
    assert!(matches!(effect, Effect::Install(_)), "from nothing");
}

#[test]
fn nacks_are_split_except_for_v1_operators() {
    let state = Arc::new(large(20_000));
    for (features, expected) in [(MODERN, 20_000), (Features::default(), PART)] {
        let mut session = Session::default();
        session.hello("pod", "boot", features);
        let effect = feed(&mut session, frames(None, &state, floor(1)), Instant::now()).unwrap();
        let message = "\u{e9}".repeat(10_000);
        let refused = state.iter().map(|(key, _)| Unreadable { key: key.clone(), message: message.clone() });
        let parts = install(&mut session, effect, &refused.collect::<Vec<_>>());
        assert!(parts.iter().all(|part| said(part) < MAX_LINE / 2));
        let (mut told, mut last) = (0, true);
        for part in &parts {
            let FromDataPlane::Nack { errors, more, .. } = part else { panic!("{part:?}") };
            told += errors.len();
            last = !more;
        }
        assert_eq!((told, last), (expected, true));
    }
}

#[test]
fn unknown_kind_is_refused_alone_and_can_be_removed() {
    let now = Instant::now();
    let quota = Key { kind: serde_json::from_str("\"quota\"").unwrap(), id: ObjectId::new("a", "q") };
    let mut newer = catalog(&["x"]);
    newer.insert(quota.clone(), Entry::new(RawValue::from_string("{}".to_owned()).unwrap().into()));

    let mut session = Session::default();
    let effect = feed(&mut session, frames(None, &newer, floor(1)), now).unwrap();
    let Effect::Install(target) = effect else { panic!("{effect:?}") };
    let (_, refused) = target.catalog.decode();
    let refused: Vec<_> = refused.into_iter().filter(|refused| refused.key.kind == quota.kind).collect();
    assert_eq!(refused.len(), 1);
    let said = session.installed(target, Arc::new(catalog(&["x"])), &refused);
    assert!(matches!(&*said, [FromDataPlane::Nack { errors, .. }] if errors[0].key == quota), "{said:?}");

    let (base, target) = (newer.revision(), catalog(&["x"]));
    let begin = FromOperator::Begin { revision: target.revision(), base: Some(base), count: 1, floor: floor(2) };
    let del = FromOperator::Del { t: quota.kind, id: quota.id };
    let commit = FromOperator::Commit { revision: target.revision() };
    let effect = feed(&mut session, vec![begin, del, commit], now).unwrap();
    assert!(matches!(*install(&mut session, effect, &[]), [FromDataPlane::Ack { .. }]));
}
