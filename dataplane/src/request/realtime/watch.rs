//! What ends a session from outside: its time, silence, a peer that is not there any more, a token or a route that was
//! taken away, the end of the process. Looks once a second: a session is a task of its own, and no answer waits for this.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use super::{
    end::{End, Side},
    outbox::Outbox,
    socket::Heard,
};
use crate::{
    clock,
    request::{access, config_view::ConfigView, gateway::Gateway},
};

/// Between two looks, at most.
const TICK: Duration = Duration::from_secs(1);

/// Between two pings to each side: well below the idle time of load balancers (60 s and more).
const PING_EVERY: Duration = Duration::from_secs(20);

/// How long a side may be silent after a ping.
const PONG_TIMEOUT: Duration = Duration::from_secs(40);

/// Watches one session.
pub(super) struct Watch {
    pub gateway: Arc<Gateway>,
    pub view: ConfigView,
    /// The model as the client named it.
    pub asked: Arc<str>,
    pub sides: [(Side, Arc<Outbox>, Heard); 2],
    /// The last message, whoever sent it.
    pub message: Heard,
}

impl Watch {
    /// Resolves when the session has to end.
    pub(super) async fn run(mut self) -> End {
        let settings = self.gateway.settings.sessions;
        let tick = TICK.min(settings.idle / 4).min(settings.longest / 4);
        let began = clock::mono();
        let mut next_ping = began.checked_add(PING_EVERY);
        let gateway = Arc::clone(&self.gateway);
        loop {
            tokio::select! {
                () = tokio::time::sleep(tick) => {}
                () = gateway.drain.expired() => return End::Shutdown,
            }
            let now = clock::mono();
            if let Some(end) = self.overdue(began, now) {
                return end;
            }
            if next_ping.is_some_and(|at| at <= now) {
                next_ping = now.checked_add(PING_EVERY);
                self.sides.iter().for_each(|(_, outbox, _)| outbox.ping());
            }
        }
    }

    fn overdue(&mut self, began: Instant, now: Instant) -> Option<End> {
        let settings = self.gateway.settings.sessions;
        let since = |at: Instant| now.saturating_duration_since(at);
        if since(began) >= settings.longest {
            return Some(End::Longest(settings.longest));
        }
        if since(self.message.last()) >= settings.idle {
            return Some(End::Idle(settings.idle));
        }
        let silent = self.sides.iter().find(|(_, outbox, heard)| outbox.is_unanswered(heard, PONG_TIMEOUT));
        if let Some((side, ..)) = silent {
            return Some(End::Silent(*side));
        }
        match self.view.refresh(&self.gateway) {
            Ok(false) => None,
            // Under the new configuration the model may be another namespace's, or not in the token's list any more.
            Ok(true) => access::permitted(self.view.runtime(), self.view.caller(), &self.asked)
                .err()
                .map(|refusal| End::Withdrawn(Box::new(refusal))),
            Err(refusal) => Some(End::Withdrawn(Box::new(refusal))),
        }
    }
}
