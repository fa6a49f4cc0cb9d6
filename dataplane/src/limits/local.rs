//! Limits that are counted in this process: metering's arithmetic behind a lock.

use std::sync::{Mutex, MutexGuard, PoisonError};

use routeapi_metering::{Account, Actual, Estimate, Exceeded, Limit, Share, Ticket, UnixMillis};

use super::headroom::Headroom;

/// One token's counters. The lock is held for arithmetic only.
#[derive(Debug)]
pub(super) struct Counters(Mutex<Account>);

/// What is left of a limit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remaining {
    /// The limit.
    pub limit: Limit,
    /// The cap that this process enforces.
    pub cap: u64,
    /// What is neither used nor reserved of it.
    pub left: u64,
}

impl Default for Counters {
    fn default() -> Self {
        Self(Mutex::new(Account::new(Vec::new(), None, Share::default())))
    }
}

impl Counters {
    /// Takes on the limits of a new configuration, keeping counts.
    pub(super) fn configure(&self, limits: Vec<Limit>, max_concurrent: Option<u32>, share: Share) {
        self.lock().configure(limits, max_concurrent, share);
    }

    /// Grants or refuses a request; says what is left beside it.
    pub(super) fn reserve(&self, now: UnixMillis, estimate: Estimate) -> Result<(Ticket, Headroom), Exceeded> {
        let mut counters = self.lock();
        let ticket = counters.reserve(now, estimate)?;
        let headroom = Headroom::of(&counters.remaining(now));
        Ok((ticket, headroom))
    }

    /// Counts what a request that goes on has used so far.
    pub(super) fn count(&self, now: UnixMillis, actual: Actual) -> Result<(), Exceeded> {
        self.lock().count(now, actual)
    }

    /// Replaces what was reserved by what was used, if anything was.
    pub(super) fn end(&self, ticket: Ticket, used: Option<(UnixMillis, Actual)>) {
        match used {
            Some((now, actual)) => self.lock().settle(now, ticket, actual),
            None => self.lock().release(ticket),
        }
    }

    /// What is left of each limit.
    pub(super) fn remaining(&self, now: UnixMillis) -> Vec<Remaining> {
        let mut counters = self.lock();
        let remaining = counters.remaining(now);
        remaining.into_iter().map(|(limit, cap, left)| Remaining { limit: limit.clone(), cap, left }).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Account> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
