//! Bounds extra attempts to a fifth of the requests, so that a storm of failures is not answered with a larger one.
//!
//! It is asked before an attempt that may be billed twice or that hits an upstream already in trouble; moving on from an
//! upstream that refused before doing any work is not counted here.

use std::sync::atomic::{AtomicI64, Ordering};

const EARNED_PER_REQUEST: i64 = 200;
const RETRY_COST: i64 = 1_000;
const MAX_BALANCE: i64 = 20_000;

/// A bucket in thousandths of a retry. Starts half full, which serves small numbers of requests.
#[derive(Debug)]
pub struct RetryBudget(AtomicI64);

impl Default for RetryBudget {
    fn default() -> Self {
        Self(AtomicI64::new(MAX_BALANCE / 2))
    }
}

impl RetryBudget {
    /// A request came in: a fifth of a retry is earned.
    pub fn request(&self) {
        let earn = |balance: i64| Some((balance + EARNED_PER_REQUEST).min(MAX_BALANCE));
        let _ = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, earn);
    }

    /// Takes one retry if it is there.
    pub fn try_retry(&self) -> bool {
        let spend = |balance: i64| (balance >= RETRY_COST).then_some(balance - RETRY_COST);
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, spend).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retries_are_bounded_to_a_fifth_of_requests() {
        let budget = RetryBudget::default();
        let mut retries = 0;
        for _ in 0..1_000 {
            budget.request();
            while budget.try_retry() {
                retries += 1;
            }
        }
        assert_eq!(retries, 10 + 200);
    }
}
