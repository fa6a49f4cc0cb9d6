use proptest::{collection::vec, option, prelude::*};
use serde_json::{Value, json};

use super::*;

fn tokens() -> impl Strategy<Value = Tokens> {
    any::<[Option<u64>; 5]>().prop_map(|[input, cache_read, cache_write, output, reasoning]| Tokens {
        input,
        cache_read,
        cache_write,
        output,
        reasoning,
    })
}

fn source() -> impl Strategy<Value = UsageSource> {
    prop_oneof![Just(UsageSource::Reported), Just(UsageSource::Counted), Just(UsageSource::None)]
}

fn attempt() -> impl Strategy<Value = Attempt> {
    let price = (".*", any::<[u64; 4]>()).prop_map(|(id, [input, cache_read, cache_write, output])| PriceUsed {
        id,
        input,
        cache_read,
        cache_write,
        output,
    });
    (
        [".*", ".*", ".*"],
        any::<Option<u16>>(),
        option::of(".*"),
        any::<[u64; 2]>(),
        tokens(),
        source(),
        option::of(price),
    )
        .prop_map(
            |([upstream, provider, model], status, error, [duration_ms, cost_nano], tokens, usage_source, price)| {
                Attempt {
                    upstream,
                    provider,
                    model,
                    status,
                    error,
                    duration_ms,
                    tokens,
                    usage_source,
                    cost_nano,
                    price,
                }
            },
        )
}

/// A request like any other.
pub(crate) fn request(id: &str) -> Request {
    Request {
        id: id.to_owned(),
        time_unix_ms: 1_700_000_000_000,
        duration_ms: 20,
        first_content_ms: Some(3),
        trace_id: None,
        namespace: Some("apps".to_owned()),
        token: Some("apps/chat".to_owned()),
        key_id: Some("k".to_owned()),
        session: None,
        route: Some("apps/gpt".to_owned()),
        operation: Some("chat_completions".to_owned()),
        stream: true,
        model: Some("gpt".to_owned()),
        served: Some(Served { provider: "ai/p".to_owned(), upstream: "up".to_owned(), model: "gpt-x".to_owned() }),
        status: 200,
        outcome: Outcome::Completed,
        error: None,
        message: None,
        tokens: Tokens { input: Some(30), output: Some(12), ..Tokens::default() },
        usage_source: UsageSource::Reported,
        cost_nano: 700,
        currency: "USD".to_owned(),
        warnings: vec!["dropped;field=seed".to_owned()],
        attempts: vec![Attempt {
            upstream: "up".to_owned(),
            provider: "ai/p".to_owned(),
            model: "gpt-x".to_owned(),
            status: Some(200),
            error: None,
            duration_ms: 19,
            tokens: Tokens { input: Some(30), output: Some(12), ..Tokens::default() },
            usage_source: UsageSource::Reported,
            cost_nano: 700,
            price: Some(PriceUsed {
                id: "manifest:ai/p/up#00".to_owned(),
                input: 1,
                cache_read: 2,
                cache_write: 3,
                output: 4,
            }),
        }],
    }
}

proptest! {
    #[test]
    fn entries_are_read_back_unchanged(
        id in ".*", time in any::<i64>(), texts in option::of(".*"), counts in tokens(), cost in any::<u64>(),
        attempts in vec(attempt(), 0..4), warnings in vec(".*", 0..4),
    ) {
        let entry = Entry::Request(Request {
            time_unix_ms: time, model: texts.clone(), message: texts, tokens: counts, cost_nano: cost, attempts, warnings,
            ..request(&id)
        });
        prop_assert_eq!(Entry::from_json(&entry.to_json().unwrap()).unwrap(), entry);
    }

    #[test]
    fn any_bytes_are_survived(bytes in vec(any::<u8>(), 0..100)) {
        drop(Entry::from_json(&bytes));
    }
}

fn value(entry: &Entry) -> Value {
    serde_json::from_slice(&entry.to_json().unwrap()).unwrap()
}

fn read(value: &Value) -> Result<Entry, InvalidEntry> {
    Entry::from_json(&serde_json::to_vec(value).unwrap())
}

#[test]
fn members_of_a_newer_minor_version_are_skipped() {
    let entry = Entry::Request(request("a"));
    let mut newer = value(&entry);
    newer["schema"] = json!("routeapi.usage/1.17");
    newer["region"] = json!("eu");
    newer["tokens"]["audio"] = json!(3);
    assert_eq!(read(&newer).unwrap(), entry);
}

#[test]
fn another_major_version_is_refused_and_named() {
    let mut other = value(&Entry::Request(request("a")));
    other["schema"] = json!("routeapi.usage/2.0");
    let error = read(&other).unwrap_err().to_string();
    assert!(error.contains("its schema is routeapi.usage/2.0; this program reads routeapi.usage/1.x"), "{error}");
    other["schema"] = json!("usage/1.0");
    assert!(read(&other).unwrap_err().to_string().contains("no version of its schema"));
    other.as_object_mut().unwrap().remove("schema");
    assert!(read(&other).unwrap_err().to_string().contains("missing field `schema`"));
}

#[test]
fn members_that_are_missing_are_absent_or_zero() {
    let least = json!({
        "schema": "routeapi.usage/1.0", "kind": "request", "id": "a", "time_unix_ms": 5, "outcome": "completed",
        "usage_source": "none",
    });
    let Entry::Request(read) = read(&least).unwrap() else { panic!() };
    assert_eq!((read.cost_nano, read.currency.as_str(), read.attempts.len()), (0, "USD", 0));
}

#[test]
fn gap_says_what_is_known() {
    let gap = Gap {
        id: "g".to_owned(),
        time_unix_ms: 1,
        reason: GapReason::UncleanStop,
        lost: None,
        from_sequence: Some(7),
        to_sequence: None,
        bytes: 0,
    };
    let expected = json!({
        "schema": "routeapi.usage/1.0", "kind": "gap", "id": "g", "time_unix_ms": 1, "reason": "unclean_stop",
        "from_sequence": 7, "bytes": 0,
    });
    assert_eq!(value(&Entry::Gap(gap)), expected);
}

#[test]
fn hostile_texts_are_bounded_and_sums_stay() {
    let long = "\u{1}".repeat(100_000);
    let attempt = Attempt {
        upstream: long.clone(),
        provider: long.clone(),
        model: long.clone(),
        error: Some(long.clone()),
        price: Some(PriceUsed { id: long.clone(), input: 0, cache_read: 0, cache_write: 0, output: 0 }),
        cost_nano: 3,
        ..request("a").attempts.remove(0)
    };
    let hostile = Request {
        model: Some(long.clone()),
        message: Some(long.clone()),
        token: Some(long.clone()),
        warnings: vec![long; 5_000],
        attempts: vec![attempt; 5_000],
        ..request("a")
    };
    let bounded = hostile.bounded();
    assert_eq!(bounded.attempts.iter().map(|attempt| attempt.cost_nano).sum::<u64>(), 15_000);
    assert_eq!(bounded.attempts.iter().map(|attempt| attempt.tokens.input.unwrap()).sum::<u64>(), 150_000);
    assert_eq!(bounded.warnings.last().unwrap(), "more;count=4969");
    let size = Entry::Request(bounded).to_json().unwrap().len();
    assert!(size < crate::frame::MAX_ENTRY, "{size}");
}
