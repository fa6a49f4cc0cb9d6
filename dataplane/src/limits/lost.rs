//! What holds while the limit store is lost.

use routeapi_metering::{Limit, Period, Quantity};

/// What becomes of requests whose limits cannot be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LostAction {
    /// They are refused.
    Reject,
    /// They go on; this process counts them meanwhile, under its own share of each limit.
    Allow,
}

/// What holds while the store is lost, by kind of limit. A request of a token that has both kinds needs both to allow it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OnStoreFailure {
    /// Of limits in money, and of those per day or month: what is gone is gone.
    pub budgets: LostAction,
    /// Of requests and tokens per second, minute or hour: what is too much is soon forgotten.
    pub rates: LostAction,
}

impl Default for OnStoreFailure {
    /// Money fails closed, rates fail open.
    fn default() -> Self {
        Self { budgets: LostAction::Reject, rates: LostAction::Allow }
    }
}

impl OnStoreFailure {
    /// Whether requests under this limit are refused.
    pub fn rejects(self, limit: &Limit) -> bool {
        let is_calendar = match limit.period {
            Period::Day | Period::Month => true,
            Period::Second | Period::Minute | Period::Hour => false,
        };
        let is_budget = is_calendar || matches!(limit.quantity, Quantity::Spend(_));
        (if is_budget { self.budgets } else { self.rates }) == LostAction::Reject
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn money_and_calendar_periods_fail_closed_and_rates_open() {
        let policy = OnStoreFailure::default();
        let rejects =
            |period, quantity| policy.rejects(&Limit { name: "it".to_owned(), period, quantity, is_strict: false });
        assert!(!rejects(Period::Minute, Quantity::Requests(1)));
        assert!(!rejects(Period::Hour, Quantity::Tokens(1)));
        assert!(rejects(Period::Hour, Quantity::Spend(1)));
        assert!(rejects(Period::Day, Quantity::Tokens(1)));
        assert!(rejects(Period::Month, Quantity::Requests(1)));
    }
}
