//! One open block at a time (protocols 3.1), for dialects whose blocks may not overlap (Anthropic, Responses).
//!
//! Upstreams such as Chat interleave the deltas of several calls and never say that a call is complete. Here the block
//! whose delta arrives first is live and streams through; what arrives for others meanwhile waits, and goes out whole in
//! the order of its first delta when the live block ends: by its end, by the last brace of a call's arguments once
//! another block wants to speak, or by [`Serialiser::flush`].
//!
//! Prose (text, reasoning, refusal) may be closed at any time and opened again as a further block. A call may not: what
//! comes for it after its arguments are complete is a second call that a careless upstream glued to the first one
//! (hard case 174), and gets an id of its own. Empty deltas start nothing (hard case 89).

use crate::{
    codec::ids::invented_call_id,
    ir::{BlockKind, Delta},
};

/// Most bytes that may wait behind the live block. A legal answer needs a few hundred KiB.
pub const MAX_WAITING_BYTES: usize = 8 << 20;

/// Takes blocks one after the other: `open`, any number of `grow`, `close`.
pub trait Sink {
    /// A block begins.
    fn open(&mut self, kind: &BlockKind);
    /// The open block grows.
    fn grow(&mut self, delta: &Delta);
    /// The open block is complete.
    fn close(&mut self);
}

/// Too much waits behind one unfinished block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the upstream interleaves more than {MAX_WAITING_BYTES} bytes of blocks")]
pub struct Overflow;

/// Turns overlapping blocks into a sequence.
#[derive(Debug, Default)]
pub struct Serialiser {
    live: Option<Pending>,
    /// Blocks that the upstream has begun and not ended, or that have something left to say, in first-seen order.
    waiting: Vec<Pending>,
    waiting_bytes: usize,
}

/// A block that is not complete on the wire.
#[derive(Debug)]
struct Pending {
    number: u32,
    kind: BlockKind,
    /// What waits, with neighbours of one kind joined.
    deltas: Vec<Delta>,
    /// The upstream said that it is complete.
    ended: bool,
    /// It was opened on the wire at least once.
    written: bool,
    /// Where its arguments stand.
    json: JsonProgress,
    /// How many calls were split off before it.
    splits: usize,
}

/// Follows JSON text just closely enough to see where its outermost object ends.
#[derive(Clone, Copy, Debug, Default)]
struct JsonProgress {
    depth: u32,
    in_string: bool,
    escaped: bool,
    complete: bool,
}

// === impl Serialiser ===

impl Serialiser {
    /// A block begins; it is not opened before it has something to say or ends.
    pub fn start(&mut self, number: u32, kind: BlockKind, sink: &mut impl Sink) {
        let mut block = Pending::new(number, kind);
        block.ended = matches!(block.kind, BlockKind::Unknown { .. } | BlockKind::Media(_));
        self.waiting.push(block);
        self.settle(sink);
    }

    /// A block grows.
    ///
    /// # Errors
    /// When too much waits; the answer cannot go on then.
    pub fn grow(&mut self, number: u32, delta: &Delta, sink: &mut impl Sink) -> Result<(), Overflow> {
        let Delta::Arguments(text) = delta else {
            return if is_empty(delta) { Ok(()) } else { self.deliver(number, delta, sink) };
        };
        let mut rest = text.as_str();
        while let Some(block) = self.open_block(number).filter(|_| !rest.is_empty()) {
            if block.json.complete {
                rest = rest.trim_start();
                if !rest.is_empty() {
                    self.split(number, sink);
                }
                continue;
            }
            let (now, later) = rest.split_at(block.json.feed(rest));
            if now.len() == text.len() {
                return self.deliver(number, delta, sink);
            }
            self.deliver(number, &Delta::Arguments(now.to_owned()), sink)?;
            rest = later;
        }
        Ok(())
    }

    /// A block is complete. A call or foreign block that never spoke goes out empty; prose that never spoke is nothing.
    pub fn end(&mut self, number: u32, sink: &mut impl Sink) {
        if let Some(block) = self.open_block(number) {
            block.ended = true;
        }
        self.settle(sink);
    }

    /// The answer is complete: everything that waits goes out, closed.
    pub fn flush(&mut self, sink: &mut impl Sink) {
        for block in self.live.iter_mut().chain(&mut self.waiting) {
            block.ended = true;
        }
        self.settle(sink);
    }

    /// The block of this number that may still grow.
    fn open_block(&mut self, number: u32) -> Option<&mut Pending> {
        let mut blocks = self.live.iter_mut().chain(&mut self.waiting);
        blocks.find(|block| block.number == number && !block.ended)
    }

    /// Sends a delta of the live block on; lets any other wait for its turn, which may be now.
    fn deliver(&mut self, number: u32, delta: &Delta, sink: &mut impl Sink) -> Result<(), Overflow> {
        if self.live.as_ref().is_some_and(|live| live.number == number) {
            sink.grow(delta);
            // Its arguments may be complete now, and others may have waited for that.
            self.settle(sink);
            return Ok(());
        }
        if let Some(block) = self.open_block(number) {
            block.wait(delta);
            self.waiting_bytes = self.waiting_bytes.saturating_add(size(delta));
        }
        self.settle(sink);
        if self.waiting_bytes > MAX_WAITING_BYTES { Err(Overflow) } else { Ok(()) }
    }

    /// Ends a call whose arguments are complete, and puts another one of the same tool behind it.
    fn split(&mut self, number: u32, sink: &mut impl Sink) {
        let Some(block) = self.open_block(number) else { return };
        block.ended = true;
        let mut next = Pending::new(number, block.kind.clone());
        next.splits = block.splits.saturating_add(1);
        if let BlockKind::ToolCall { id, .. } = &mut next.kind {
            *id = invented_call_id(id, next.splits);
        }
        self.waiting.push(next);
        self.settle(sink);
    }

    /// Ends the live block if its time is over, and makes the next ones live for as long as they have something to say.
    fn settle(&mut self, sink: &mut impl Sink) {
        loop {
            if let Some(live) = &self.live {
                let gives_way = live.may_close() && self.waiting.iter().any(Pending::speaks);
                if !live.ended && !gives_way {
                    return;
                }
                sink.close();
            }
            // Prose that may be opened again, and calls that others may be glued to, stay known.
            self.waiting.extend(self.live.take().filter(|live| !live.ended));
            self.waiting.retain(|block| !block.ended || block.speaks());
            let Some(place) = self.waiting.iter().position(Pending::speaks) else {
                return;
            };
            let mut block = self.waiting.remove(place);
            sink.open(&block.kind);
            for delta in block.deltas.drain(..) {
                self.waiting_bytes = self.waiting_bytes.saturating_sub(size(&delta));
                sink.grow(&delta);
            }
            block.written = true;
            self.live = Some(block);
        }
    }
}

// === impl Pending ===

impl Pending {
    fn new(number: u32, kind: BlockKind) -> Self {
        Self {
            number,
            kind,
            deltas: Vec::new(),
            ended: false,
            written: false,
            json: JsonProgress::default(),
            splits: 0,
        }
    }

    /// Whether it may be closed although its upstream has not ended it.
    fn may_close(&self) -> bool {
        match self.kind {
            BlockKind::Text
            | BlockKind::Reasoning { .. }
            | BlockKind::Refusal
            | BlockKind::Media(_)
            | BlockKind::Unknown { .. } => true,
            BlockKind::ToolCall { .. } => self.json.complete,
        }
    }

    /// Whether it has something to say: deltas, or the mere fact that it was there and is over.
    fn speaks(&self) -> bool {
        let says_by_being =
            matches!(self.kind, BlockKind::ToolCall { .. } | BlockKind::Media(_) | BlockKind::Unknown { .. });
        !self.deltas.is_empty() || (self.ended && !self.written && says_by_being)
    }

    fn wait(&mut self, delta: &Delta) {
        match (self.deltas.last_mut(), delta) {
            (Some(Delta::Text(held)), Delta::Text(more))
            | (Some(Delta::Arguments(held)), Delta::Arguments(more))
            | (Some(Delta::Reasoning(held)), Delta::Reasoning(more)) => held.push_str(more),
            _ => self.deltas.push(delta.clone()),
        }
    }
}

// === impl JsonProgress ===

impl JsonProgress {
    /// Takes text up to and including the brace or bracket that completes the value; gives how many bytes that were.
    /// A scalar never completes: its end cannot be seen.
    fn feed(&mut self, text: &str) -> usize {
        for (at, byte) in text.bytes().enumerate() {
            if self.in_string {
                match byte {
                    _ if self.escaped => self.escaped = false,
                    b'\\' => self.escaped = true,
                    b'"' => self.in_string = false,
                    _ => {}
                }
                continue;
            }
            match byte {
                b'"' => self.in_string = true,
                b'{' | b'[' => self.depth = self.depth.saturating_add(1),
                b'}' | b']' => {
                    self.depth = self.depth.saturating_sub(1);
                    if self.depth == 0 {
                        self.complete = true;
                        return at.saturating_add(1);
                    }
                }
                _ => {}
            }
        }
        text.len()
    }
}

fn is_empty(delta: &Delta) -> bool {
    match delta {
        Delta::Text(text) | Delta::Arguments(text) | Delta::Reasoning(text) => text.is_empty(),
        Delta::State(_) | Delta::Citation(_) => false,
    }
}

fn size(delta: &Delta) -> usize {
    match delta {
        Delta::Text(text) | Delta::Arguments(text) | Delta::Reasoning(text) => text.len(),
        Delta::State(state) => state.value.len(),
        Delta::Citation(citation) => citation.native.as_ref().map_or(64, |(_, raw)| raw.get().len().max(64)),
    }
}

#[cfg(test)]
mod tests;
