use super::*;

fn limit(quantity: Quantity) -> Vec<Limit> {
    vec![Limit { name: "it".to_owned(), period: Period::Minute, quantity, is_strict: false }]
}

fn tokens(tokens: u64) -> Estimate {
    Estimate { tokens, spend: 0, is_single: true }
}

#[test]
fn reserved_amount_is_not_available_to_others() {
    let mut account = Account::new(limit(Quantity::Tokens(100)), None, Share::default());
    let first = account.reserve(0, tokens(60)).unwrap();
    let refused = account.reserve(0, tokens(60)).unwrap_err();
    assert_eq!((refused.kind, refused.retry_after_ms), (ExceededKind::Tokens, None), "{refused:?}");
    account.settle(0, first, Actual { tokens: 10, spend: 0 });
    let second = account.reserve(0, tokens(60)).unwrap();
    account.release(second);
    assert_eq!(account.remaining(0)[0].2, 90);
}

#[test]
fn refusal_gives_the_retry_time() {
    let mut account = Account::new(limit(Quantity::Requests(2)), None, Share::default());
    for _ in 0..2 {
        let ticket = account.reserve(0, Estimate::default()).unwrap();
        account.settle(0, ticket, Actual::default());
    }
    assert_eq!(account.reserve(500, Estimate::default()).unwrap_err().retry_after_ms, Some(60_500));
    let ticket = account.reserve(61_000, Estimate::default()).unwrap();
    account.release(ticket);
}

#[test]
fn request_larger_than_the_cap_runs_alone() {
    let mut account = Account::new(limit(Quantity::Tokens(100)), None, Share::default());
    let large = account.reserve(0, tokens(5_000)).unwrap();
    assert!(account.reserve(0, tokens(1)).is_err());
    account.settle(0, large, Actual { tokens: 50, spend: 0 });
    assert!(account.reserve(0, tokens(5_000)).is_err(), "now something is used");
    let small = account.reserve(0, tokens(50)).unwrap();
    account.release(small);
}

#[test]
fn settle_and_release_free_concurrency() {
    let mut account = Account::new(Vec::new(), Some(1), Share::default());
    let ticket = account.reserve(0, Estimate::default()).unwrap();
    assert_eq!(account.reserve(0, Estimate::default()).unwrap_err().kind, ExceededKind::Concurrency);
    account.settle(0, ticket, Actual::default());
    let ticket = account.reserve(0, Estimate::default()).unwrap();
    account.release(ticket);
    assert_eq!(account.in_flight(), 0);
}

#[test]
fn shares_add_up_to_the_cap_exactly() {
    for (cap, of) in [(10, 3), (2, 5), (0, 4), (7, 1)] {
        let sum: u64 = (0..of).map(|rank| Share { of, rank }.of(cap)).sum();
        assert_eq!(sum, cap);
    }
}

#[test]
fn changing_a_cap_keeps_usage() {
    let mut account = Account::new(limit(Quantity::Tokens(100)), None, Share::default());
    let ticket = account.reserve(0, tokens(80)).unwrap();
    account.configure(limit(Quantity::Tokens(90)), None, Share::default());
    assert!(account.reserve(0, tokens(20)).is_err(), "the reservation survived");
    account.settle(0, ticket, Actual { tokens: 80, spend: 0 });
    assert_eq!(account.remaining(0)[0].2, 10);
}

fn named(name: &str, period: Period, quantity: Quantity) -> Limit {
    Limit { name: name.to_owned(), period, quantity, is_strict: false }
}

fn used_up(limits: Vec<Limit>, now: UnixMillis) -> Account {
    let mut account = Account::new(limits, None, Share::default());
    let ticket = account.reserve(now, tokens(80)).unwrap();
    account.settle(now, ticket, Actual { tokens: 80, spend: 80 });
    account
}

/// A moment in the middle of a minute, hour, day and month.
const NOON: UnixMillis = 1_795_003_230_000;

#[test]
fn renaming_or_replacing_a_limit_keeps_usage() {
    let before = named("a", Period::Day, Quantity::Tokens(100));
    for (what, after) in [
        ("renamed", named("b", Period::Day, Quantity::Tokens(100))),
        ("longer", named("a", Period::Month, Quantity::Tokens(100))),
        ("shorter", named("a", Period::Hour, Quantity::Tokens(100))),
        ("much shorter", named("a", Period::Minute, Quantity::Tokens(100))),
        ("renamed and longer", named("b", Period::Month, Quantity::Tokens(100))),
        ("of another kind", named("a", Period::Day, Quantity::Spend(100))),
    ] {
        let mut account = used_up(vec![before.clone()], NOON);
        account.configure(vec![after], None, Share::default());
        assert_eq!(account.remaining(NOON)[0].2, 20, "{what}");
    }
}

#[test]
fn limit_removed_and_added_again_keeps_usage() {
    let limit = named("a", Period::Day, Quantity::Tokens(100));
    let mut account = used_up(vec![limit.clone()], NOON);
    account.configure(Vec::new(), None, Share::default());
    let ticket = account.reserve(NOON, tokens(5)).unwrap();
    account.settle(NOON, ticket, Actual { tokens: 5, spend: 0 });
    account.configure(vec![limit], None, Share::default());
    assert_eq!(account.remaining(NOON)[0].2, 15, "with what was used meanwhile");
    assert_eq!(account.remaining(NOON + 86_400_000)[0].2, 100, "and no longer than its period");
}

#[test]
fn minute_window_made_from_an_hour_expires() {
    let mut account = used_up(vec![named("a", Period::Hour, Quantity::Tokens(100))], NOON);
    account.configure(vec![named("a", Period::Minute, Quantity::Tokens(100))], None, Share::default());
    assert_eq!(account.remaining(NOON + 59_000)[0].2, 20);
    assert_eq!(account.remaining(NOON + 121_000)[0].2, 100);
}

#[test]
fn requests_in_flight_count_under_a_renamed_limit() {
    let mut account = Account::new(vec![named("a", Period::Day, Quantity::Tokens(100))], None, Share::default());
    let ticket = account.reserve(NOON, tokens(80)).unwrap();
    account.configure(vec![named("b", Period::Month, Quantity::Tokens(100))], None, Share::default());
    assert!(account.reserve(NOON, tokens(30)).is_err());
    account.settle(NOON, ticket, Actual { tokens: 10, spend: 0 });
    assert_eq!(account.remaining(NOON)[0].2, 90);
}

#[test]
fn several_candidates_never_exceed_a_whole_cap() {
    let mut account = Account::new(limit(Quantity::Tokens(100)), None, Share::default());
    let refused = account.reserve(0, Estimate { tokens: 101, spend: 0, is_single: false }).unwrap_err();
    assert_eq!((refused.requested, refused.retry_after_ms), (Some(101), None));
    let granted = account.reserve(0, Estimate { tokens: 100, spend: 0, is_single: false }).unwrap();
    account.release(granted);
}

#[test]
fn strict_limit_has_no_exception_and_bounds_the_answer() {
    let strict = Limit { is_strict: true, ..named("s", Period::Day, Quantity::Tokens(100)) };
    let mut account = Account::new(vec![strict], None, Share::default());
    assert_eq!(account.reserve(0, tokens(101)).unwrap_err().requested, Some(101));
    let ticket = account.reserve(0, tokens(60)).unwrap();
    assert!(!ticket.bounds().is_empty());
    assert_eq!(ticket.bounds().check(Actual { tokens: 60, spend: u64::MAX }), Ok(()));
    let cut = ticket.bounds().check(Actual { tokens: 61, spend: 0 }).unwrap_err();
    assert_eq!((cut.limit.as_str(), cut.requested), ("s", Some(60)));
    account.release(ticket);
    let settling = Account::new(limit(Quantity::Tokens(100)), None, Share::default()).reserve(0, tokens(60)).unwrap();
    assert!(settling.bounds().is_empty());
    assert_eq!(settling.bounds().check(Actual { tokens: u64::MAX, spend: u64::MAX }), Ok(()));
}

#[test]
fn largest_amounts_do_not_overflow() {
    let mut account = Account::new(limit(Quantity::Spend(u64::MAX)), None, Share::default());
    let most = Estimate { tokens: u64::MAX, spend: u64::MAX, is_single: true };
    for _ in 0..2 {
        if let Ok(ticket) = account.reserve(0, most) {
            account.settle(0, ticket, Actual { tokens: u64::MAX, spend: u64::MAX });
        }
        assert_eq!(account.remaining(0)[0].2, 0);
    }
}

#[test]
fn limit_with_the_longest_wait_is_named() {
    let limits = vec![
        named("minute", Period::Minute, Quantity::Requests(1)),
        named("day", Period::Day, Quantity::Requests(1)),
        named("hour", Period::Hour, Quantity::Requests(1)),
    ];
    let mut account = Account::new(limits, None, Share::default());
    let ticket = account.reserve(NOON, tokens(1)).unwrap();
    let refused = account.reserve(NOON, tokens(1)).unwrap_err();
    assert_eq!((refused.limit.as_str(), refused.retry_after_ms), ("minute", None), "that request has to end");
    account.settle(NOON, ticket, Actual::default());
    let refused = account.reserve(NOON, tokens(1)).unwrap_err();
    let midnight = 86_400_000 - NOON % 86_400_000;
    assert_eq!((refused.limit.as_str(), refused.retry_after_ms), ("day", u64::try_from(midnight).ok()));
    assert!(account.reserve(NOON + midnight, tokens(1)).is_ok());
}

#[test]
fn cap_of_zero_has_no_retry_time() {
    let mut account = used_up(vec![named("a", Period::Hour, Quantity::Tokens(100))], NOON);
    let refused = account.reserve(NOON, tokens(30)).unwrap_err();
    assert_eq!((refused.cap, refused.left), (100, 20));
    for quantity in [Quantity::Requests(0), Quantity::Tokens(0), Quantity::Spend(0)] {
        let mut account = Account::new(limit(quantity), None, Share::default());
        let refused = account.reserve(NOON, tokens(1)).unwrap_err();
        assert_eq!((refused.cap, refused.retry_after_ms), (0, None), "{quantity:?}");
    }
}
