//! Seeded interleavings of many requests on one account: whatever the order, the sums agree and the cap holds.

use proptest::prelude::*;
use routeapi_metering::{Account, Actual, Ask, Limit, Period, Quantity, Share, Ticket};

#[derive(Clone, Debug)]
enum Step {
    Arrive { ask: u64 },
    Finish { which: usize, part: u64 },
    GiveUp { which: usize },
    Wait { millis: i64 },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (1u64..60).prop_map(|ask| Step::Arrive { ask }),
        3 => (any::<usize>(), 0u64..=100).prop_map(|(which, part)| Step::Finish { which, part }),
        1 => any::<usize>().prop_map(|which| Step::GiveUp { which }),
        1 => (0i64..20_000).prop_map(|millis| Step::Wait { millis }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn no_minute_ever_holds_more_than_the_cap(steps in prop::collection::vec(step(), 1..200)) {
        const CAP: u64 = 100;
        let limit = Limit { name: "tokens".into(), period: Period::Minute, quantity: Quantity::Tokens(CAP), is_strict: false };
        let mut account = Account::new(vec![limit], None, Share::default());
        let mut now = 1_000_000i64;
        let mut open: Vec<(Ticket, u64)> = Vec::new();
        let mut settled: Vec<(i64, u64)> = Vec::new();
        for step in steps {
            match step {
                Step::Arrive { ask } => {
                    if let Ok(ticket) = account.reserve(now, Ask { tokens: ask, spend: 0, is_single: true }) {
                        open.push((ticket, ask));
                    }
                }
                Step::Finish { which, part } if !open.is_empty() => {
                    let (ticket, ask) = open.swap_remove(which % open.len());
                    let tokens = ask * part / 100; // an honest estimate: never used more than asked
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
            let in_flight: u64 = open.iter().map(|(_, ask)| ask).sum();
            prop_assert!(in_window + in_flight <= CAP, "{in_window} used, {in_flight} in flight");
            prop_assert_eq!(account.in_flight() as usize, open.len());
        }
        for (ticket, _) in open.drain(..) {
            account.release(ticket);
        }
        prop_assert_eq!(account.remaining(now + 7_200_000)[0].2, CAP, "everything came back");
    }
}
