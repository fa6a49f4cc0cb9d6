//! Both halves of a WebSocket on a byte stream. The protocol itself is [`routeapi_protocol::websocket`]'s.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::BytesMut;
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use routeapi_protocol::websocket::{self, Close, Incoming, Opcode, Reader, Role, Violation};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadHalf, WriteHalf},
    task::coop::consume_budget,
    time::timeout,
};

use crate::{
    clock, random,
    request::memory::{BuffersFull, MemoryPermit},
};

/// A client's connection behind HTTP.
pub(super) type ClientIo = TokioIo<Upgraded>;

/// The client's connection, once HTTP has ended on it.
pub(super) async fn handed_over(upgrade: OnUpgrade) -> Option<ClientIo> {
    upgrade.await.ok().map(TokioIo::new)
}

/// Bytes that are read at a time.
const READ: usize = 8 << 10;

/// A payload up to this is written in one piece with its header.
const IN_ONE_PIECE: usize = 16 << 10;

/// Up to so many bytes of a message do not count: nearly all are smaller.
const UNCOUNTED: usize = 64 << 10;

/// Most bytes that are thrown away behind a close frame of ours.
const MOST_DISCARDED: usize = 16 << 20;

/// What is read.
pub(super) struct Receiver<I> {
    io: ReadHalf<I>,
    reader: Reader,
    input: BytesMut,
    memory: MemoryPermit,
    heard: Heard,
}

/// What is written.
pub(super) struct Sender<I> {
    io: WriteHalf<I>,
    role: Role,
    /// How long a write may make no progress.
    write_timeout: Duration,
    /// Whether the last frame went out in full, so that another one can.
    is_whole: bool,
}

/// When a peer was heard last, in milliseconds since the session's start. Clones share it.
#[derive(Clone, Debug)]
pub(super) struct Heard {
    start: Instant,
    at: Arc<AtomicU64>,
}

/// Nothing more is read.
#[derive(Debug)]
pub(super) enum Broken {
    /// The peer broke the protocol.
    Violation(Violation),
    /// The process holds as many bytes as it may.
    Full,
    /// The connection ended without a close frame.
    Gone,
}

/// Nothing more is written.
#[derive(Debug)]
pub(super) enum Unsent {
    /// The peer took nothing for too long.
    Stalled,
    /// The connection is gone.
    Gone,
}

impl Heard {
    pub(super) fn new() -> Self {
        Self { start: clock::mono(), at: Arc::default() }
    }

    /// Something happened now.
    pub(super) fn now(&self) {
        let since = clock::mono().saturating_duration_since(self.start);
        self.at.store(u64::try_from(since.as_millis()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// When that was last.
    pub(super) fn last(&self) -> Instant {
        self.start.checked_add(Duration::from_millis(self.at.load(Ordering::Relaxed))).unwrap_or(self.start)
    }
}

/// Both halves of an open WebSocket. Messages have at most `most` bytes.
pub(super) fn split<I>(
    io: I,
    role: Role,
    most: usize,
    write_timeout: Duration,
    (memory, heard): (MemoryPermit, Heard),
) -> (Receiver<I>, Sender<I>)
where
    I: AsyncRead + AsyncWrite,
{
    let (read, write) = tokio::io::split(io);
    let receiver = Receiver { io: read, reader: Reader::new(role, most), input: BytesMut::new(), memory, heard };
    (receiver, Sender { io: write, role, write_timeout, is_whole: true })
}

impl<I: AsyncRead> Receiver<I> {
    /// The next message or control frame. Cancelling loses nothing.
    pub(super) async fn next(&mut self) -> Result<Incoming, Broken> {
        loop {
            // A peer that is never silent must not keep this worker.
            consume_budget().await;
            if let Some(incoming) = self.reader.read(&mut self.input).map_err(Broken::Violation)? {
                return Ok(incoming);
            }
            self.count()?;
            self.input.reserve(READ);
            match self.io.read_buf(&mut self.input).await {
                Ok(0) | Err(_) => return Err(Broken::Gone),
                Ok(_) => self.heard.now(),
            }
        }
    }

    /// The message that came last has been passed on.
    pub(super) fn passed_on(&mut self) {
        // Less than before always fits.
        let _ = self.memory.resize(0);
    }

    fn count(&mut self) -> Result<(), Broken> {
        let held = self.reader.held();
        self.memory.resize(if held > UNCOUNTED { held } else { 0 }).map_err(|BuffersFull| Broken::Full)
    }

    /// Waits for the peer's close frame, or for its end.
    pub(super) async fn await_close(&mut self) {
        let mut left = MOST_DISCARDED;
        loop {
            match self.next().await {
                Ok(Incoming::Close(_)) | Err(_) => return,
                Ok(Incoming::Text(payload) | Incoming::Binary(payload)) => match left.checked_sub(payload.len()) {
                    Some(less) => left = less,
                    None => return,
                },
                Ok(Incoming::Ping(_) | Incoming::Pong) => {}
            }
            self.passed_on();
        }
    }

    /// Throws away what still comes, so that the peer reads what was sent last instead of a reset.
    pub(super) async fn discard(&mut self) {
        let mut left = MOST_DISCARDED;
        let mut piece = vec![0; READ];
        while let Ok(read) = self.io.read(&mut piece).await
            && read > 0
        {
            match left.checked_sub(read) {
                Some(less) => left = less,
                None => return,
            }
        }
    }
}

impl<I: AsyncWrite> Sender<I> {
    /// Sends a frame. What is cancelled in the middle of one leaves nothing that could be sent behind it.
    pub(super) async fn send(&mut self, opcode: Opcode, payload: &mut [u8]) -> Result<(), Unsent> {
        if !self.is_whole {
            return Err(Unsent::Gone);
        }
        self.is_whole = false;
        let key = match self.role {
            Role::Client => {
                let [word, ..] = random::bits();
                let [a, b, c, d, ..] = word.to_ne_bytes();
                Some([a, b, c, d])
            }
            Role::Server => None,
        };
        if let Some(key) = key {
            websocket::mask(payload, key);
        }
        let head = websocket::head(opcode, payload.len(), key);
        if payload.len() <= IN_ONE_PIECE {
            self.write(&[head.as_bytes(), payload].concat()).await?;
        } else {
            self.write(head.as_bytes()).await?;
            self.write(payload).await?;
        }
        match timeout(self.write_timeout, self.io.flush()).await {
            Ok(Ok(())) => {
                self.is_whole = true;
                Ok(())
            }
            Ok(Err(_)) => Err(Unsent::Gone),
            Err(_elapsed) => Err(Unsent::Stalled),
        }
    }

    /// Says why the connection is closed.
    pub(super) async fn close(&mut self, close: Option<&Close>) -> Result<(), Unsent> {
        let mut payload = close.map(Close::payload).unwrap_or_default();
        self.send(Opcode::Close, &mut payload).await
    }

    /// Ends this half of the connection.
    pub(super) async fn shut_down(&mut self) {
        // The peer may be gone already.
        let _ = self.io.shutdown().await;
    }

    async fn write(&mut self, mut bytes: &[u8]) -> Result<(), Unsent> {
        while !bytes.is_empty() {
            let written: io::Result<usize> = match timeout(self.write_timeout, self.io.write(bytes)).await {
                Ok(written) => written,
                Err(_elapsed) => return Err(Unsent::Stalled),
            };
            match written {
                Ok(0) | Err(_) => return Err(Unsent::Gone),
                Ok(written) => bytes = bytes.get(written..).unwrap_or_default(),
            }
        }
        Ok(())
    }
}
