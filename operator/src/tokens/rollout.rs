//! Which keys every data plane has: found out once for all tokens that wait for it, so that a thousand keys share one publication
//! and one round of acknowledgements.

use std::{sync::Arc, time::Duration};

use routeapi_channel::{Key, Kind, ObjectId};
use tokio::{sync::watch, time};

use crate::{context::Context, publish::Publication, push::ack::AckSummary};

/// Acknowledgements are collected for this long: those of many pods arrive together.
const BATCH_DELAY: Duration = Duration::from_millis(5);

/// What is in force where. Clones share it.
#[derive(Clone, Default)]
pub struct Rollout(Arc<watch::Sender<Arc<InForce>>>);

#[derive(Default)]
struct InForce {
    publication: Option<Arc<Publication>>,
    summary: AckSummary,
}

// === impl Rollout ===

impl Rollout {
    /// Follows publications and acknowledgements until aborted.
    pub async fn follow(&self, context: &Context) {
        let (mut publications, mut acks) = (context.publisher.subscribe(), context.acks.changed());
        loop {
            let publication = publications.borrow_and_update().clone();
            acks.mark_unchanged();
            let summary = context.acks.summary(|revision| context.publisher.state(revision));
            self.0.send_replace(Arc::new(InForce { publication, summary }));
            tokio::select! {
                _ = publications.changed() => {}
                _ = acks.changed() => {}
            }
            time::sleep(BATCH_DELAY).await;
        }
    }

    /// Completes when every connected data plane has a key of a token.
    pub async fn acknowledged(&self, token: &ObjectId, key_id: &str) {
        let key = Key { kind: Kind::Token, id: token.clone() };
        let everywhere = |in_force: &Arc<InForce>| {
            let Some(publication) = &in_force.publication else { return false };
            let entry = publication.catalog.get(&key);
            entry.is_some_and(|entry| in_force.summary.all_have(&key, &entry.version))
                && publication.has_token_key(token, key_id)
        };
        if self.0.subscribe().wait_for(everywhere).await.is_err() {
            std::future::pending::<()>().await; // `follow` was aborted, and so is this
        }
    }
}
