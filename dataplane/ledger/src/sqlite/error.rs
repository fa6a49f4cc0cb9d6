//! What can go wrong with a database.

use std::io;

/// Why there is no database, or why it did not do something.
#[derive(Debug, thiserror::Error)]
pub enum SqliteError {
    /// The directory or the file.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// Another program's database.
    #[error("it is a SQLite database of another program")]
    NotALedger,
    /// A newer version of this program made it.
    #[error("its tables have version {found}; this program knows versions up to {known}")]
    Newer {
        /// In the file.
        found: i64,
        /// By this program.
        known: usize,
    },
    /// SQLite.
    #[error(transparent)]
    Sqlite(#[from] rusqlite::Error),
}
