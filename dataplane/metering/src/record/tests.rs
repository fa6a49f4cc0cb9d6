use proptest::{collection::vec, option, prelude::*};
use serde_json::{Value, json};

use super::*;

fn code() -> impl Strategy<Value = Option<Cow<'static, str>>> {
    // What is written comes from a closed set; what is read may be anything.
    prop_oneof![Just(None), Just(Some(Cow::Borrowed("truncated"))), ".*".prop_map(|text| Some(Cow::Owned(text)))]
}

fn source() -> impl Strategy<Value = UsageSource> {
    prop_oneof![
        Just(UsageSource::Reported),
        Just(UsageSource::Counted),
        Just(UsageSource::Estimated),
        Just(UsageSource::None)
    ]
}

fn outcome() -> impl Strategy<Value = Outcome> {
    prop_oneof![
        Just(Outcome::Completed),
        Just(Outcome::ClientCancelled),
        Just(Outcome::UpstreamFailed),
        Just(Outcome::LimitStopped),
        Just(Outcome::GatewayStopped)
    ]
}

fn usage() -> impl Strategy<Value = Usage> {
    any::<[Option<u64>; 5]>().prop_map(|[input, cache_read, cache_write, output, reasoning]| Usage {
        input,
        cache_read,
        cache_write,
        output,
        reasoning,
    })
}

fn attempt() -> impl Strategy<Value = AttemptRecord> {
    let names = (".*", ".*", ".*");
    (names, any::<Option<u16>>(), code(), any::<[u64; 2]>(), usage(), source()).prop_map(
        |((upstream, provider, model), status, error, [duration_ms, cost_nano_usd], usage, usage_source)| {
            AttemptRecord {
                upstream,
                provider,
                model,
                status,
                error,
                duration_ms,
                usage,
                usage_source,
                cost_nano_usd,
                price: None,
            }
        },
    )
}

fn affinity() -> impl Strategy<Value = Option<Affinity>> {
    let affinity = (".*", ".*", any::<bool>());
    option::of(affinity.prop_map(|(key, upstream, kept)| Affinity { key: Cow::Owned(key), upstream, kept, session: 0 }))
}

fn record() -> impl Strategy<Value = UsageRecord> {
    let names = (".*", option::of(".*"), option::of(".*"), option::of(".*"), option::of(".*"));
    let times = (any::<i64>(), any::<[u64; 2]>(), any::<Option<u64>>());
    let end = (any::<bool>(), any::<u16>(), outcome(), code(), code());
    (names, times, end, usage(), source(), affinity(), vec(attempt(), 0..4)).prop_map(
        |((id, token, key_id, route, model), times, end, usage, usage_source, affinity, attempts)| {
            let (time_unix_ms, [duration_ms, cost_nano_usd], first_content_ms) = times;
            let (stream, status, outcome, error, operation) = end;
            UsageRecord {
                id,
                time_unix_ms,
                duration_ms,
                first_content_ms,
                token,
                key_id,
                route,
                model,
                operation,
                stream,
                status,
                outcome,
                error,
                usage,
                usage_source,
                affinity,
                cost_nano_usd,
                attempts,
            }
        },
    )
}

proptest! {
    #[test]
    fn records_are_read_back_unchanged(record in record()) {
        let line = serde_json::to_string(&record).unwrap();
        prop_assert_eq!(serde_json::from_str::<UsageRecord>(&line).unwrap(), record);
    }
}

fn example() -> Value {
    json!({
        "id": "req-1", "time_unix_ms": 1_700_000_000_000_i64, "duration_ms": 20, "token": "apps/chat", "stream": true,
        "operation": "chat_completions", "status": 200, "outcome": "completed", "usage": {"input": 3, "output": 4},
        "usage_source": "reported", "cost_nano_usd": 70,
        "attempts": [{
            "upstream": "a", "provider": "ai/openai", "model": "gpt", "status": 200, "duration_ms": 19,
            "usage": {"input": 3, "output": 4}, "usage_source": "reported", "cost_nano_usd": 70,
        }],
    })
}

#[test]
fn members_of_a_newer_version_are_ignored() {
    let known: UsageRecord = serde_json::from_value(example()).unwrap();
    let mut newer = example();
    newer["region"] = json!("eu");
    newer["usage"]["audio"] = json!(7);
    newer["attempts"][0]["started_unix_ms"] = json!(1);
    // A code that this version does not have is kept as it is.
    newer["error"] = json!("a_newer_code");
    let read: UsageRecord = serde_json::from_value(newer).unwrap();
    assert_eq!(read, UsageRecord { error: Some("a_newer_code".into()), ..known });
}

#[test]
fn members_that_an_older_version_lacks_are_absent_or_zero() {
    let oldest = json!({"id": "req-1", "time_unix_ms": 5, "outcome": "completed", "usage_source": "none"});
    let read: UsageRecord = serde_json::from_value(oldest).unwrap();
    let expected = UsageRecord {
        id: "req-1".to_owned(),
        time_unix_ms: 5,
        duration_ms: 0,
        first_content_ms: None,
        token: None,
        key_id: None,
        route: None,
        model: None,
        operation: None,
        stream: false,
        status: 0,
        outcome: Outcome::Completed,
        error: None,
        usage: Usage::default(),
        usage_source: UsageSource::None,
        affinity: None,
        cost_nano_usd: 0,
        attempts: Vec::new(),
    };
    assert_eq!(read, expected);
    for needed in ["id", "time_unix_ms", "outcome", "usage_source"] {
        let mut broken = example();
        broken.as_object_mut().unwrap().remove(needed);
        let error = serde_json::from_value::<UsageRecord>(broken).unwrap_err().to_string();
        assert!(error.contains(needed), "{error}");
    }
}
