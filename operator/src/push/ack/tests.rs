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

fn rejected(catalog: &Catalog, name: &str) -> RejectedResource {
    RejectedResource {
        key: key(name),
        version: catalog.get(&key(name)).unwrap().version.clone(),
        message: "no such word".into(),
    }
}

/// What is known of a resource when these states can be recalled.
fn progress(book: &AckBook, states: &[&Arc<Catalog>], name: &str, of: &Catalog) -> Progress {
    let resolve =
        |revision: &Revision| states.iter().find(|state| state.revision() == *revision).map(|state| Arc::clone(state));
    book.summary(resolve).of(&key(name), &of.get(&key(name)).unwrap().version)
}

#[test]
fn a_pod_has_acknowledged_a_resource_if_its_state_contains_the_version() {
    let (old, new) = (catalog(&[("a", 1), ("b", 1)]), catalog(&[("a", 1), ("b", 2)]));
    let book = AckBook::new();
    for uid in ["1", "2", "3"] {
        book.connected(report(uid, 1));
    }
    book.acknowledged("1", 1, &old.revision(), vec![]);
    book.acknowledged("2", 1, &new.revision(), vec![]);
    let (a, b) = (progress(&book, &[&old, &new], "a", &new), progress(&book, &[&old, &new], "b", &new));
    assert_eq!((a.acknowledged, b.acknowledged, a.connected), (2, 1, 3), "a is the same in both states");
    book.acknowledged("1", 1, &new.revision(), vec![]);
    book.acknowledged("3", 1, &new.revision(), vec![]);
    assert!(progress(&book, &[&new], "b", &new).complete());
}

#[test]
fn a_rejection_is_about_its_version_only() {
    let (old, new) = (catalog(&[("a", 1)]), catalog(&[("a", 2)]));
    let book = AckBook::new();
    book.connected(report("1", 1));
    book.connected(report("2", 1));
    book.acknowledged("1", 1, &old.revision(), vec![rejected(&old, "a")]);
    book.acknowledged("2", 1, &old.revision(), vec![]);
    let result = progress(&book, &[&old], "a", &old);
    assert_eq!((result.acknowledged, result.rejection.as_deref()), (1, Some("pod ai/pod-1: no such word")));
    assert_eq!(progress(&book, &[&old, &new], "a", &new).rejection, None);
}

#[test]
fn of_several_streams_of_a_pod_the_newest_counts() {
    let state = catalog(&[("a", 1)]);
    let book = AckBook::new();
    let since = book.connected(report("1", 100));
    let mut elsewhere = report("1", 200);
    elsewhere.revision = Some(state.revision());
    book.set_peer_reports("10.0.0.2:8443", Some(vec![elsewhere]));
    let result = progress(&book, &[&state], "a", &state);
    assert_eq!((result.acknowledged, result.connected), (1, 1), "one pod, by its newer stream");
    assert!(!book.is_newest("1", since));
    let again = book.connected(report("1", 150));
    assert!(again > 200 && book.is_newest("1", again), "a stream that opens now is the newest, whatever clocks say");
    book.disconnected("1", since);
    assert_eq!(book.local_reports().len(), 1, "the end of the older stream is not the end of the pod");
}

#[test]
fn a_disconnected_pod_keeps_its_share_for_a_while() {
    let book = AckBook::new();
    let fleet = book.fleet();
    book.connected(report("b", 1));
    book.connected(report("a", 1));
    assert_eq!(fleet.borrow().uids, ["a", "b"]);
    book.disconnected("a", 1);
    assert_eq!(fleet.borrow().uids, ["a", "b"], "it may be serving still");
    assert_eq!(book.summary(|_| None).connected, 1, "but it acknowledges nothing");
    book.lock().disconnected.get_mut("a").unwrap().at = Instant::now().checked_sub(SHARE_RELEASE_DELAY).unwrap();
    book.expire_disconnected();
    assert_eq!(fleet.borrow().uids, ["b"]);
}

#[test]
fn a_recently_disconnected_pod_counts_where_it_lacks_a_resource() {
    let (old, new) = (catalog(&[("a", 1), ("b", 1)]), catalog(&[("a", 1), ("b", 2)]));
    let book = AckBook::new();
    book.connected(report("1", 1));
    book.connected(report("2", 1));
    book.acknowledged("1", 1, &old.revision(), vec![]);
    book.acknowledged("2", 1, &new.revision(), vec![]);
    book.disconnected("1", 1);
    let (a, b) = (progress(&book, &[&old, &new], "a", &new), progress(&book, &[&old, &new], "b", &new));
    assert_eq!((a.recently_disconnected, b.recently_disconnected, b.connected, b.acknowledged), (0, 1, 1, 1));
    book.lock().disconnected.get_mut("1").unwrap().at = Instant::now().checked_sub(RECONNECT_GRACE).unwrap();
    assert_eq!(progress(&book, &[&old, &new], "b", &new).recently_disconnected, 0, "it is gone");
    book.lock().disconnected.get_mut("1").unwrap().at = Instant::now();
    book.connected(report("1", 2));
    let back = progress(&book, &[&old, &new], "b", &new);
    assert_eq!((back.recently_disconnected, back.connected, back.acknowledged), (0, 2, 1), "it is back");
}

#[test]
fn the_reports_of_an_unreachable_replica_are_dropped() {
    let book = AckBook::new();
    book.set_peer_reports("p", Some(vec![report("x", 1)]));
    assert_eq!((book.summary(|_| None).connected, book.known_peers().len()), (1, 1));
    book.set_peer_reports("p", None);
    assert_eq!((book.summary(|_| None).connected, book.known_peers().len()), (0, 0));
    assert_eq!(book.fleet().borrow().uids, ["x"], "it comes back to somebody, most likely");
}

#[test]
fn pods_that_lack_or_reject_a_resource_are_named() {
    let (old, new) = (catalog(&[("a", 1)]), catalog(&[("a", 2)]));
    let book = AckBook::new();
    for uid in ["1", "2", "3", "4", "5"] {
        book.connected(report(uid, 1));
    }
    book.acknowledged("1", 1, &old.revision(), vec![]);
    book.acknowledged("2", 1, &new.revision(), vec![rejected(&new, "a")]);
    book.acknowledged("3", 1, &new.revision(), vec![rejected(&new, "a")]);
    book.acknowledged("4", 1, &new.revision(), vec![]);
    let result = progress(&book, &[&old, &new], "a", &new);
    assert_eq!(result.acknowledged, 1);
    assert_eq!(result.missing.to_string(), "ai/pod-1, ai/pod-5");
    assert_eq!(result.rejection.as_deref(), Some("pod ai/pod-2: no such word (also rejected by ai/pod-3)"));
    book.disconnected("1", 1);
    assert_eq!(progress(&book, &[&old, &new], "a", &new).recently_disconnected_names.to_string(), "ai/pod-1");
}

#[test]
fn a_key_is_rejected_while_a_connected_pod_reports_it() {
    let (book, vendor) = (AckBook::new(), ObjectId::new("ai", "vendor"));
    let key = |status, since| RejectedKey { provider: vendor.clone(), status, since, message: None };
    let rejection = || book.summary(|_| None).key_rejection(&vendor);
    book.connected(report("1", 1));
    book.connected(report("2", 1));
    assert_eq!(rejection(), None);
    book.rejected_keys("1", 1, vec![key(401, 20)]);
    book.rejected_keys("2", 1, vec![key(403, 10)]);
    book.rejected_keys("2", 0, vec![]); // an older stream
    let both = rejection().unwrap();
    assert_eq!((both.status, both.since, both.pods.to_string().as_str()), (403, 10, "ai/pod-1, ai/pod-2"));
    book.rejected_keys("2", 1, vec![key(500, 10)]);
    assert_eq!(rejection().unwrap().pods.to_string(), "ai/pod-1", "another status says nothing of a key");
    let changes = *book.changed().borrow();
    book.rejected_keys("1", 1, vec![key(401, 20)]);
    assert_eq!(*book.changed().borrow(), changes, "nothing new");
    book.disconnected("1", 1);
    assert_eq!(rejection(), None);
}
