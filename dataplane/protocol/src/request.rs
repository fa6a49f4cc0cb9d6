//! A client's request, read once: what routing, limits and the lanes need to know of it.
//!
//! Reading is a scan; the body becomes the neutral representation only when an attempt has to be translated, and then
//! once for all attempts. A member that decides routing or limits may not repeat, whatever the case of its escapes:
//! gateway and upstream could read different ones.

mod allowance;
mod bound_reasoning;
pub(crate) mod bounds;
mod end_user;
mod foreign_state;
mod form;
mod hints;
mod hybrid;
mod needs;
mod parsed;
mod preferred;
mod prepare;
mod prepared;
mod reading;
mod restrict;
mod session;

pub use crate::embed::BatchPart;
pub use allowance::Allowance;
pub use form::{Form, PreparedForm};
pub use hints::ReasoningSetting;
pub use needs::Needs;
pub use parsed::ParsedRequest;
pub use prepared::{Destination, LeftOut, Prepared, Unprepared};
pub use restrict::Held;
pub use session::BodySession;

#[cfg(test)]
mod tests;
