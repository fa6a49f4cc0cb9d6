//! Questions about what the sink wrote: who used how much, and what became of one request.

mod request;
mod sums;

use std::path::Path;

use routeapi_metering::UnixMillis;
use rusqlite::Connection;

pub use self::sums::{By, Sums};
use crate::{
    entry::{GapReason, Request},
    sqlite::{self, SqliteError},
};

/// A ledger that is read.
#[derive(Debug)]
pub struct Reader(Connection);

/// Gaps of one kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gaps {
    /// A [`GapReason`] as it is written.
    pub reason: String,
    /// How many gaps.
    pub count: u64,
    /// Requests that are missing in those of them where that is known.
    pub lost: u64,
    /// Whether it is not known of all.
    pub at_least: bool,
}

impl Reader {
    /// Opens a ledger. It may be written to meanwhile.
    ///
    /// # Errors
    /// If there is none, or not one that this version knows.
    pub fn open(path: &Path) -> Result<Self, SqliteError> {
        sqlite::open_to_read(path).map(Self)
    }

    /// What was used since this moment, the largest first; by day in order.
    ///
    /// # Errors
    /// From SQLite.
    pub fn usage(&self, since: UnixMillis, by: By) -> Result<Vec<Sums>, SqliteError> {
        sums::usage(&self.0, since, by)
    }

    /// Gaps that were found since this moment.
    ///
    /// # Errors
    /// From SQLite.
    pub fn gaps(&self, since: UnixMillis) -> Result<Vec<Gaps>, SqliteError> {
        let sql = "SELECT reason, count(*), coalesce(sum(lost), 0), count(*) > count(lost) FROM gaps
                   WHERE time_ms >= ?1 GROUP BY reason ORDER BY reason";
        let mut statement = self.0.prepare(sql)?;
        let rows = statement.query_map([since], |row| {
            Ok(Gaps { reason: row.get(0)?, count: row.get(1)?, lost: row.get(2)?, at_least: row.get(3)? })
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// The request with this id; none if it is not there.
    ///
    /// # Errors
    /// From SQLite.
    pub fn request(&self, id: &str) -> Result<Option<Request>, SqliteError> {
        request::find(&self.0, id)
    }
}

impl Gaps {
    /// Whether requests are missing for sure, rather than possibly after a crash.
    pub fn is_certain(&self) -> bool {
        self.reason != GapReason::UncleanStop.as_str()
    }
}

#[cfg(test)]
mod tests;
