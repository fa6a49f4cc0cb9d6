//! What a proof of who sends a request can be about, and that there is none.

/// A body as far as a proof can be about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Payload<'a> {
    /// All of it, in pieces.
    Whole([&'a [u8]; 3]),
    /// Some of it is still on its way from the client.
    Streamed,
}

/// There is nothing that holds now: nothing has come yet, or it has expired and nothing newer has come. Nothing may be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no valid credentials could be obtained for it")]
pub struct Stale;
