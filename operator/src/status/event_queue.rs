//! Events about conditions, recorded beside the statuses: they delay no status, and a burst of them is not a burst of requests.

use std::time::Duration;

use k8s_openapi::api::core::v1::ObjectReference;
use kube::{
    Client,
    runtime::events::{Event, EventType, Recorder, Reporter},
};
use tokio::{
    sync::mpsc::{self, Receiver, Sender},
    time,
};
use tracing::debug;

use super::decide::Transition;

/// How long recording an event may take.
const EVENT_TIMEOUT: Duration = Duration::from_secs(2);

/// The time between two events: 20 per second.
const INTERVAL: Duration = Duration::from_millis(50);

/// Events that wait. More are not recorded: the conditions tell the same.
const MAX_WAITING: usize = 1000;

/// That an object became ready is not recorded beyond so many events that wait: a thousand new objects need no thousand events
/// beside their conditions, but what is wrong is worth one.
const MAX_WAITING_GOOD: usize = 40;

/// Where events wait.
#[derive(Clone, Debug)]
pub struct EventQueue(Sender<(ObjectReference, Transition)>);

/// Records events.
pub struct EventWriter {
    recorder: Recorder,
    waiting: Receiver<(ObjectReference, Transition)>,
}

/// A queue, and what records its events.
pub fn event_queue(client: &Client, identity: &str) -> (EventQueue, EventWriter) {
    let (sender, waiting) = mpsc::channel(MAX_WAITING);
    let reporter = Reporter { controller: "routeapi-operator".to_owned(), instance: Some(identity.to_owned()) };
    (EventQueue(sender), EventWriter { recorder: Recorder::new(client.clone(), reporter), waiting })
}

// === impl EventQueue ===

impl EventQueue {
    /// Adds an event for each transition.
    pub fn add(&self, about: &ObjectReference, transitions: Vec<Transition>) {
        for transition in transitions {
            let waiting = MAX_WAITING - self.0.capacity();
            let full = transition.good && waiting >= MAX_WAITING_GOOD;
            if full || self.0.try_send((about.clone(), transition)).is_err() {
                debug!(name = about.name, "too many events");
            }
        }
    }
}

// === impl EventWriter ===

impl EventWriter {
    /// Records until the queue is gone.
    pub async fn run(mut self) {
        let mut pace = time::interval(INTERVAL);
        pace.set_missed_tick_behavior(time::MissedTickBehavior::Delay);
        while let Some((about, transition)) = self.waiting.recv().await {
            pace.tick().await;
            let event = Event {
                type_: if transition.good { EventType::Normal } else { EventType::Warning },
                reason: transition.reason.clone(),
                note: Some(transition.note),
                action: transition.type_,
                secondary: None,
            };
            let recorded = time::timeout(EVENT_TIMEOUT, self.recorder.publish(&event, &about)).await;
            if !matches!(recorded, Ok(Ok(()))) {
                debug!(reason = transition.reason, "cannot record an event");
            }
        }
    }
}
