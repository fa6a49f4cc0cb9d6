//! Seeded interleavings of many requests on one account: whatever the order, the sums agree and the cap holds.

use proptest::prelude::*;
use routeapi_metering::{Account, Actual, Estimate, Limit, Period, Quantity, Share, Ticket};

#[derive(Clone, Debug)]
enum Step {
    Arrive { estimate: u64 },
    Finish { which: usize, part: u64 },
    GiveUp { which: usize },
    Wait { millis: i64 },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (1u64..60).prop_map(|estimate| Step::Arrive { estimate }),
        3 => (any::<usize>(), 0u64..=100).prop_map(|(which, part)| Step::Finish { which, part }),
        1 => any::<usize>().prop_map(|which| Step::GiveUp { which }),
        1 => (0i64..20_000).prop_map(|millis| Step::Wait { millis }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn no_minute_exceeds_the_cap(steps in prop::collection::vec(step(), 1..200)) {
        const CAP: u64 = 100;
        let limit = Limit { name: "tokens".into(), period: Period::Minute, quantity: Quantity::Tokens(CAP), is_strict: false };
        let mut account = Account::new(vec![limit], None, Share::default());
        let mut now = 1_000_000i64;
        let mut open: Vec<(Ticket, u64)> = Vec::new();
        let mut settled: Vec<(i64, u64)> = Vec::new();
        for step in steps {
            match step {
                Step::Arrive { estimate } => {
                    if let Ok(ticket) = account.reserve(now, Estimate { tokens: estimate, spend: 0, is_single: true }) {
                        open.push((ticket, estimate));
                    }
                }
                Step::Finish { which, part } if !open.is_empty() => {
                    let (ticket, estimate) = open.swap_remove(which % open.len());
                    let tokens = estimate * part / 100; // an honest estimate: never used more than asked
                    account.settle(now, ticket, Actual { tokens, spend: 0 });
                    settled.push((now, tokens));
                }
                Step::GiveUp { which } if !open.is_empty() => {
                    let (ticket, _) = open.swap_remove(which % open.len());
                    account.release(ticket);
                }
                Step::Wait { millis } => now += millis,
                Step::Finish { .. } | Step::GiveUp { .. } => {}
            }
            let in_window: u64 = settled.iter().filter(|(at, _)| *at > now - 60_000).map(|(_, used)| used).sum();
            let in_flight: u64 = open.iter().map(|(_, estimate)| estimate).sum();
            prop_assert!(in_window + in_flight <= CAP, "{in_window} used, {in_flight} in flight");
            prop_assert_eq!(account.in_flight() as usize, open.len());
        }
        for (ticket, _) in open.drain(..) {
            account.release(ticket);
        }
        prop_assert_eq!(account.remaining(now + 7_200_000)[0].2, CAP, "everything came back");
    }

    /// What a refusal says of the time is true, to the millisecond: then, and not before, the same request is granted.
    #[test]
    fn refused_request_is_granted_at_its_retry_time(
        limits in prop::collection::vec(limit(), 1..4),
        used in prop::collection::vec((0i64..100_000_000, 0u64..40), 0..40),
        estimate in 0u64..60,
        held in prop::option::of(1u64..20),
        start in 1_795_003_230_000i64..1_797_700_000_000,
    ) {
        let estimate = Estimate { tokens: estimate, spend: estimate, is_single: true };
        let mut account = Account::new(limits, None, Share::default());
        let mut times: Vec<_> = used.into_iter().map(|(back, amount)| (start - back, amount)).collect();
        times.sort_unstable();
        for (at, amount) in times {
            if let Ok(ticket) = account.reserve(at, Estimate { tokens: amount, spend: amount, is_single: true }) {
                account.settle(at, ticket, Actual { tokens: amount, spend: amount });
            }
        }
        let held = held.and_then(|held| account.reserve(start, Estimate { tokens: held, spend: held, is_single: true }).ok());
        let answer = account.reserve(start, estimate);
        match answer {
            Ok(ticket) => account.release(ticket),
            Err(refused) => {
                prop_assert!(refused.left <= refused.cap);
                match refused.retry_after_ms.map(|wait| i64::try_from(wait).unwrap()) {
                    Some(wait) => {
                        prop_assert!(account.reserve(start + wait - 1, estimate).is_err(), "it is free before {:?}", refused);
                        let granted = account.reserve(start + wait, estimate);
                        prop_assert!(granted.is_ok(), "{:?} at {}: {:?}", refused, start + wait, granted);
                        account.release(granted.unwrap());
                    }
                    // It depends on the one in flight, or there is never room.
                    None => prop_assert!(held.is_some() || refused.cap == 0, "{:?}", refused),
                }
            }
        }
        if let Some(held) = held {
            account.release(held);
        }
    }
}

fn limit() -> impl Strategy<Value = Limit> {
    let period = prop::sample::select(vec![Period::Second, Period::Minute, Period::Hour, Period::Day, Period::Month]);
    let quantity = prop_oneof![
        (0u64..9).prop_map(Quantity::Requests),
        (0u64..100).prop_map(Quantity::Tokens),
        (0u64..100).prop_map(Quantity::Spend),
    ];
    (period, quantity).prop_map(|(period, quantity)| Limit { name: "it".into(), period, quantity, is_strict: false })
}
