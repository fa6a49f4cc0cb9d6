//! The state with which a session starts: what the pod has already.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use bytes::Bytes;
use http_body::Body;
use routeapi_channel::{
    Key, Version,
    frame::{self, FromDataPlane, FromOperator, Hello, MAX_LISTED},
};
use tokio::{sync::OwnedSemaphorePermit, time};

use super::{context::SessionContext, end::SessionEnd};
use crate::push::{
    acked_state::AckedState,
    lines::{Lines, Outbox},
};

/// How long a pod may take to send hello, and each part of its list. It takes milliseconds; the limit ends connections that
/// send nothing.
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// Pods that may list their state at the same time; a list of [`MAX_LISTED`] resources takes about 40 MiB.
pub const MAX_CONCURRENT_LISTS: usize = 4;

/// How long a pod waits until it may list its state; after that it gets everything, which takes about as long.
const LIST_QUEUE_TIMEOUT: Duration = Duration::from_secs(15);

/// The state of a pod: that of the revision in its hello if it is known here, else what the pod lists, else nothing. The permit is
/// to be kept while the list is in use.
pub async fn starting_state<B>(
    hello: &Hello,
    context: &SessionContext,
    lines: &mut Lines<B>,
    outbox: &mut Outbox,
) -> Result<(AckedState, Option<OwnedSemaphorePermit>), SessionEnd>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: std::fmt::Display,
{
    let Some(revision) = hello.revision.as_ref().filter(|_| hello.held.is_empty() && hello.knows(frame::FEATURE_LIST))
    else {
        return Ok((AckedState::of(hello), None));
    };
    let current = context.publications.borrow().clone().filter(|publication| publication.revision == *revision);
    if let Some(state) =
        current.map(|publication| Arc::clone(&publication.catalog)).or_else(|| context.history.state(revision))
    {
        return Ok((AckedState::after(revision, &state, &[]), None));
    }
    let Ok(Ok(permit)) = time::timeout(LIST_QUEUE_TIMEOUT, Arc::clone(&context.lists).acquire_owned()).await else {
        return Ok((AckedState::default(), None));
    };
    outbox.put_frame(&FromOperator::List {}).await?;
    outbox.flush().await?;
    Ok((AckedState::listed(revision, read_list(lines).await?), Some(permit)))
}

async fn read_list<B>(lines: &mut Lines<B>) -> Result<BTreeMap<Key, Version>, SessionEnd>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: std::fmt::Display,
{
    let mut listed = BTreeMap::new();
    loop {
        match time::timeout(HANDSHAKE_TIMEOUT, lines.next()).await {
            Ok(Ok(Some(FromDataPlane::Held { items, more }))) => {
                listed.extend(items.into_iter().map(|frame::Held { key, v }| (key, v)));
                if listed.len() > MAX_LISTED {
                    return Err(SessionEnd::Protocol(format!("the list has more than {MAX_LISTED} resources")));
                }
                if !more {
                    return Ok(listed);
                }
            }
            Ok(Ok(Some(_))) => {
                return Err(SessionEnd::Protocol("expected a held frame".to_owned()));
            }
            Ok(Ok(None)) => return Err(SessionEnd::Closed),
            Ok(Err(error)) => return Err(error.into()),
            Err(_) => return Err(SessionEnd::TimedOut),
        }
    }
}
