//! Usage, price, reserve–settle and windows as arithmetic. No clock, no I/O, no floats for money.
//!
//! A request's life here: [`estimate`](Estimate) for what it may use at most → [`Account::reserve`] → the upstream answers →
//! [`Account::settle`] with what it did use. [`UsageRecord`] is the one schema in which that leaves the process.

mod account;
mod price;
mod record;
mod usage;
mod window;

pub use account::{Account, Actual, Bounds, Estimate, Exceeded, ExceededKind, Limit, Quantity, Share, Ticket};
pub use price::{Nanos, Price};
pub use record::{Affinity, AttemptRecord, Outcome, UsageRecord, UsageSource};
pub use usage::Usage;
pub use window::{Period, Window};

/// Milliseconds since 1970, UTC.
pub type UnixMillis = i64;
