//! What is old is deleted, a little at a time: other processes wait for each transaction.

use std::time::Duration;

use routeapi_metering::UnixMillis;
use rusqlite::{Connection, params};

use super::{error::SqliteError, insert::HOUR_MS};

/// Rows that are deleted in one transaction.
const ROWS: usize = 2_000;

/// Transactions of one call: the rest is left to the next one.
const ROUNDS: usize = 50;

/// Hourly sums are kept for so long, or for the retention time if that is longer: two years, as budgets compare.
const SUMS_DAYS: u64 = 800;

/// Free pages that are given back to the file system at once; 4 KiB each.
const PAGES: u32 = 2_000;

/// Deletes what is older than the retention time.
pub(super) fn prune(from: &Connection, now: UnixMillis, retention: Duration) -> Result<(), SqliteError> {
    let before = |age: Duration| now.saturating_sub(i64::try_from(age.as_millis()).unwrap_or(i64::MAX));
    let details = before(retention);
    for _ in 0..ROUNDS {
        let transaction = from.unchecked_transaction()?;
        let attempts = "DELETE FROM attempts WHERE request IN
                        (SELECT row FROM requests WHERE time_ms < ?1 ORDER BY time_ms LIMIT ?2)";
        let requests = "DELETE FROM requests WHERE row IN
                        (SELECT row FROM requests WHERE time_ms < ?1 ORDER BY time_ms LIMIT ?2)";
        transaction.prepare_cached(attempts)?.execute(params![details, ROWS])?;
        let deleted = transaction.prepare_cached(requests)?.execute(params![details, ROWS])?;
        transaction.commit()?;
        if deleted < ROWS {
            break;
        }
    }
    let sums = before(retention.max(Duration::from_secs(SUMS_DAYS * 86_400)));
    from.execute("DELETE FROM hourly WHERE hour < ?1", [sums.div_euclid(HOUR_MS)])?;
    from.execute("DELETE FROM gaps WHERE time_ms < ?1", [sums])?;
    from.execute("DELETE FROM unread WHERE time_ms < ?1", [sums])?;
    from.execute_batch(&format!("PRAGMA incremental_vacuum({PAGES})"))?;
    Ok(())
}
