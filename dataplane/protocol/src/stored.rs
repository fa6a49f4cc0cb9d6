//! Responses that a vendor keeps: the calls about one, and their ids on the way to a client.
//!
//! OpenAI keeps a response for 30 days unless it is told not to (`store: false`), in the one account whose key the
//! gateway holds. Its id says neither whose it is nor which of a route's upstreams knows it. So clients are given an id of
//! the gateway's own in its place, which says both; who makes and reads those is [`ResponseIds`]'s maker's affair, since it
//! takes a secret. Here is where ids stand in bodies and events, and every other byte stays.

mod call;
mod edits;

use std::{fmt, sync::Arc};

pub(crate) use call::{LONGEST_ID, stored_path};
pub use call::{StoredCall, StoredPath};
pub(crate) use edits::{in_document, in_event};

/// Gives the ids that clients get in the place of an upstream's.
#[derive(Clone)]
pub struct ResponseIds(Arc<Issue>);

type Issue = dyn Fn(&str) -> Option<String> + Send + Sync;

impl ResponseIds {
    /// `issue` makes the id for clients from an upstream's; none where that is to stay.
    pub fn new(issue: impl Fn(&str) -> Option<String> + Send + Sync + 'static) -> Self {
        Self(Arc::new(issue))
    }

    /// The client's id for an upstream's.
    pub(crate) fn issue(&self, id: &str) -> Option<String> {
        (self.0)(id)
    }
}

impl fmt::Debug for ResponseIds {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("ResponseIds")
    }
}
