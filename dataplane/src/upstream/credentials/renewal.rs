//! Fetches the tokens of identities ahead of need, in the background: each identity by one task at a time, for all requests of
//! this process.

use std::{sync::Arc, time::Duration};

use routeapi_channel::ObjectId;
use tokio::{sync::Notify, time::sleep};

use super::{Credentials, TokenClient, identity::Identity, token::FetchError};
use crate::{clock, spawn::Spawner, state::RejectedKeys, upstream::Metrics};

/// How often it is looked whether a token is due.
const LOOK_INTERVAL: Duration = Duration::from_millis(250);

/// What fetching needs, and where what came of it is told.
#[derive(Clone, Debug)]
pub struct Renewal {
    /// Asks for tokens.
    pub client: Arc<TokenClient>,
    /// Where refusals are noted, for whoever owns the provider.
    pub rejected_keys: Arc<RejectedKeys>,
    /// Counts attempts.
    pub metrics: Metrics,
    /// Starts tasks.
    pub spawner: Spawner,
    /// Wakes the look-out when a configuration was put in force.
    pub changed: Arc<Notify>,
}

/// Keeps tokens fresh for as long as it is polled. `all` gives the places of the configuration in force.
pub async fn follow(renewal: Renewal, all: impl Fn() -> Vec<(ObjectId, Arc<Credentials>)>) {
    loop {
        for (provider, credentials) in all() {
            for credentials in credentials.with_sessions(clock::mono()) {
                if let Some(identity) = credentials.begin(clock::mono()) {
                    let (renewing, provider) = (renewal.clone(), provider.clone());
                    let task = async move { renewing.renew(&provider, &credentials, &identity).await };
                    drop(renewal.spawner.spawn("credentials", task));
                }
            }
        }
        tokio::select! {
            () = renewal.changed.notified() => {}
            () = sleep(LOOK_INTERVAL) => {}
        }
    }
}

impl Renewal {
    async fn renew(&self, provider: &ObjectId, credentials: &Credentials, identity: &Arc<Identity>) {
        let fetched = identity.fetch(&self.client).await;
        let now = clock::now();
        match fetched {
            Ok(authorization) => {
                if credentials.fetched(identity, Ok(authorization), now) {
                    self.metrics.token_fetched(provider, "success");
                    if self.rejected_keys.identity_accepted(provider) {
                        tracing::info!(%provider, "a token was fetched for this AIProvider again");
                    }
                }
            }
            Err(error) => {
                if credentials.fetched(identity, Err(&error), now) {
                    self.note_failure(provider, &error, now.unix_seconds());
                }
            }
        }
    }

    /// A refusal is shown to whoever owns the provider, in the vendor's words; an endpoint that fails is logged.
    fn note_failure(&self, provider: &ObjectId, error: &FetchError, now: i64) {
        let FetchError { status, is_refusal, message, retry_after: _ } = error;
        self.metrics.token_fetched(provider, if *is_refusal { "refused" } else { "failed" });
        if !is_refusal {
            tracing::warn!(%provider, %error, "no token could be fetched for this AIProvider; it is tried again");
        } else if self.rejected_keys.identity_refused(provider, status.unwrap_or(0), message, now) {
            tracing::warn!(%provider, %error, "the identity of this AIProvider is refused");
        }
    }
}
