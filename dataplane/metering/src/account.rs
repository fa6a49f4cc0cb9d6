//! What one token may still use: reserve before sending, settle afterwards.
//!
//! A reservation is the most that a request is expected to use. It counts against every limit from the moment it is
//! granted, so requests that arrive together cannot all see the same remainder. The worst overspend is therefore the
//! estimate error of the requests in flight, never their number times a request.

use crate::{Nanos, Period, UnixMillis, Window};

/// At most this much per period.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limit {
    /// Names it in errors and metrics; counters are kept under this name when limits change.
    pub name: String,
    /// The period.
    pub period: Period,
    /// What is counted and how much is allowed.
    pub quantity: Quantity,
}

/// What a limit counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quantity {
    /// Requests.
    Requests(u64),
    /// Input and output tokens together.
    Tokens(u64),
    /// Nano-dollars.
    Spend(Nanos),
}

/// Which part of every cap this process enforces: the parts of all ranks add up to the cap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share {
    /// Processes that share the cap, at least 1.
    pub of: u32,
    /// This one's rank, from 0.
    pub rank: u32,
}

/// The most that a request is expected to use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ask {
    /// Input and output tokens.
    pub tokens: u64,
    /// Nano-dollars.
    pub spend: Nanos,
}

/// What a request did use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Actual {
    /// Input and output tokens.
    pub tokens: u64,
    /// Nano-dollars.
    pub spend: Nanos,
}

/// A granted reservation. Hand it back with [`Account::settle`] or [`Account::release`]; it frees nothing by itself.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "a reservation that is not handed back is held for ever"]
pub struct Ticket {
    asked: Vec<(String, u64)>,
}

/// A limit leaves no room.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("limit {limit:?} is reached")]
pub struct Exceeded {
    /// The limit's name; `maxConcurrentRequests` for concurrency.
    pub limit: String,
    /// What it counts.
    pub kind: ExceededKind,
    /// The cap that this process enforces, in the limit's unit.
    pub cap: u64,
    /// Milliseconds until room may be there again; none if that depends on requests in flight.
    pub retry_after_ms: Option<u64>,
}

/// What the limit counts that leaves no room.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ExceededKind {
    /// Requests per period.
    Requests,
    /// Tokens per period.
    Tokens,
    /// Money per period.
    Spend,
    /// Requests in flight.
    Concurrency,
}

/// The counters of one token.
#[derive(Debug)]
pub struct Account {
    share: Share,
    max_concurrent: Option<u32>,
    in_flight: u32,
    counters: Vec<Counter>,
}

#[derive(Debug)]
struct Counter {
    limit: Limit,
    window: Window,
    reserved: u64,
}

// === impl Share ===

impl Default for Share {
    fn default() -> Self {
        Self { of: 1, rank: 0 }
    }
}

impl Share {
    /// This process's part of a cap.
    pub fn of(self, cap: u64) -> u64 {
        let of = u64::from(self.of.max(1));
        cap / of + u64::from(u64::from(self.rank) < cap % of)
    }
}

// === impl Quantity ===

impl Quantity {
    const fn cap(self) -> u64 {
        match self {
            Self::Requests(cap) | Self::Tokens(cap) | Self::Spend(cap) => cap,
        }
    }

    const fn of_ask(self, ask: Ask) -> u64 {
        match self {
            Self::Requests(_) => 1,
            Self::Tokens(_) => ask.tokens,
            Self::Spend(_) => ask.spend,
        }
    }

    const fn of_actual(self, actual: Actual) -> u64 {
        match self {
            Self::Requests(_) => 1,
            Self::Tokens(_) => actual.tokens,
            Self::Spend(_) => actual.spend,
        }
    }

    const fn kind(self) -> ExceededKind {
        match self {
            Self::Requests(_) => ExceededKind::Requests,
            Self::Tokens(_) => ExceededKind::Tokens,
            Self::Spend(_) => ExceededKind::Spend,
        }
    }
}

// === impl Account ===

impl Account {
    /// An account that has used nothing.
    pub fn new(limits: Vec<Limit>, max_concurrent: Option<u32>, share: Share) -> Self {
        let mut account = Self { share, max_concurrent, in_flight: 0, counters: Vec::new() };
        account.configure(limits, max_concurrent, share);
        account
    }

    /// Takes on new limits. A limit that keeps its name, period and kind keeps its count, so raising or lowering a cap
    /// forgives nothing.
    pub fn configure(&mut self, limits: Vec<Limit>, max_concurrent: Option<u32>, share: Share) {
        let mut old = std::mem::take(&mut self.counters);
        self.share = share;
        self.max_concurrent = max_concurrent;
        self.counters = limits
            .into_iter()
            .map(|limit| {
                let kept = old.iter().position(|counter| {
                    counter.limit.name == limit.name
                        && counter.limit.period == limit.period
                        && counter.limit.quantity.kind() == limit.quantity.kind()
                });
                match kept {
                    Some(at) => Counter { limit, ..old.swap_remove(at) },
                    None => Counter { window: Window::new(limit.period), limit, reserved: 0 },
                }
            })
            .collect();
    }

    /// Grants or refuses a request. A refused one counts nowhere.
    ///
    /// A request that alone asks for more than a whole cap is granted while nothing of that cap is used or reserved:
    /// refused for ever, it would only teach people to lie about `max_tokens`.
    ///
    /// # Errors
    /// The first limit, in the order written, that leaves no room; concurrency first.
    pub fn reserve(&mut self, now: UnixMillis, ask: Ask) -> Result<Ticket, Exceeded> {
        if let Some(cap) = self.max_concurrent
            && self.in_flight >= cap
        {
            return Err(Exceeded {
                limit: "maxConcurrentRequests".to_owned(),
                kind: ExceededKind::Concurrency,
                cap: u64::from(cap),
                retry_after_ms: None,
            });
        }
        for counter in &mut self.counters {
            counter.check(now, ask, self.share)?;
        }
        self.in_flight = self.in_flight.saturating_add(1);
        let asked = self
            .counters
            .iter_mut()
            .map(|counter| {
                let amount = counter.amount(ask, self.share);
                counter.reserved = counter.reserved.saturating_add(amount);
                (counter.limit.name.clone(), amount)
            })
            .collect();
        Ok(Ticket { asked })
    }

    /// Replaces a reservation by what was really used, which may be more.
    #[expect(clippy::needless_pass_by_value, reason = "a ticket is spent once")]
    pub fn settle(&mut self, now: UnixMillis, ticket: Ticket, actual: Actual) {
        self.give_back(&ticket);
        for counter in &mut self.counters {
            counter.window.add(now, counter.limit.quantity.of_actual(actual));
        }
    }

    /// Gives a reservation back unused: the request never left this process.
    #[expect(clippy::needless_pass_by_value, reason = "a ticket is spent once")]
    pub fn release(&mut self, ticket: Ticket) {
        self.give_back(&ticket);
    }

    /// What is left per limit in this process's share, for headers: (limit, cap, remaining).
    pub fn remaining(&mut self, now: UnixMillis) -> Vec<(&Limit, u64, u64)> {
        let share = self.share;
        self.counters
            .iter_mut()
            .map(|counter| {
                let cap = share.of(counter.limit.quantity.cap());
                let taken = counter.window.used(now).saturating_add(counter.reserved);
                (&counter.limit, cap, cap.saturating_sub(taken))
            })
            .collect()
    }

    /// Requests in flight.
    pub fn in_flight(&self) -> u32 {
        self.in_flight
    }

    fn give_back(&mut self, ticket: &Ticket) {
        self.in_flight = self.in_flight.saturating_sub(1);
        for (name, amount) in &ticket.asked {
            if let Some(counter) = self.counters.iter_mut().find(|counter| counter.limit.name == *name) {
                counter.reserved = counter.reserved.saturating_sub(*amount);
            }
        }
    }
}

// === impl Counter ===

impl Counter {
    /// What a request takes of this limit: never more than the whole cap, see [`Account::reserve`].
    fn amount(&self, ask: Ask, share: Share) -> u64 {
        self.limit.quantity.of_ask(ask).min(share.of(self.limit.quantity.cap()))
    }

    fn check(&mut self, now: UnixMillis, ask: Ask, share: Share) -> Result<(), Exceeded> {
        let cap = share.of(self.limit.quantity.cap());
        let used = self.window.used(now);
        let wanted = used.saturating_add(self.reserved).saturating_add(self.amount(ask, share));
        // A spend or token cap that is used up to the last unit refuses even requests that ask for nothing.
        let exhausted = used.saturating_add(self.reserved) >= cap;
        if wanted <= cap && !exhausted {
            return Ok(());
        }
        let missing = wanted.saturating_sub(cap).max(1);
        // Unless the used part alone frees enough, waiting for time does not help: requests in flight must end first.
        let retry_after_ms = (cap > 0 && used >= missing).then(|| self.window.until_free(now, missing));
        Err(Exceeded { limit: self.limit.name.clone(), kind: self.limit.quantity.kind(), cap, retry_after_ms })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limit(quantity: Quantity) -> Vec<Limit> {
        vec![Limit { name: "it".to_owned(), period: Period::Minute, quantity }]
    }

    fn tokens(tokens: u64) -> Ask {
        Ask { tokens, spend: 0 }
    }

    #[test]
    fn what_is_reserved_is_gone_for_the_next_request() {
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
    fn a_refusal_says_when_there_is_room_again() {
        let mut account = Account::new(limit(Quantity::Requests(2)), None, Share::default());
        for _ in 0..2 {
            let ticket = account.reserve(0, Ask::default()).unwrap();
            account.settle(0, ticket, Actual::default());
        }
        assert_eq!(account.reserve(500, Ask::default()).unwrap_err().retry_after_ms, Some(60_500));
        let ticket = account.reserve(61_000, Ask::default()).unwrap();
        account.release(ticket);
    }

    #[test]
    fn a_request_larger_than_the_cap_runs_alone() {
        let mut account = Account::new(limit(Quantity::Tokens(100)), None, Share::default());
        let large = account.reserve(0, tokens(5_000)).unwrap();
        assert!(account.reserve(0, tokens(1)).is_err());
        account.settle(0, large, Actual { tokens: 50, spend: 0 });
        assert!(account.reserve(0, tokens(5_000)).is_err(), "now something is used");
        let small = account.reserve(0, tokens(50)).unwrap();
        account.release(small);
    }

    #[test]
    fn concurrency_is_given_back_by_settle_and_by_release() {
        let mut account = Account::new(Vec::new(), Some(1), Share::default());
        let ticket = account.reserve(0, Ask::default()).unwrap();
        assert_eq!(account.reserve(0, Ask::default()).unwrap_err().kind, ExceededKind::Concurrency);
        account.settle(0, ticket, Actual::default());
        let ticket = account.reserve(0, Ask::default()).unwrap();
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
    fn changing_a_cap_forgives_nothing() {
        let mut account = Account::new(limit(Quantity::Tokens(100)), None, Share::default());
        let ticket = account.reserve(0, tokens(80)).unwrap();
        account.configure(limit(Quantity::Tokens(90)), None, Share::default());
        assert!(account.reserve(0, tokens(20)).is_err(), "the reservation survived");
        account.settle(0, ticket, Actual { tokens: 80, spend: 0 });
        assert_eq!(account.remaining(0)[0].2, 10);
    }
}
