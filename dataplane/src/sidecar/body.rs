//! A request's body on its way to the gateway: each piece goes on as it comes. A copy of what was sent is kept until the
//! answer begins, so that a request can be sent again that the gateway did not process. The copy of one request has at most
//! [`MAX_KEPT_BYTES`], those of all together [`MAX_KEPT_BYTES_IN_ALL`]; what is beyond is sent once and not kept.

use std::{
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, ready},
};

use bytes::{Bytes, BytesMut};
use futures_util::Stream;
use http_body::Body;
use http_body_util::{BodyExt, combinators::UnsyncBoxBody};

use crate::upstream::{BrokenOff, OutboundBody, Tail};

/// Most bytes that are kept of one request.
const MAX_KEPT_BYTES: usize = 1 << 20;

/// Most bytes that are kept of all requests together.
const MAX_KEPT_BYTES_IN_ALL: usize = 4 << 20;

/// Size of the pieces in which a copy is sent.
const PIECE_BYTES: usize = 16 << 10;

/// What all requests together keep.
#[derive(Debug, Default)]
pub(super) struct Kept(AtomicUsize);

/// A request's body, of which every attempt sends the whole.
pub(super) struct RequestBody {
    shared: Arc<Shared>,
    is_empty: bool,
}

struct Shared {
    state: Mutex<State>,
    kept: Arc<Kept>,
}

struct State {
    incoming: UnsyncBoxBody<Bytes, BrokenOff>,
    /// From the beginning, as long as `is_kept`.
    copy: BytesMut,
    is_kept: bool,
    has_ended: bool,
    is_broken: bool,
    /// Which attempt may read.
    attempt: u32,
    received: u64,
}

/// One attempt's body.
struct Attempt {
    shared: Arc<Shared>,
    number: u32,
    /// Bytes that it has sent.
    sent: u64,
}

impl RequestBody {
    pub fn new<B>(incoming: B, kept: &Arc<Kept>) -> Self
    where
        B: Body<Data = Bytes> + Send + 'static,
    {
        let is_empty = incoming.is_end_stream();
        let state = State {
            incoming: incoming.map_err(|_| BrokenOff).boxed_unsync(),
            copy: BytesMut::new(),
            is_kept: true,
            has_ended: is_empty,
            is_broken: false,
            attempt: 0,
            received: 0,
        };
        Self { shared: Arc::new(Shared { state: Mutex::new(state), kept: Arc::clone(kept) }), is_empty }
    }

    /// The body of the next attempt. Attempts before it get nothing more.
    pub fn attempt(&self) -> OutboundBody {
        let mut state = self.shared.state();
        state.attempt += 1;
        if self.is_empty {
            return OutboundBody::default();
        }
        let number = state.attempt;
        OutboundBody::streamed(Tail::new(Attempt { shared: Arc::clone(&self.shared), number, sent: 0 }))
    }

    /// Whether another attempt could send all of it.
    pub fn can_be_sent_again(&self) -> bool {
        let state = self.shared.state();
        state.is_kept && !state.is_broken
    }

    /// Whether the client did not send all of it.
    pub fn is_broken(&self) -> bool {
        self.shared.state().is_broken
    }

    /// Bytes that have come.
    pub fn received(&self) -> u64 {
        self.shared.state().received
    }

    /// Keeps nothing from now on: the answer has begun.
    pub fn forget(&self) {
        self.shared.forget(&mut self.shared.state());
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn keep(&self, state: &mut State, piece: &[u8]) {
        if !state.is_kept {
            return;
        }
        if state.copy.len() + piece.len() > MAX_KEPT_BYTES || !self.kept.take(piece.len()) {
            self.forget(state);
            return;
        }
        state.copy.extend_from_slice(piece);
    }

    fn forget(&self, state: &mut State) {
        self.kept.give_back(state.copy.len());
        state.copy = BytesMut::new();
        state.is_kept = false;
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        let kept = self.state().copy.len();
        self.kept.give_back(kept);
    }
}

impl Kept {
    fn take(&self, bytes: usize) -> bool {
        let more = |kept: usize| kept.checked_add(bytes).filter(|kept| *kept <= MAX_KEPT_BYTES_IN_ALL);
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).is_ok()
    }

    fn give_back(&self, bytes: usize) {
        self.0.fetch_sub(bytes, Ordering::Relaxed);
    }
}

impl Stream for Attempt {
    type Item = Result<Bytes, BrokenOff>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        let mut state = this.shared.state();
        if state.attempt != this.number || state.is_broken {
            return Poll::Ready(Some(Err(BrokenOff)));
        }
        if this.sent < state.received {
            let copy = usize::try_from(this.sent).ok().and_then(|sent| state.copy.get(sent..));
            // Nothing is left of the copy when the answer has begun: the gateway did not want the rest.
            let Some(left) = copy.filter(|left| !left.is_empty()) else { return Poll::Ready(Some(Err(BrokenOff))) };
            let piece = Bytes::copy_from_slice(left.get(..PIECE_BYTES).unwrap_or(left));
            this.sent += piece.len() as u64;
            return Poll::Ready(Some(Ok(piece)));
        }
        while !state.has_ended {
            match ready!(Pin::new(&mut state.incoming).poll_frame(context)) {
                None => state.has_ended = true,
                Some(Err(broken)) => {
                    state.is_broken = true;
                    return Poll::Ready(Some(Err(broken)));
                }
                Some(Ok(frame)) => {
                    let Some(piece) = frame.into_data().ok().filter(|piece| !piece.is_empty()) else { continue };
                    state.received += piece.len() as u64;
                    this.shared.keep(&mut state, &piece);
                    this.sent = state.received;
                    return Poll::Ready(Some(Ok(piece)));
                }
            }
        }
        Poll::Ready(None)
    }
}

#[cfg(test)]
mod tests {
    use futures_util::{StreamExt, stream};
    use http_body::Frame;
    use http_body_util::StreamBody;

    use super::*;

    fn body(pieces: &[usize], kept: &Arc<Kept>) -> RequestBody {
        let pieces: Vec<_> = (1..)
            .zip(pieces)
            .map(|(letter, size)| Ok::<_, std::io::Error>(Frame::data(Bytes::from(vec![letter; *size]))))
            .collect();
        RequestBody::new(StreamBody::new(stream::iter(pieces)), kept)
    }

    fn attempt(body: &RequestBody) -> Attempt {
        drop(body.attempt());
        let number = body.shared.state().attempt;
        Attempt { shared: Arc::clone(&body.shared), number, sent: 0 }
    }

    async fn rest(mut attempt: Attempt) -> Result<Vec<u8>, BrokenOff> {
        let mut all = Vec::new();
        while let Some(piece) = attempt.next().await {
            all.extend_from_slice(&piece?);
        }
        Ok(all)
    }

    #[tokio::test]
    async fn what_was_sent_is_sent_again_and_what_follows_comes_behind_it() {
        let kept = Arc::default();
        let body = body(&[3, 40_000, 2], &kept);
        let mut first = attempt(&body);
        assert_eq!(first.next().await.unwrap().unwrap().len(), 3);
        assert_eq!(first.next().await.unwrap().unwrap().len(), 40_000);
        assert!(body.can_be_sent_again());
        let second = attempt(&body);
        assert_eq!(first.next().await, Some(Err(BrokenOff)), "the first one takes nothing more");
        let all = rest(second).await.unwrap();
        let expected = [&[1; 3][..], &[2; 40_000], &[3; 2]].concat();
        assert!(all == expected && body.received() == 40_005);
        assert_eq!(kept.0.load(Ordering::Relaxed), 40_005);
        let mut third = attempt(&body);
        assert_eq!(third.next().await.unwrap().unwrap().len(), PIECE_BYTES);
        body.forget();
        assert!(!body.can_be_sent_again());
        assert_eq!(kept.0.load(Ordering::Relaxed), 0);
        assert_eq!(third.next().await, Some(Err(BrokenOff)), "no body with a hole in it");
    }

    #[tokio::test]
    async fn copies_are_bounded_for_one_request_and_for_all() {
        let kept = Arc::default();
        let large = body(&[MAX_KEPT_BYTES, 1], &kept);
        let mut sending = attempt(&large);
        sending.next().await.unwrap().unwrap();
        assert!(large.can_be_sent_again());
        assert_eq!(rest(sending).await.unwrap().len(), 1, "it goes on uncopied");
        assert!(!large.can_be_sent_again());

        let many: Vec<_> =
            (0..=MAX_KEPT_BYTES_IN_ALL / MAX_KEPT_BYTES).map(|_| body(&[MAX_KEPT_BYTES], &kept)).collect();
        for body in &many {
            assert_eq!(rest(attempt(body)).await.unwrap().len(), MAX_KEPT_BYTES);
        }
        let again: Vec<_> = many.iter().map(RequestBody::can_be_sent_again).collect();
        assert_eq!(again.iter().filter(|it| **it).count(), many.len() - 1, "{again:?}");
        drop(many);
        assert_eq!(kept.0.load(Ordering::Relaxed), 0);
    }

    #[tokio::test]
    async fn body_that_breaks_off_is_not_sent_again() {
        let kept = Arc::default();
        let pieces = [Ok(Frame::data(Bytes::from_static(b"a"))), Err(std::io::Error::other("gone"))];
        let body = RequestBody::new(StreamBody::new(stream::iter(pieces)), &kept);
        assert_eq!(rest(attempt(&body)).await, Err(BrokenOff));
        assert!(body.is_broken() && !body.can_be_sent_again());
    }
}
