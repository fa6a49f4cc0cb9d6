//! Waiting for a condition, with a limit and a message, so that no test sleeps for a guessed time.

use std::future::Future;
use std::time::{Duration, Instant};

/// How often a condition is looked at.
const STEP: Duration = Duration::from_millis(5);

/// Runs `check` until it gives a value, and returns it with the time that took.
///
/// # Panics
/// When `limit` has passed; the message says what was waited for.
pub async fn until<T, F, Fut>(what: &str, limit: Duration, mut check: F) -> (T, Duration)
where
    F: FnMut() -> Fut,
    Fut: Future<Output = Option<T>>,
{
    let started = Instant::now();
    loop {
        if let Some(value) = check().await {
            return (value, started.elapsed());
        }
        assert!(started.elapsed() < limit, "waited {limit:?} in vain for: {what}");
        tokio::time::sleep(STEP).await;
    }
}

/// Waits until `check` is true.
///
/// # Panics
/// As [`until`].
pub async fn until_true(what: &str, limit: Duration, mut check: impl FnMut() -> bool) -> Duration {
    let ((), took) = until(what, limit, || std::future::ready(check().then_some(()))).await;
    took
}
