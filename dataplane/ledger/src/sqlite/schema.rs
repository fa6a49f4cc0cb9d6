//! The tables, and how a file of an older version becomes one of this.

use rusqlite::{Connection, TransactionBehavior};

use super::error::SqliteError;

/// Marks a file as ours: `file` and `sqlite3` show it, and no other program's database is written to by mistake.
const APPLICATION_ID: i32 = 0x5254_4149; // "RTAI"

/// Each makes the version after it from the one before. What has been released is never changed.
const MIGRATIONS: [&str; 1] = [VERSION_1];

/// Money is in billionths of `currency`. Token counts are inclusive (docs/usage-records.md). Times are milliseconds since
/// 1970; `hour` is hours since then.
const VERSION_1: &str = "
CREATE TABLE requests (
    row INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    time_ms INTEGER NOT NULL,
    duration_ms INTEGER NOT NULL,
    first_content_ms INTEGER,
    trace_id TEXT,
    namespace TEXT,
    token TEXT,
    key_id TEXT,
    session TEXT,
    route TEXT,
    operation TEXT,
    stream INTEGER NOT NULL,
    model TEXT,
    provider TEXT,
    upstream TEXT,
    served_model TEXT,
    status INTEGER NOT NULL,
    outcome TEXT NOT NULL,
    failed INTEGER NOT NULL,
    error TEXT,
    message TEXT,
    input INTEGER,
    cache_read INTEGER,
    cache_write INTEGER,
    output INTEGER,
    reasoning INTEGER,
    usage_source TEXT NOT NULL,
    cost_nano INTEGER NOT NULL,
    currency TEXT NOT NULL,
    warnings TEXT
);
CREATE INDEX requests_by_time ON requests (time_ms);

CREATE TABLE attempts (
    request INTEGER NOT NULL,
    position INTEGER NOT NULL,
    upstream TEXT NOT NULL,
    provider TEXT NOT NULL,
    model TEXT NOT NULL,
    status INTEGER,
    error TEXT,
    duration_ms INTEGER NOT NULL,
    input INTEGER,
    cache_read INTEGER,
    cache_write INTEGER,
    output INTEGER,
    reasoning INTEGER,
    usage_source TEXT NOT NULL,
    cost_nano INTEGER NOT NULL,
    price TEXT,
    PRIMARY KEY (request, position)
) WITHOUT ROWID;

CREATE TABLE prices (
    id TEXT PRIMARY KEY,
    currency TEXT NOT NULL,
    input_nano INTEGER NOT NULL,
    cache_read_nano INTEGER NOT NULL,
    cache_write_nano INTEGER NOT NULL,
    output_nano INTEGER NOT NULL
) WITHOUT ROWID;

CREATE TABLE hourly (
    hour INTEGER NOT NULL,
    namespace TEXT NOT NULL,
    token TEXT NOT NULL,
    model TEXT NOT NULL,
    provider TEXT NOT NULL,
    upstream TEXT NOT NULL,
    currency TEXT NOT NULL,
    requests INTEGER NOT NULL,
    failed INTEGER NOT NULL,
    attempts INTEGER NOT NULL,
    input INTEGER NOT NULL,
    cache_read INTEGER NOT NULL,
    cache_write INTEGER NOT NULL,
    output INTEGER NOT NULL,
    reasoning INTEGER NOT NULL,
    cost_nano INTEGER NOT NULL,
    PRIMARY KEY (hour, namespace, token, model, provider, upstream, currency)
) WITHOUT ROWID;

CREATE TABLE gaps (
    id TEXT PRIMARY KEY,
    time_ms INTEGER NOT NULL,
    reason TEXT NOT NULL,
    lost INTEGER,
    from_sequence INTEGER,
    to_sequence INTEGER,
    bytes INTEGER NOT NULL
) WITHOUT ROWID;

CREATE TABLE unread (
    entry BLOB PRIMARY KEY,
    time_ms INTEGER NOT NULL,
    why TEXT NOT NULL
) WITHOUT ROWID;
";

/// Makes the tables, or brings them to this version.
///
/// # Errors
/// If the file belongs to another program or a newer version, or cannot be written.
pub(super) fn migrate(connection: &mut Connection) -> Result<(), SqliteError> {
    // Takes the lock first: another process may be doing the same.
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let found = version(&transaction)?;
    for (at, migration) in MIGRATIONS.iter().enumerate().skip(found) {
        transaction.execute_batch(migration)?;
        transaction.pragma_update(None, "user_version", at + 1)?;
    }
    if found == 0 {
        transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
    }
    transaction.commit()?;
    Ok(())
}

/// The version of the tables; 0 in a new file.
///
/// # Errors
/// If the file belongs to another program or a newer version.
pub(crate) fn version(connection: &Connection) -> Result<usize, SqliteError> {
    let number = |pragma| connection.pragma_query_value(None, pragma, |row| row.get::<_, i64>(0));
    let (found, id) = (number("user_version")?, number("application_id")?);
    let tables: i64 = connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    if tables > 0 && id != i64::from(APPLICATION_ID) {
        return Err(SqliteError::NotALedger);
    }
    match usize::try_from(found) {
        Ok(found) if found <= MIGRATIONS.len() => Ok(found),
        _ => Err(SqliteError::Newer { found, known: MIGRATIONS.len() }),
    }
}
