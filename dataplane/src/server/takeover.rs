//! A connection that HTTP has left: what goes on with it once a response has switched protocols.
//!
//! Whoever answers a request with 101 puts a [`Takeover`] into the response's extensions. It runs in the connection's own
//! task, so that the connection keeps its place in every limit and count, is waited for when the process ends, and can be
//! aborted like any other.

use std::{
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
};

use http::Extensions;

/// What runs in the place of HTTP.
type Task = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Runs on a connection after its response. Clones share one task.
#[derive(Clone)]
pub struct Takeover(Arc<Mutex<Option<Task>>>);

impl Takeover {
    /// A task that awaits `hyper::upgrade::on` its request first. Dropped unrun where no connection can be handed over.
    pub fn new(task: impl Future<Output = ()> + Send + 'static) -> Self {
        Self(Arc::new(Mutex::new(Some(Box::pin(task)))))
    }

    /// The task of a response, if it has one.
    pub(super) fn take(extensions: &mut Extensions) -> Option<Task> {
        let Self(task) = extensions.remove::<Self>()?;
        task.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// Where a connection's task is left for when HTTP has ended.
#[derive(Default)]
pub(super) struct Next(Mutex<Option<Task>>);

impl Next {
    pub(super) fn set(&self, task: Task) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(task);
    }

    pub(super) fn take(&self) -> Option<Task> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}
