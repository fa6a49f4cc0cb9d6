//! What is in force: the compiled tables that requests read, and what is known about how they came to be.
//!
//! One pointer is swapped per configuration; a request takes it once and keeps it to its end, so it never sees two.
//! Decides nothing: whoever fills it has compiled and checked before.

use std::sync::Arc;

use arc_swap::{ArcSwap, ArcSwapOption};
use routeapi_channel::{Catalog, Revision, catalog::Unreadable};
use tokio::sync::watch;

use super::runtime::Runtime;
use crate::clock::Now;

/// Shared by requests, the source of configuration and the admin listener.
pub struct Store {
    current: ArcSwap<Runtime>,
    applied: ArcSwapOption<Applied>,
    link: watch::Sender<Link>,
    held: watch::Sender<bool>,
}

/// What is in force and where it came from. Holds secrets, so it has no `Debug`.
pub struct Applied {
    /// The name of the state, as the source named it.
    pub revision: Revision,
    /// Every resource in force; redact before showing.
    pub catalog: Arc<Catalog>,
    /// What could not be used; the previous version of each is in force if there was one.
    pub rejected: Vec<Unreadable>,
    /// Where it came from.
    pub origin: Origin,
    /// When it was put in force.
    pub at: Now,
}

/// Where a configuration came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Manifests on this machine.
    Files,
    /// The operator's stream.
    Operator,
    /// The state directory: what was in force before a restart.
    LastGood,
}

/// The connection to the operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Link {
    /// There is no operator: configuration comes from files.
    Local,
    /// Not connected.
    Down {
        /// Since when.
        since: Now,
        /// Why, in words; none before the first attempt.
        reason: Option<String>,
    },
    /// Connected.
    Up {
        /// Since when.
        since: Now,
    },
}

impl Store {
    /// A store that holds nothing valid yet: `empty` answers requests until a configuration comes.
    pub fn new(empty: Runtime, link: Link) -> Self {
        Self {
            current: ArcSwap::from_pointee(empty),
            applied: ArcSwapOption::empty(),
            link: watch::Sender::new(link),
            held: watch::Sender::new(false),
        }
    }

    /// The tables in force. Take them once per request.
    pub fn current(&self) -> Arc<Runtime> {
        self.current.load_full()
    }

    /// Puts tables in force, without a word about where they came from: for a change of this pod's share of limits.
    pub fn replace(&self, runtime: Arc<Runtime>) {
        self.current.store(runtime);
    }

    /// Puts a configuration in force.
    pub fn apply(&self, runtime: Arc<Runtime>, applied: Applied) {
        self.current.store(runtime);
        self.applied.store(Some(Arc::new(applied)));
        self.held.send_replace(true);
    }

    /// What is in force, none before the first configuration.
    pub fn applied(&self) -> Option<Arc<Applied>> {
        self.applied.load_full()
    }

    /// Whether a configuration is in force.
    pub fn is_configured(&self) -> bool {
        *self.held.borrow()
    }

    /// Resolves when a configuration is in force.
    pub async fn configured(&self) {
        // Fails only when the sender is gone, which `self` holds.
        let _ = self.held.subscribe().wait_for(|held| *held).await;
    }

    /// The connection to the operator, now.
    pub fn link(&self) -> Link {
        self.link.borrow().clone()
    }

    /// Tells what became of the connection to the operator.
    pub fn set_link(&self, link: Link) {
        self.link.send_replace(link);
    }

    /// Follows the connection to the operator.
    pub fn watch_link(&self) -> watch::Receiver<Link> {
        self.link.subscribe()
    }
}
