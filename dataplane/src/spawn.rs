//! The only place that starts tasks.
//!
//! A panic ends the task it happens in and nothing else; it is logged with the task's name and counted, so that it is
//! seen. Tasks are not tied to anything here: whoever starts one keeps what stops it.

use std::{any::Any, future::Future, panic::AssertUnwindSafe};

use futures_util::FutureExt;
use prometheus_client::metrics::counter::Counter;
use tokio::task::JoinHandle;

use crate::server::abort::abortable;

/// Starts tasks and counts those that panic. Also hyper's executor, so each HTTP/2 stream is covered.
#[derive(Clone, Debug, Default)]
pub struct Spawner {
    panics: Counter,
}

impl Spawner {
    /// Counts panics in `panics`, whoever else holds a clone of it.
    pub fn new(panics: Counter) -> Self {
        Self { panics }
    }

    /// Starts a task. The result is lost if nobody keeps the handle; none if the task panicked.
    pub fn spawn<F>(&self, name: &'static str, task: F) -> JoinHandle<Option<F::Output>>
    where
        F: Future + Send + 'static,
        F::Output: Send,
    {
        let spawner = self.clone();
        tokio::spawn(async move { spawner.guard(name, task).await })
    }

    /// Runs a future in place; none if it panicked.
    pub async fn guard<F: Future>(&self, name: &'static str, task: F) -> Option<F::Output> {
        match AssertUnwindSafe(task).catch_unwind().await {
            Ok(output) => Some(output),
            Err(panic) => {
                self.panics.inc();
                tracing::error!(task = name, panic = describe(&*panic), "a task panicked");
                None
            }
        }
    }
}

impl<F> hyper::rt::Executor<F> for Spawner
where
    F: Future + Send + 'static,
    F::Output: Send,
{
    fn execute(&self, task: F) {
        drop(self.spawn("http2 stream", abortable(task)));
    }
}

fn describe(panic: &(dyn Any + Send)) -> &str {
    panic
        .downcast_ref::<&'static str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn panic_is_counted_and_contained_in_its_task() {
        let spawner = Spawner::default();
        let broken = spawner.spawn("broken", async { panic!("on purpose") });
        let sound = spawner.spawn("sound", async { 7 });
        assert_eq!(broken.await.unwrap(), None::<()>);
        assert_eq!(sound.await.unwrap(), Some(7));
        assert_eq!(spawner.panics.get(), 1);
    }
}
