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

fn managed(seed: u8) -> FoundSecret {
    let (value, id, _) = value(seed);
    FoundSecret::Managed(ManagedSecret {
        resource_version: None,
        value: Some(value),
        key_id: Some(id),
        revision: Some(0),
        up_to_date: true,
    })
}

fn ids(keys: &Keys) -> Vec<(String, Option<i64>)> {
    let end = |key: &KeyStatus| key.not_after_time.as_ref().map(|time| time.0.as_second() - 1_800_000_000);
    keys.keys.iter().map(|key| (key.id.clone(), end(key))).collect()
}

fn id(seed: u8) -> String {
    value(seed).1
}

#[test]
fn a_reconciled_token_needs_no_action() {
    let token = token(&json!({"overlap": "1h"}), &[key(1, 0, None)], Some(0));
    let plan = plan(&token, &managed(1), at(100));
    assert_eq!((plan.action, plan.state), (SecretAction::None, SecretState::Ready));
    assert_eq!(plan.keys, Keys::of(&token), "and nothing is written");
}

#[test]
fn a_missing_secret_gets_a_new_key_and_the_old_one_ends_immediately() {
    for keys in [vec![], vec![key(1, 0, None), key(2, 0, Some(500))]] {
        let plan = plan(&token(&json!(null), &keys, Some(0)), &FoundSecret::Missing, at(100));
        assert_eq!((plan.action, plan.state), (SecretAction::Issue, SecretState::Issuing));
        assert!(plan.keys.keys.is_empty());
    }
}

#[test]
fn a_token_without_a_key_loses_those_it_had() {
    for keys in [vec![], vec![key(1, 0, None), key(2, 0, Some(500))]] {
        let plan = plan(&token(&json!(null), &keys, Some(0)), &FoundSecret::NotRequired, at(100));
        assert_eq!((plan.action, plan.state), (SecretAction::None, SecretState::NotRequired));
        assert_eq!(plan.keys, Keys { keys: Vec::new(), rotation_revision: None });
    }
}

#[test]
fn a_damaged_value_is_replaced_like_a_missing_secret() {
    let (other, ..) = value(9);
    for invalid in [None, Some(Secret::new("hello")), Some(other)] {
        let FoundSecret::Managed(mut secret) = managed(1) else { unreachable!() };
        secret.value = invalid;
        let plan = plan(&token(&json!(null), &[key(1, 0, None)], Some(0)), &FoundSecret::Managed(secret), at(100));
        assert_eq!(plan.action, SecretAction::Issue);
        assert!(plan.keys.keys.is_empty());
    }
}

#[test]
fn a_crash_before_the_secret_was_written_drops_the_unused_key() {
    let token = token(&json!({"overlap": "1h", "revision": 1}), &[key(1, 0, None), key(2, 50, None)], Some(0));
    let plan = plan(&token, &managed(1), at(100));
    assert_eq!(ids(&plan.keys), [(id(1), None)]);
    assert_eq!(plan.action, SecretAction::Issue, "the rotation that was under way is done again");
}

#[test]
fn a_crash_after_the_secret_was_written_ends_the_old_key() {
    let token = token(&json!({"overlap": "1h", "revision": 1}), &[key(1, 0, None), key(2, 50, None)], Some(0));
    let FoundSecret::Managed(mut secret) = managed(2) else { unreachable!() };
    secret.revision = Some(1);
    let plan = plan(&token, &FoundSecret::Managed(secret), at(100));
    assert_eq!(ids(&plan.keys), [(id(1), Some(3700)), (id(2), None)]);
    assert_eq!((plan.action, plan.keys.rotation_revision), (SecretAction::None, Some(1)));
}

#[test]
fn a_lost_status_is_rebuilt_from_the_secret() {
    let plan = plan(&token(&json!(null), &[], None), &managed(1), at(100));
    assert_eq!(ids(&plan.keys), [(id(1), None)]);
    assert_eq!((plan.action, plan.keys.rotation_revision), (SecretAction::None, Some(0)));
}

#[test]
fn keys_end_after_their_overlap() {
    let token = token(&json!(null), &[key(1, 0, Some(99)), key(2, 50, None)], Some(0));
    assert_eq!(ids(&plan(&token, &managed(2), at(98)).keys), [(id(1), Some(99)), (id(2), None)]);
    assert_eq!(ids(&plan(&token, &managed(2), at(99)).keys), [(id(2), None)]);
    assert_eq!(due(&token, &Keys::of(&token), at(90)).unwrap().as_secs(), 9);
}

#[test]
fn the_end_of_an_overlap_is_rounded_up() {
    let now = at(100).checked_add(Duration::from_millis(300)).unwrap();
    for (overlap, left) in [(4, vec![(id(1), Some(105)), (id(2), None)]), (0, vec![(id(2), None)])] {
        let mut keys = Keys { keys: vec![key(1, 0, None), key(2, 50, None)], rotation_revision: None };
        keys.retire_others(&id(2), Duration::from_secs(overlap), now);
        assert_eq!(ids(&keys), left);
    }
}

#[test]
fn the_interval_and_the_revision_cause_a_rotation() {
    let by_interval = token(&json!({"interval": "10m", "overlap": "1m"}), &[key(1, 0, None)], Some(0));
    assert_eq!(plan(&by_interval, &managed(1), at(599)).action, SecretAction::None);
    assert_eq!(plan(&by_interval, &managed(1), at(600)).action, SecretAction::Issue);
    assert_eq!(due(&by_interval, &Keys::of(&by_interval), at(590)).unwrap().as_secs(), 10);
    let by_revision = token(&json!({"overlap": "1m", "revision": 3}), &[key(1, 0, None)], Some(2));
    assert_eq!(plan(&by_revision, &managed(1), at(1)).action, SecretAction::Issue);
}

#[test]
fn a_new_token_with_a_revision_is_not_rotated() {
    let token = token(&json!({"overlap": "1m", "revision": 7}), &[], None);
    assert_eq!(plan(&token, &FoundSecret::Missing, at(0)).action, SecretAction::Issue);
    let FoundSecret::Managed(mut secret) = managed(1) else { unreachable!() };
    secret.revision = Some(7);
    assert_eq!(plan(&token, &FoundSecret::Managed(secret), at(1)).action, SecretAction::None);
}

#[test]
fn a_secret_with_another_owner_is_left_alone() {
    let plan = plan(&token(&json!(null), &[key(1, 0, None)], Some(0)), &FoundSecret::NotOwned(None), at(100));
    assert_eq!((plan.action, plan.state), (SecretAction::None, SecretState::NotOwned(None)));
    assert!(plan.keys.keys.is_empty(), "the value that we made is in no Secret any more");
}

#[test]
fn an_imported_key_follows_its_secret() {
    let sha256 = token_format::sha256("old-key");
    let found = FoundSecret::Import(Import::Value(Secret::new("old-key")));
    let first = plan(&token(&json!(null), &[], None), &found, at(0));
    assert_eq!((first.action, first.state), (SecretAction::None, SecretState::Ready));
    assert_eq!((first.keys.keys[0].id.as_str(), first.keys.keys[0].sha256.as_str()), (&sha256[..12], sha256.as_str()));

    let changed = FoundSecret::Import(Import::Value(Secret::new("new-key")));
    let without = plan(&token(&json!(null), &first.keys.keys, Some(0)), &changed, at(100));
    assert_eq!(without.keys.keys.len(), 1, "the old value ends at once");
    let with = plan(&token(&json!({"overlap": "1h"}), &first.keys.keys, Some(0)), &changed, at(100));
    assert_eq!(ids(&with.keys)[0], (sha256[..12].to_owned(), Some(3700)));
    let empty = plan(&token(&json!(null), &first.keys.keys, Some(0)), &FoundSecret::Import(Import::Missing), at(100));
    assert_eq!((empty.state, empty.keys.keys.len()), (SecretState::KeyMissing, 0));
}

#[test]
fn the_number_of_keys_is_limited() {
    let found = [key(1, 0, Some(900)), key(2, 1, Some(300)), key(3, 2, Some(600)), key(4, 3, None)];
    let mut keys = Keys { keys: found.to_vec(), rotation_revision: None };
    keys.add(key(5, 4, None));
    let left: Vec<_> = keys.keys.iter().map(|key| key.id.clone()).collect();
    assert_eq!(left, [id(1), id(3), id(4), id(5)], "the one that would have ended first is gone");
}

#[test]
fn an_outdated_secret_is_refreshed_with_the_same_key() {
    let FoundSecret::Managed(mut secret) = managed(1) else { unreachable!() };
    secret.up_to_date = false;
    let plan = plan(&token(&json!(null), &[key(1, 0, None)], Some(0)), &FoundSecret::Managed(secret), at(100));
    assert_eq!((plan.action, plan.state), (SecretAction::Refresh, SecretState::Ready));
}

#[test]
fn an_invalid_imported_value_is_not_a_key() {
    let found = FoundSecret::Import(Import::Invalid(ImportError::TooShort(3)));
    let plan = plan(&token(&json!(null), &[key(1, 0, None)], Some(0)), &found, at(100));
    assert_eq!((plan.action, plan.state), (SecretAction::None, SecretState::KeyInvalid(ImportError::TooShort(3))));
    assert!(plan.keys.keys.is_empty());
}

#[test]
fn a_terminating_secret_keeps_its_key() {
    let token = token(&json!(null), &[key(1, 0, None)], Some(0));
    let plan = plan(&token, &FoundSecret::Terminating(vec!["x/hold".to_owned()]), at(100));
    assert_eq!((plan.action, plan.state), (SecretAction::None, SecretState::Terminating(vec!["x/hold".to_owned()])));
    assert_eq!(plan.keys, Keys::of(&token));
}

/// Issued in the same second, so that their times do not determine the order.
#[test]
fn a_retried_rotation_writes_the_same_keys() {
    let first_try = [key(1, 0, None), key(2, 0, None)];
    let token = token(&json!({"overlap": "1h", "revision": 1}), &first_try, Some(0));
    let mut plan = plan(&token, &managed(1), at(100));
    assert_eq!(plan.action, SecretAction::Issue);
    plan.keys.add(key(2, 0, None));
    assert_eq!(plan.keys, Keys::of(&token), "nothing to write, nothing to publish");
}
