//! Where entries end, as the pipeline sees it.

use crate::entry::Entry;

/// Where entries end.
pub trait Sink: Send {
    /// Takes all of these or none, each of them once however often it comes.
    ///
    /// # Errors
    /// If they are not stored. The same entries come again.
    fn commit(&mut self, entries: &[Sunk]) -> Result<(), SinkError>;

    /// Called now and then while nothing waits.
    ///
    /// # Errors
    /// If it is to be tried again later.
    fn maintain(&mut self) -> Result<(), SinkError>;
}

/// What a sink is given.
#[derive(Clone, Debug)]
#[expect(clippy::large_enum_variant, reason = "nearly all are entries")]
pub enum Sunk {
    /// An entry.
    Entry(Entry),
    /// Bytes of the spool that are none, or of another version: to be set aside.
    Unread {
        /// As they are in the spool.
        bytes: Vec<u8>,
        /// Why.
        why: String,
    },
}

/// Why a sink did not take something.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct SinkError(#[from] pub Box<dyn std::error::Error + Send + Sync>);
