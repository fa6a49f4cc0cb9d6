use routeapi_metering::{Period, Quantity};

use super::*;

fn limit(name: &str, period: Period, quantity: Quantity) -> Limit {
    Limit { name: name.to_owned(), period, quantity, is_strict: false }
}

fn configure(account: &Account, limits: Vec<Limit>, max_concurrent: Option<u32>) {
    account.configure(TokenLimits { limits, max_concurrent, share: Share::default() });
}

#[tokio::test]
async fn dropped_reservation_frees_its_slot() {
    let account = Arc::new(Account::default());
    configure(&account, Vec::new(), Some(1));
    let first = account.reserve(0, Estimate::default()).await.unwrap();
    assert!(account.reserve(0, Estimate::default()).await.is_err());
    drop(first);
    account.reserve(0, Estimate::default()).await.unwrap().settle(0, Actual::default());
    assert!(account.reserve(0, Estimate::default()).await.is_ok());
}

#[tokio::test]
async fn headroom_is_the_least_room_of_each_kind() {
    let account = Arc::new(Account::default());
    assert_eq!(account.reserve(0, Estimate::default()).await.unwrap().headroom(), Headroom::default());
    let limits = [("a", Quantity::Requests(9)), ("b", Quantity::Requests(5)), ("c", Quantity::Tokens(100))];
    configure(&account, limits.map(|(name, quantity)| limit(name, Period::Hour, quantity)).to_vec(), None);
    let held = account.reserve(0, Estimate { tokens: 30, ..Estimate::default() }).await.unwrap();
    let room = |cap, left| Some(Room { cap, left });
    assert_eq!(held.headroom(), Headroom { requests: room(5, 4), tokens: room(100, 70) });
}

#[tokio::test]
async fn new_configuration_grants_no_fresh_budget() {
    let account = Arc::new(Account::default());
    let limit = |name: &str, period| limit(name, period, Quantity::Tokens(100));
    configure(&account, vec![limit("a", Period::Day)], None);
    let estimate = Estimate { tokens: 60, ..Estimate::default() };
    account.reserve(0, estimate).await.unwrap().settle(0, Actual { tokens: 60, spend: 0 });
    for limits in
        [vec![limit("b", Period::Day)], vec![limit("b", Period::Month)], Vec::new(), vec![limit("a", Period::Day)]]
    {
        configure(&account, limits, None);
        assert!(account.remaining(0).iter().all(|one| one.left == 40), "{:?}", account.remaining(0));
    }
}

/// What is counted in this process is settled before the destructor returns, so that a client's next request finds it.
#[tokio::test]
async fn reservations_in_process_are_settled_at_once() {
    use futures_util::FutureExt;
    let account = Arc::new(Account::default());
    configure(&account, vec![limit("volume", Period::Day, Quantity::Tokens(100))], None);
    let estimate = Estimate { tokens: 60, ..Estimate::default() };
    let first = account.reserve(0, estimate).now_or_never().expect("it waits for nothing").unwrap();
    assert!(matches!(account.reserve(0, estimate).await, Err(Refused::Exceeded(_))));
    first.settle(0, Actual { tokens: 10, spend: 0 });
    assert_eq!(account.remaining(0)[0].left, 90);
}
