//! The innocent tenant: a request every 50 ms, to each provider in turn, whatever goes on.

use std::time::{Duration, Instant};

use routeapi_tests::client::{Client, Dialect};
use tokio::{sync::oneshot, task::JoinHandle, task::JoinSet};

use crate::ground::{Ground, INNOCENT};

const EVERY: Duration = Duration::from_millis(50);
const PATIENCE: Duration = Duration::from_secs(60);
const MODELS: [&str; 3] = ["calm-chat", "calm-claude", "calm-gemini"];

/// Running.
pub struct Innocent {
    stop: oneshot::Sender<()>,
    task: JoinHandle<Tally>,
}

/// What came of its requests.
#[derive(Debug, Default)]
pub struct Tally {
    /// Requests sent.
    pub sent: usize,
    /// What went wrong, one text per request.
    pub failures: Vec<String>,
    /// From when a request was due to the end of its answer, at most.
    pub longest: Duration,
}

impl Innocent {
    /// Starts sending.
    pub fn start(ground: &Ground) -> Self {
        let client = Client::new(ground.gateway, INNOCENT);
        let (stop, stopped) = oneshot::channel();
        Self { stop, task: tokio::spawn(work(client, stopped)) }
    }

    /// Stops, and waits for what is under way.
    pub async fn stop(self) -> Tally {
        let _ = self.stop.send(());
        self.task.await.expect("the innocent's task")
    }
}

async fn work(client: Client, mut stopped: oneshot::Receiver<()>) -> Tally {
    let mut tally = Tally::default();
    let mut requests = JoinSet::new();
    let mut due = Instant::now();
    loop {
        due += EVERY;
        tokio::select! {
            () = tokio::time::sleep_until(due.into()) => {}
            _ = &mut stopped => break,
        }
        let (client, model) = (client.clone(), MODELS[tally.sent % MODELS.len()]);
        tally.sent += 1;
        requests.spawn(async move { ask(&client, model, due).await });
        while let Some(done) = requests.try_join_next() {
            tally.add(done.expect("a request's task"));
        }
    }
    while let Some(done) = requests.join_next().await {
        tally.add(done.expect("a request's task"));
    }
    tally
}

async fn ask(client: &Client, model: &str, due: Instant) -> (Duration, Option<String>) {
    let answer = tokio::time::timeout(PATIENCE, client.ask(Dialect::Chat, model, false, "hello")).await;
    let failure = match answer {
        Err(_) => Some(format!("{model}: no answer in {PATIENCE:?}")),
        Ok(answer) if answer.status != 200 || answer.broken.is_some() => {
            Some(format!("{model}: {} {:?} {}", answer.status, answer.broken, answer.text()))
        }
        Ok(_) => None,
    };
    (due.elapsed(), failure)
}

impl Tally {
    fn add(&mut self, (took, failure): (Duration, Option<String>)) {
        self.longest = self.longest.max(took);
        self.failures.extend(failure);
    }
}
