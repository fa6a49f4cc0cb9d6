//! Responses and conversations that a vendor keeps: the calls about one, and their ids on the way to a client.
//!
//! OpenAI keeps a response for 30 days unless it is told not to (`store: false`), and a conversation until it is deleted,
//! in the one account whose key the gateway holds. An id says neither whose it is nor which of a route's upstreams knows
//! it. So clients are given an id of the gateway's own in its place, which says both; who makes and reads those is
//! [`StoredIds`]'s maker's affair, since it takes a secret. Here is where ids stand in bodies and events, and every other
//! byte stays.

mod call;
mod edits;

use std::{borrow::Cow, fmt, sync::Arc};

pub(crate) use call::{LONGEST_ID, stored_path};
pub use call::{StoredCall, StoredPath};
pub(crate) use edits::{in_document, in_event, in_response};

/// What a vendor keeps under an id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StoredKind {
    /// `resp_…`, what one request to `/v1/responses` gave.
    Response,
    /// `conv_…`, what several of them may go on from.
    Conversation,
}

/// What a request goes on from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Continued<'a> {
    /// Which member names it.
    pub kind: StoredKind,
    /// The id as the client wrote it; empty for one that nobody can have issued.
    pub id: Cow<'a, str>,
}

/// Gives the ids that clients get in the place of an upstream's.
#[derive(Clone)]
pub struct StoredIds(Arc<Issue>);

type Issue = dyn Fn(StoredKind, &str) -> Option<String> + Send + Sync;

// === impl StoredKind ===

impl StoredKind {
    /// The member of a request that names one to go on from.
    pub const fn member(self) -> &'static str {
        match self {
            Self::Response => "previous_response_id",
            Self::Conversation => "conversation",
        }
    }

    /// As OpenAI's messages call it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Response => "response",
            Self::Conversation => "conversation",
        }
    }

    /// What OpenAI's ids begin with; clients check it.
    pub const fn prefix(self) -> &'static str {
        match self {
            Self::Response => "resp_",
            Self::Conversation => "conv_",
        }
    }
}

// === impl StoredIds ===

impl StoredIds {
    /// `issue` makes the id for clients from an upstream's; none where that is to stay.
    pub fn new(issue: impl Fn(StoredKind, &str) -> Option<String> + Send + Sync + 'static) -> Self {
        Self(Arc::new(issue))
    }

    /// The client's id for an upstream's.
    pub(crate) fn issue(&self, kind: StoredKind, id: &str) -> Option<String> {
        (self.0)(kind, id)
    }
}

impl fmt::Debug for StoredIds {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("StoredIds")
    }
}
