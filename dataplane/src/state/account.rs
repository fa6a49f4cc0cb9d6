//! One token's counters, shared by every request that presents it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use prometheus_client::metrics::gauge::Gauge;
use routeapi_metering::{Account as Counters, Actual, Estimate, Exceeded, Limit, Quantity, Share, Ticket, UnixMillis};
use tokio::sync::Semaphore;

/// What the requests of one token share in this process.
#[derive(Debug)]
pub struct Account {
    /// Behind a lock that is held for arithmetic only.
    counters: Mutex<Counters>,
    /// One large body at a time is decoded or translated for a token.
    turn: Arc<Semaphore>,
    /// Bytes of its requests and answers that are held now.
    buffered: Gauge,
}

/// A granted request. Settle it with what was used; dropped unsettled it gives everything back, which is right only
/// while nothing has been sent to an upstream.
#[derive(Debug)]
#[must_use = "dropping it gives the reservation back"]
pub struct Reservation {
    account: Arc<Account>,
    ticket: Option<Ticket>,
    headroom: Headroom,
}

/// What a token may still use in this process: of each kind, the limit with the least room.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Headroom {
    /// Requests.
    pub requests: Option<Room>,
    /// Input and output tokens.
    pub tokens: Option<Room>,
}

/// What is left of a cap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    /// The cap that this process enforces.
    pub cap: u64,
    /// What is neither used nor reserved of it.
    pub left: u64,
}

/// What is left of a limit, for response headers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remaining {
    /// The limit.
    pub limit: Limit,
    /// The cap that this process enforces.
    pub cap: u64,
    /// What is neither used nor reserved of it.
    pub left: u64,
}

impl Default for Account {
    fn default() -> Self {
        Self {
            counters: Mutex::new(Counters::new(Vec::new(), None, Share::default())),
            turn: Arc::new(Semaphore::new(1)),
            buffered: Gauge::default(),
        }
    }
}

impl Account {
    /// Takes on the limits of a new configuration, keeping counts.
    pub fn configure(&self, limits: Vec<Limit>, max_concurrent: Option<u32>, share: Share) {
        self.counters().configure(limits, max_concurrent, share);
    }

    /// Grants or refuses a request.
    ///
    /// # Errors
    /// The limit that leaves no room.
    pub fn reserve(self: &Arc<Self>, now: UnixMillis, estimate: Estimate) -> Result<Reservation, Exceeded> {
        let mut counters = self.counters();
        let ticket = counters.reserve(now, estimate)?;
        let headroom = Headroom::of(&counters.remaining(now));
        Ok(Reservation { account: Arc::clone(self), ticket: Some(ticket), headroom })
    }

    /// What is left of each limit.
    pub fn remaining(&self, now: UnixMillis) -> Vec<Remaining> {
        let mut counters = self.counters();
        let remaining = counters.remaining(now);
        remaining.into_iter().map(|(limit, cap, left)| Remaining { limit: limit.clone(), cap, left }).collect()
    }

    /// Whose turn it is among the token's large requests.
    pub fn turn(&self) -> &Arc<Semaphore> {
        &self.turn
    }

    /// Bytes of the token's requests and answers that are held now. Whoever holds some adds and takes them off.
    pub fn buffered(&self) -> Gauge {
        self.buffered.clone()
    }

    fn counters(&self) -> MutexGuard<'_, Counters> {
        self.counters.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Headroom {
    fn of(remaining: &[(&Limit, u64, u64)]) -> Self {
        let least = |counts: fn(&Quantity) -> bool| {
            let of_kind = remaining.iter().filter(|(limit, ..)| counts(&limit.quantity));
            of_kind.map(|&(_, cap, left)| Room { cap, left }).min_by_key(|room| room.left)
        };
        Self {
            requests: least(|quantity| matches!(quantity, Quantity::Requests(_))),
            tokens: least(|quantity| matches!(quantity, Quantity::Tokens(_))),
        }
    }
}

impl Reservation {
    /// What was left when it was granted, itself taken off.
    pub fn headroom(&self) -> Headroom {
        self.headroom
    }

    /// Whether a strict limit bounds the answer.
    pub fn is_bounded(&self) -> bool {
        self.ticket.as_ref().is_some_and(Ticket::is_bounded)
    }

    /// Whether what was used so far is within what was reserved of every strict limit.
    ///
    /// # Errors
    /// The limit that is exceeded.
    pub fn check(&self, used: Actual) -> Result<(), Exceeded> {
        self.ticket.as_ref().map_or(Ok(()), |ticket| ticket.check(used))
    }

    /// Replaces the reservation by what was really used.
    pub fn settle(mut self, now: UnixMillis, actual: Actual) {
        if let Some(ticket) = self.ticket.take() {
            self.account.counters().settle(now, ticket, actual);
        }
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket.take() {
            self.account.counters().release(ticket);
        }
    }
}

#[cfg(test)]
mod tests {
    use routeapi_metering::Period;

    use super::*;

    #[test]
    fn dropped_reservation_frees_its_slot() {
        let account = Arc::new(Account::default());
        account.configure(Vec::new(), Some(1), Share::default());
        let first = account.reserve(0, Estimate::default()).unwrap();
        assert!(account.reserve(0, Estimate::default()).is_err());
        drop(first);
        account.reserve(0, Estimate::default()).unwrap().settle(0, Actual::default());
        assert!(account.reserve(0, Estimate::default()).is_ok());
    }

    #[test]
    fn headroom_is_the_least_of_each_kind() {
        let account = Arc::new(Account::default());
        assert_eq!(account.reserve(0, Estimate::default()).unwrap().headroom(), Headroom::default());
        let limit =
            |name: &str, quantity| Limit { name: name.to_owned(), period: Period::Hour, quantity, is_strict: false };
        let limits = [("a", Quantity::Requests(9)), ("b", Quantity::Requests(5)), ("c", Quantity::Tokens(100))];
        account.configure(limits.map(|(name, quantity)| limit(name, quantity)).to_vec(), None, Share::default());
        let held = account.reserve(0, Estimate { tokens: 30, ..Estimate::default() }).unwrap();
        let room = |cap, left| Some(Room { cap, left });
        assert_eq!(held.headroom(), Headroom { requests: room(5, 4), tokens: room(100, 70) });
    }

    #[test]
    fn reconfiguring_limits_keeps_usage() {
        let account = Arc::new(Account::default());
        let limit = |name: &str, period| Limit {
            name: name.to_owned(),
            period,
            quantity: Quantity::Tokens(100),
            is_strict: false,
        };
        account.configure(vec![limit("a", Period::Day)], None, Share::default());
        let estimate = Estimate { tokens: 60, ..Estimate::default() };
        account.reserve(0, estimate).unwrap().settle(0, Actual { tokens: 60, spend: 0 });
        for limits in
            [vec![limit("b", Period::Day)], vec![limit("b", Period::Month)], Vec::new(), vec![limit("a", Period::Day)]]
        {
            account.configure(limits, None, Share::default());
            assert!(account.remaining(0).iter().all(|one| one.left == 40), "{:?}", account.remaining(0));
        }
    }
}
