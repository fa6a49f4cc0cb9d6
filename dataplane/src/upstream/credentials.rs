//! Keeps what proves to upstreams that we may call them fresh: one place per upstream account, into which whoever renews
//! it publishes, and out of which each request takes what holds in the moment it goes out.
//!
//! Today that is whoever puts a configuration in force: a key that was rotated in its Secret is taken up by requests that
//! are planned already and wait for a connection. What is fetched and expires comes by a task of its own, which publishes
//! here too.
//!
//! A place belongs to a provider and to all that is said of it but its key. A provider that is sent elsewhere gets
//! another one, so that a new key never goes to the old address.

use std::sync::Arc;

use tokio::sync::watch;

use super::authorization::Authorization;

/// What proves to one upstream account that we may call it, as of now.
#[derive(Debug)]
pub struct Credentials(watch::Sender<Arc<Authorization>>);

impl Credentials {
    /// With this to begin with.
    pub fn new(authorization: Authorization) -> Self {
        Self(watch::Sender::new(Arc::new(authorization)))
    }

    /// What a request that goes out now is to use.
    pub fn current(&self) -> Arc<Authorization> {
        Arc::clone(&self.0.borrow())
    }

    /// Replaces it for every request that has not gone out yet.
    pub fn publish(&self, authorization: Authorization) {
        self.0.send_if_modified(|current| {
            let differs = **current != authorization;
            if differs {
                *current = Arc::new(authorization);
            }
            differs
        });
    }

    /// Follows it: for whoever has to know that something newer has come.
    pub fn watch(&self) -> watch::Receiver<Arc<Authorization>> {
        self.0.subscribe()
    }
}

#[cfg(test)]
mod tests {
    use routeapi_channel::Secret;

    use super::*;

    #[test]
    fn holders_see_what_was_published_last() {
        let key = |text: &str| Authorization::header("x-key", &Secret::new(text)).unwrap();
        let credentials = Arc::new(Credentials::new(key("old")));
        let (planned, mut watch) = (Arc::clone(&credentials), credentials.watch());
        credentials.publish(key("old"));
        assert!(!watch.has_changed().unwrap(), "the same again is no news");
        credentials.publish(key("new"));
        assert!(watch.has_changed().unwrap());
        assert_eq!((&**watch.borrow_and_update(), &*planned.current()), (&key("new"), &key("new")));
    }
}
