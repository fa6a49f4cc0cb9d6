//! Ending a connection or an HTTP/2 stream from inside its own task.
//!
//! An answer that its client does not take cannot end by itself: the server asks for the next piece only when there is
//! room, and holds what it has until then. Dropping the task closes the connection (HTTP/1) or resets the stream (HTTP/2)
//! and frees what waits in it.

use std::future::Future;

use futures_util::future::{AbortHandle, Abortable};

tokio::task_local! {
    static CURRENT: AbortHandle;
}

/// Runs a task that [`current`] ends. None if it was ended.
pub async fn abortable<F: Future>(task: F) -> Option<F::Output> {
    let (handle, registration) = AbortHandle::new_pair();
    Abortable::new(CURRENT.scope(handle, task), registration).await.ok()
}

/// Ends the task that asks: on HTTP/1 the connection, on HTTP/2 one stream. None outside a server's tasks.
pub fn current() -> Option<AbortHandle> {
    CURRENT.try_with(Clone::clone).ok()
}

#[cfg(test)]
mod tests {
    use std::{future::pending, sync::Arc};

    use super::*;

    #[tokio::test]
    async fn aborted_task_drops_what_it_holds() {
        let held = Arc::new(());
        let inside = Arc::clone(&held);
        let (told, handle) = tokio::sync::oneshot::channel();
        let task = tokio::spawn(abortable(async move {
            let _inside = inside;
            told.send(current().unwrap()).unwrap();
            pending::<()>().await;
        }));
        handle.await.unwrap().abort();
        assert_eq!(task.await.unwrap(), None);
        assert_eq!(Arc::strong_count(&held), 1);
        assert!(current().is_none());
    }
}
