//! The sink of the embedded ledger: a SQLite file, which several gateways of a machine may share.
//!
//! Each request is there once, however often it is committed: rows and rollups are written in one transaction, and only if
//! the request's id is new. Values are parameters, never text of a statement. Detailed rows are deleted after the retention
//! time, hourly sums are kept for longer.

mod error;
mod insert;
mod retention;
pub(crate) mod schema;

use std::{
    fs::{DirBuilder, OpenOptions},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
    time::Duration,
};

use rusqlite::{Connection, OpenFlags, TransactionBehavior};

pub use self::error::SqliteError;
pub(crate) use self::insert::HOUR_MS;
use crate::{
    clock,
    sink::{Sink, SinkError, Sunk},
};

/// How long a transaction waits for another process's.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a reader waits.
const READ_TIMEOUT: Duration = Duration::from_secs(5);

/// Writes to a ledger.
#[derive(Debug)]
pub struct SqliteSink {
    connection: Connection,
    retention: Duration,
}

impl SqliteSink {
    /// Opens a ledger, or makes a new one that only this user can read.
    ///
    /// # Errors
    /// If the file cannot be written, or is not a ledger that this version knows.
    pub fn open(path: &Path, retention: Duration) -> Result<Self, SqliteError> {
        if let Some(directory) = path.parent().filter(|directory| !directory.as_os_str().is_empty()) {
            DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
        }
        // SQLite gives its other files the mode of this one.
        OpenOptions::new().create(true).append(true).mode(0o600).open(path)?;
        let mut connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE | FLAGS)?;
        connection.busy_timeout(BUSY_TIMEOUT)?;
        // Before the first table: space of deleted rows can then be given back.
        connection.pragma_update(None, "auto_vacuum", "INCREMENTAL")?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        // What is committed is acknowledged to the spool and deleted there, so it has to be on the disk.
        connection.pragma_update(None, "synchronous", "FULL")?;
        schema::migrate(&mut connection)?;
        Ok(Self { connection, retention })
    }

    fn store(&mut self, entries: &[Sunk]) -> Result<(), SqliteError> {
        let now = clock::unix_ms();
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        for entry in entries {
            insert::insert(&transaction, entry, now)?;
        }
        transaction.commit()?;
        Ok(())
    }
}

/// This connection belongs to one thread, and names are names, not URIs.
const FLAGS: OpenFlags = OpenFlags::SQLITE_OPEN_NO_MUTEX;

impl Sink for SqliteSink {
    fn commit(&mut self, entries: &[Sunk]) -> Result<(), SinkError> {
        self.store(entries).map_err(|error| SinkError(Box::new(error)))
    }

    fn maintain(&mut self) -> Result<(), SinkError> {
        retention::prune(&self.connection, clock::unix_ms(), self.retention).map_err(|error| SinkError(Box::new(error)))
    }
}

/// Opens a ledger to read it. It may be written to meanwhile.
///
/// # Errors
/// If there is none, or not one that this version knows.
pub(crate) fn open_to_read(path: &Path) -> Result<Connection, SqliteError> {
    // Not read-only: a reader of a write-ahead log makes its index if no writer is there.
    let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE | FLAGS)?;
    connection.busy_timeout(READ_TIMEOUT)?;
    connection.pragma_update(None, "query_only", true)?;
    if schema::version(&connection)? == 0 {
        return Err(SqliteError::NotALedger);
    }
    Ok(connection)
}

/// Where the spool of a ledger is: beside it.
pub fn spool_of(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push("-spool");
    PathBuf::from(name)
}

#[cfg(test)]
mod tests;
