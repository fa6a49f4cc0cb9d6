use super::*;
use serde_json::json;

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + seconds).unwrap()
}

fn value(seed: u8) -> (Secret, String, String) {
    let minted = token_format::mint(&[seed; token_format::ENTROPY]);
    (minted.value, minted.id, minted.sha256)
}

fn key(seed: u8, issued: i64, end: Option<i64>) -> KeyStatus {
    let (_, id, sha256) = value(seed);
    KeyStatus { id, sha256, issued_time: Time(at(issued)), not_after_time: end.map(|end| Time(at(end))) }
}

fn token(rotation: &serde_json::Value, keys: &[KeyStatus], revision: Option<i32>) -> ApiToken {
    serde_json::from_value(json!({
        "apiVersion": "routeapi.dev/v1alpha1", "kind": "ApiToken",
        "metadata": {"name": "checkout", "namespace": "shop", "uid": "u"},
        "spec": {"models": ["*"], "rotation": rotation},
        "status": {"keys": keys, "rotationRevision": revision},
    }))
    .unwrap()
}

fn ours(seed: u8) -> Held {
    let (value, id, _) = value(seed);
    Held::Ours(Ours { resource_version: None, value: Some(value), key_id: Some(id), revision: Some(0), fresh: true })
}

fn ids(keys: &Keys) -> Vec<(String, Option<i64>)> {
    let end = |key: &KeyStatus| key.not_after_time.as_ref().map(|it| it.0.as_second() - 1_800_000_000);
    keys.keys.iter().map(|key| (key.id.clone(), end(key))).collect()
}

fn id(seed: u8) -> String {
    value(seed).1
}

#[test]
fn a_settled_token_asks_for_nothing() {
    let token = token(&json!({"overlap": "1h"}), &[key(1, 0, None)], Some(0));
    let plan = plan(&token, &ours(1), at(100));
    assert_eq!((plan.next, plan.finding), (Next::Nothing, Finding::Ready));
    assert_eq!(plan.keys, Keys::of(&token), "and nothing is written");
}

#[test]
fn a_missing_secret_means_a_new_value_and_the_old_one_ends_at_once() {
    for keys in [vec![], vec![key(1, 0, None), key(2, 0, Some(500))]] {
        let plan = plan(&token(&json!(null), &keys, Some(0)), &Held::Absent, at(100));
        assert_eq!((plan.next, plan.finding), (Next::Mint, Finding::Minting));
        assert!(plan.keys.keys.is_empty());
    }
}

#[test]
fn a_spoilt_value_means_the_same() {
    let (other, ..) = value(9);
    for spoilt in [None, Some(Secret::new("hello")), Some(other)] {
        let Held::Ours(mut held) = ours(1) else { unreachable!() };
        held.value = spoilt;
        let plan = plan(&token(&json!(null), &[key(1, 0, None)], Some(0)), &Held::Ours(held), at(100));
        assert_eq!(plan.next, Next::Mint);
        assert!(plan.keys.keys.is_empty());
    }
}

#[test]
fn crash_before_the_secret_was_written_drops_the_key_that_nobody_saw() {
    let token = token(&json!({"overlap": "1h", "revision": 1}), &[key(1, 0, None), key(2, 50, None)], Some(0));
    let plan = plan(&token, &ours(1), at(100));
    assert_eq!(ids(&plan.keys), [(id(1), None)]);
    assert_eq!(plan.next, Next::Mint, "the rotation that was under way is done again");
}

#[test]
fn crash_after_the_secret_was_written_ends_the_old_key_and_does_not_rotate_again() {
    let token = token(&json!({"overlap": "1h", "revision": 1}), &[key(1, 0, None), key(2, 50, None)], Some(0));
    let Held::Ours(mut held) = ours(2) else { unreachable!() };
    held.revision = Some(1);
    let plan = plan(&token, &Held::Ours(held), at(100));
    assert_eq!(ids(&plan.keys), [(id(1), Some(3700)), (id(2), None)]);
    assert_eq!((plan.next, plan.keys.rotation_revision), (Next::Nothing, Some(1)));
}

#[test]
fn a_lost_status_is_rebuilt_from_the_secret() {
    let plan = plan(&token(&json!(null), &[], None), &ours(1), at(100));
    assert_eq!(ids(&plan.keys), [(id(1), None)]);
    assert_eq!((plan.next, plan.keys.rotation_revision), (Next::Nothing, Some(0)));
}

#[test]
fn keys_end_after_their_overlap() {
    let token = token(&json!(null), &[key(1, 0, Some(99)), key(2, 50, None)], Some(0));
    assert_eq!(ids(&plan(&token, &ours(2), at(98)).keys), [(id(1), Some(99)), (id(2), None)]);
    assert_eq!(ids(&plan(&token, &ours(2), at(99)).keys), [(id(2), None)]);
    assert_eq!(due(&token, &Keys::of(&token), at(90)).unwrap().as_secs(), 9);
}

#[test]
fn an_overlap_is_never_shorter_than_promised_and_none_ends_at_once() {
    let now = at(100).checked_add(Duration::from_millis(300)).unwrap();
    for (overlap, left) in [(4, vec![(id(1), Some(105)), (id(2), None)]), (0, vec![(id(2), None)])] {
        let mut keys = Keys { keys: vec![key(1, 0, None), key(2, 50, None)], rotation_revision: None };
        keys.retire_others(&id(2), Duration::from_secs(overlap), now);
        assert_eq!(ids(&keys), left);
    }
}

#[test]
fn rotation_by_interval_and_by_revision() {
    let by_interval = token(&json!({"interval": "10m", "overlap": "1m"}), &[key(1, 0, None)], Some(0));
    assert_eq!(plan(&by_interval, &ours(1), at(599)).next, Next::Nothing);
    assert_eq!(plan(&by_interval, &ours(1), at(600)).next, Next::Mint);
    assert_eq!(due(&by_interval, &Keys::of(&by_interval), at(590)).unwrap().as_secs(), 10);
    let by_revision = token(&json!({"overlap": "1m", "revision": 3}), &[key(1, 0, None)], Some(2));
    assert_eq!(plan(&by_revision, &ours(1), at(1)).next, Next::Mint);
}

#[test]
fn a_first_revision_above_zero_is_no_rotation() {
    let token = token(&json!({"overlap": "1m", "revision": 7}), &[], None);
    assert_eq!(plan(&token, &Held::Absent, at(0)).next, Next::Mint);
    let Held::Ours(mut held) = ours(1) else { unreachable!() };
    held.revision = Some(7);
    assert_eq!(plan(&token, &Held::Ours(held), at(1)).next, Next::Nothing);
}

#[test]
fn a_secret_of_somebody_else_is_left_alone() {
    let plan = plan(&token(&json!(null), &[key(1, 0, None)], Some(0)), &Held::Foreign(None), at(100));
    assert_eq!((plan.next, plan.finding), (Next::Nothing, Finding::NotOwned(None)));
    assert!(plan.keys.keys.is_empty(), "the value that we made is in no Secret any more");
}

#[test]
fn an_imported_value_works_by_its_hash_and_follows_its_secret() {
    let sha256 = token_format::sha256("old-key");
    let held = Held::Import(Import::Value(Secret::new("old-key")));
    let first = plan(&token(&json!(null), &[], None), &held, at(0));
    assert_eq!((first.next, first.finding), (Next::Nothing, Finding::Ready));
    assert_eq!((first.keys.keys[0].id.as_str(), first.keys.keys[0].sha256.as_str()), (&sha256[..12], sha256.as_str()));

    let changed = Held::Import(Import::Value(Secret::new("new-key")));
    let without = plan(&token(&json!(null), &first.keys.keys, Some(0)), &changed, at(100));
    assert_eq!(without.keys.keys.len(), 1, "the old value ends at once");
    let with = plan(&token(&json!({"overlap": "1h"}), &first.keys.keys, Some(0)), &changed, at(100));
    assert_eq!(ids(&with.keys)[0], (sha256[..12].to_owned(), Some(3700)));
    let empty = plan(&token(&json!(null), &first.keys.keys, Some(0)), &Held::Import(Import::Missing), at(100));
    assert_eq!((empty.finding, empty.keys.keys.len()), (Finding::KeyMissing, 0));
}

#[test]
fn a_status_never_holds_more_keys_than_it_admits() {
    let held = [key(1, 0, Some(900)), key(2, 1, Some(300)), key(3, 2, Some(600)), key(4, 3, None)];
    let mut keys = Keys { keys: held.to_vec(), rotation_revision: None };
    keys.add(key(5, 4, None));
    let left: Vec<_> = keys.keys.iter().map(|key| key.id.clone()).collect();
    assert_eq!(left, [id(1), id(3), id(4), id(5)], "the one that would have ended first is gone");
}

#[test]
fn a_secret_that_is_out_of_date_is_written_again_with_its_value() {
    let Held::Ours(mut held) = ours(1) else { unreachable!() };
    held.fresh = false;
    let plan = plan(&token(&json!(null), &[key(1, 0, None)], Some(0)), &Held::Ours(held), at(100));
    assert_eq!((plan.next, plan.finding), (Next::Refresh, Finding::Ready));
}

#[test]
fn an_imported_value_that_is_too_short_stands_for_nothing() {
    let held = Held::Import(Import::Unusable(Unusable::TooShort(3)));
    let plan = plan(&token(&json!(null), &[key(1, 0, None)], Some(0)), &held, at(100));
    assert_eq!((plan.next, plan.finding), (Next::Nothing, Finding::KeyUnusable(Unusable::TooShort(3))));
    assert!(plan.keys.keys.is_empty());
}

#[test]
fn a_secret_that_is_being_deleted_keeps_its_key_until_it_is_gone() {
    let token = token(&json!(null), &[key(1, 0, None)], Some(0));
    let plan = plan(&token, &Held::Terminating(vec!["x/hold".to_owned()]), at(100));
    assert_eq!((plan.next, plan.finding), (Next::Nothing, Finding::Terminating(vec!["x/hold".to_owned()])));
    assert_eq!(plan.keys, Keys::of(&token));
}

/// Issued in the same second, so that times do not tell which came first.
#[test]
fn a_retry_of_a_rotation_asks_for_the_keys_that_the_first_try_wrote() {
    let first_try = [key(1, 0, None), key(2, 0, None)];
    let token = token(&json!({"overlap": "1h", "revision": 1}), &first_try, Some(0));
    let mut plan = plan(&token, &ours(1), at(100));
    assert_eq!(plan.next, Next::Mint);
    plan.keys.add(key(2, 0, None));
    assert_eq!(plan.keys, Keys::of(&token), "nothing to write, nothing to publish");
}
