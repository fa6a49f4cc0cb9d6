use super::*;
use routeapi_channel::{Entry, Kind, ObjectId};

fn key(name: &str) -> Key {
    Key { kind: Kind::Route, id: ObjectId::new("ai", name) }
}

fn catalog(resources: &[(&str, u32)]) -> Arc<Catalog> {
    let mut catalog = Catalog::default();
    for (name, body) in resources {
        catalog.insert(key(name), Entry::new(serde_json::value::to_raw_value(body).unwrap().into()));
    }
    Arc::new(catalog)
}

fn report(uid: &str, since: i64) -> PodReport {
    let pod = PodName { namespace: "ai".into(), name: format!("pod-{uid}") };
    PodReport { uid: uid.into(), pod, since, revision: None, refused: Vec::new(), rejected_keys: Vec::new() }
}

fn refusal(catalog: &Catalog, name: &str) -> Refusal {
    Refusal {
        key: key(name),
        version: catalog.get(&key(name)).unwrap().version.clone(),
        message: "no such word".into(),
    }
}

/// What is known of a resource when these states can be recalled.
fn progress(book: &AckBook, states: &[&Arc<Catalog>], name: &str, of: &Catalog) -> Progress {
    let recall = |revision: &Revision| states.iter().find(|it| it.revision() == *revision).map(|it| Arc::clone(it));
    book.standing(recall).of(&key(name), &of.get(&key(name)).unwrap().version)
}

#[test]
fn a_resource_counts_where_the_state_in_force_has_its_version() {
    let (old, new) = (catalog(&[("a", 1), ("b", 1)]), catalog(&[("a", 1), ("b", 2)]));
    let book = AckBook::new();
    for uid in ["1", "2", "3"] {
        book.joined(report(uid, 1));
    }
    book.answered("1", 1, &old.revision(), vec![]);
    book.answered("2", 1, &new.revision(), vec![]);
    let (a, b) = (progress(&book, &[&old, &new], "a", &new), progress(&book, &[&old, &new], "b", &new));
    assert_eq!((a.acknowledged, b.acknowledged, a.connected), (2, 1, 3), "a is the same in both states");
    book.answered("1", 1, &new.revision(), vec![]);
    book.answered("3", 1, &new.revision(), vec![]);
    assert!(progress(&book, &[&new], "b", &new).complete());
}

#[test]
fn a_refusal_speaks_for_its_version_only() {
    let (old, new) = (catalog(&[("a", 1)]), catalog(&[("a", 2)]));
    let book = AckBook::new();
    book.joined(report("1", 1));
    book.joined(report("2", 1));
    book.answered("1", 1, &old.revision(), vec![refusal(&old, "a")]);
    book.answered("2", 1, &old.revision(), vec![]);
    let held = progress(&book, &[&old], "a", &old);
    assert_eq!((held.acknowledged, held.rejection.as_deref()), (1, Some("pod ai/pod-1: no such word")));
    assert_eq!(progress(&book, &[&old, &new], "a", &new).rejection, None);
}

#[test]
fn the_newest_stream_of_a_pod_counts_wherever_it_is() {
    let state = catalog(&[("a", 1)]);
    let book = AckBook::new();
    let since = book.joined(report("1", 100));
    let mut elsewhere = report("1", 200);
    elsewhere.revision = Some(state.revision());
    book.peer("10.0.0.2:8443", Some(vec![elsewhere]));
    let held = progress(&book, &[&state], "a", &state);
    assert_eq!((held.acknowledged, held.connected), (1, 1), "one pod, by its newer stream");
    assert!(!book.is_newest("1", since));
    let again = book.joined(report("1", 150));
    assert!(again > 200 && book.is_newest("1", again), "a stream that opens now is the newest, whatever clocks say");
    book.left("1", since);
    assert_eq!(book.local().len(), 1, "the end of the older stream is not the end of the pod");
}

#[test]
fn a_pod_that_left_keeps_its_share_for_a_while() {
    let book = AckBook::new();
    let fleet = book.fleet();
    book.joined(report("b", 1));
    book.joined(report("a", 1));
    assert_eq!(fleet.borrow().uids, ["a", "b"]);
    book.left("a", 1);
    assert_eq!(fleet.borrow().uids, ["a", "b"], "it may be serving still");
    assert_eq!(book.standing(|_| None).connected, 1, "but it acknowledges nothing");
    book.lock().left.get_mut("a").unwrap().at = Instant::now().checked_sub(LINGER).unwrap();
    book.tick();
    assert_eq!(fleet.borrow().uids, ["b"]);
}

#[test]
fn a_pod_that_left_is_waited_for_where_it_did_not_have_a_resource() {
    let (old, new) = (catalog(&[("a", 1), ("b", 1)]), catalog(&[("a", 1), ("b", 2)]));
    let book = AckBook::new();
    book.joined(report("1", 1));
    book.joined(report("2", 1));
    book.answered("1", 1, &old.revision(), vec![]);
    book.answered("2", 1, &new.revision(), vec![]);
    book.left("1", 1);
    let (a, b) = (progress(&book, &[&old, &new], "a", &new), progress(&book, &[&old, &new], "b", &new));
    assert_eq!((a.away, b.away, b.connected, b.acknowledged), (0, 1, 1, 1));
    book.lock().left.get_mut("1").unwrap().at = Instant::now().checked_sub(AWAY).unwrap();
    assert_eq!(progress(&book, &[&old, &new], "b", &new).away, 0, "it is gone");
    book.lock().left.get_mut("1").unwrap().at = Instant::now();
    book.joined(report("1", 2));
    let back = progress(&book, &[&old, &new], "b", &new);
    assert_eq!((back.away, back.connected, back.acknowledged), (0, 2, 1), "it is back");
}

#[test]
fn a_peer_that_is_gone_takes_its_pods_along() {
    let book = AckBook::new();
    book.peer("p", Some(vec![report("x", 1)]));
    assert_eq!((book.standing(|_| None).connected, book.known_peers().len()), (1, 1));
    book.peer("p", None);
    assert_eq!((book.standing(|_| None).connected, book.known_peers().len()), (0, 0));
    assert_eq!(book.fleet().borrow().uids, ["x"], "it comes back to somebody, most likely");
}

#[test]
fn pods_that_lack_or_refuse_a_resource_are_named() {
    let (old, new) = (catalog(&[("a", 1)]), catalog(&[("a", 2)]));
    let book = AckBook::new();
    for uid in ["1", "2", "3", "4", "5"] {
        book.joined(report(uid, 1));
    }
    book.answered("1", 1, &old.revision(), vec![]);
    book.answered("2", 1, &new.revision(), vec![refusal(&new, "a")]);
    book.answered("3", 1, &new.revision(), vec![refusal(&new, "a")]);
    book.answered("4", 1, &new.revision(), vec![]);
    let held = progress(&book, &[&old, &new], "a", &new);
    assert_eq!(held.acknowledged, 1);
    assert_eq!(held.missing.to_string(), "ai/pod-1, ai/pod-5");
    assert_eq!(held.rejection.as_deref(), Some("pod ai/pod-2: no such word (also refused by ai/pod-3)"));
    book.left("1", 1);
    assert_eq!(progress(&book, &[&old, &new], "a", &new).away_names.to_string(), "ai/pod-1");
}

#[test]
fn a_rejected_key_is_known_for_as_long_as_a_connected_pod_says_so() {
    let (book, vendor) = (AckBook::new(), ObjectId::new("ai", "vendor"));
    let key = |status, since| RejectedKey { provider: vendor.clone(), status, since };
    let told = || book.standing(|_| None).key_rejection(&vendor);
    book.joined(report("1", 1));
    book.joined(report("2", 1));
    assert_eq!(told(), None);
    book.rejected_keys("1", 1, vec![key(401, 20)]);
    book.rejected_keys("2", 1, vec![key(403, 10)]);
    book.rejected_keys("2", 0, vec![]); // an older stream
    let both = told().unwrap();
    assert_eq!((both.status, both.since, both.pods.to_string().as_str()), (403, 10, "ai/pod-1, ai/pod-2"));
    book.rejected_keys("2", 1, vec![key(500, 10)]);
    assert_eq!(told().unwrap().pods.to_string(), "ai/pod-1", "another status says nothing of a key");
    let changes = *book.changed().borrow();
    book.rejected_keys("1", 1, vec![key(401, 20)]);
    assert_eq!(*book.changed().borrow(), changes, "nothing new");
    book.left("1", 1);
    assert_eq!(told(), None);
}
