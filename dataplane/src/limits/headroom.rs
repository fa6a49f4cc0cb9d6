//! What is left of a token's limits, for response headers.

use routeapi_metering::{Limit, Quantity};

/// What a token may still use: of each kind, the limit with the least room.
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
    /// The cap that is enforced: in this process, or by the store.
    pub cap: u64,
    /// What is neither used nor reserved of it.
    pub left: u64,
}

// === impl Headroom ===

impl Headroom {
    /// Of each kind, the least room among (limit, cap, what is left of it).
    pub fn of(remaining: &[(&Limit, u64, u64)]) -> Self {
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
