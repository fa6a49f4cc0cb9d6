//! One open block at a time (docs/protocols/streaming.md), for dialects whose blocks may not overlap (Anthropic,
//! Responses).
//!
//! Upstreams such as Chat interleave the deltas of several calls and never say that a call is complete. Here the block
//! whose delta arrives first is live and streams through; what arrives for others meanwhile waits, and goes out whole in
//! the order of its first delta when the live block ends: by its end, by the last brace of a call's arguments once
//! another block wants to speak, or by [`BlockSequencer::flush`].
//!
//! Prose (text, reasoning, refusal) may be closed at any time and opened again as a further block. A call may not: what
//! comes for it after its arguments are complete is a second call that a careless upstream glued to the first one
//! (hard case 174), and gets an id of its own. Empty deltas start nothing (hard case 89).

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::{
    codec::ids::invented_call_id,
    ir::{BlockKind, Delta},
};

/// Most bytes that may wait behind the live block. A legal answer needs a few hundred KiB.
pub const MAX_WAITING_BYTES: usize = 8 << 20;

/// Most blocks that may wait. Vendors stop at some hundreds of calls in one answer.
pub const MAX_WAITING_BLOCKS: usize = 4096;

/// Most calls that a careless upstream may glue together; each repeats the tool's name.
pub const MAX_GLUED: usize = 128;

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
#[error(
    "the upstream interleaves too many blocks: more than {MAX_WAITING_BYTES} bytes or {MAX_WAITING_BLOCKS} of them"
)]
pub struct Overflow;

/// Turns overlapping blocks into a sequence.
#[derive(Debug, Default)]
pub struct BlockSequencer {
    live: Option<Pending>,
    /// Blocks that the upstream has begun and not ended, or that have something left to say, in first-seen order.
    waiting: BTreeMap<u64, Pending>,
    /// Those of them that have something to say.
    speaking: BTreeSet<u64>,
    /// Where the block of a number stands that may still grow.
    growing: HashMap<u32, Place>,
    next_place: u64,
    waiting_bytes: usize,
}

/// Where a block stands.
#[derive(Clone, Copy, Debug)]
enum Place {
    Live,
    Waiting(u64),
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

// === impl BlockSequencer ===

impl BlockSequencer {
    /// A block begins; it is not opened before it has something to say or ends.
    ///
    /// # Errors
    /// When too many blocks wait; the answer cannot go on then.
    pub fn start(&mut self, number: u32, kind: BlockKind, sink: &mut impl Sink) -> Result<(), Overflow> {
        let mut block = Pending::new(number, kind);
        block.ended = matches!(block.kind, BlockKind::Unknown { .. } | BlockKind::Media(_));
        self.wait(block);
        self.settle(sink);
        self.fits()
    }

    /// A block grows.
    ///
    /// # Errors
    /// When too much waits, or a call falls into too many; the answer cannot go on then.
    pub fn grow(&mut self, number: u32, delta: &Delta, sink: &mut impl Sink) -> Result<(), Overflow> {
        let Delta::Arguments(text) = delta else {
            return if is_empty(delta) { Ok(()) } else { self.deliver(number, delta, sink) };
        };
        let mut rest = text.as_str();
        while let Some(block) = self.open_block(number).filter(|_| !rest.is_empty()) {
            if block.json.complete {
                rest = rest.trim_start();
                if !rest.is_empty() {
                    self.split(number, sink)?;
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
        self.finish(number);
        self.settle(sink);
    }

    /// The answer is complete: everything that waits goes out, closed.
    pub fn flush(&mut self, sink: &mut impl Sink) {
        for number in self.growing.keys().copied().collect::<Vec<_>>() {
            self.finish(number);
        }
        self.settle(sink);
    }

    /// The block of this number that may still grow.
    fn open_block(&mut self, number: u32) -> Option<&mut Pending> {
        match *self.growing.get(&number)? {
            Place::Live => self.live.as_mut(),
            Place::Waiting(place) => self.waiting.get_mut(&place),
        }
    }

    /// Marks the block of this number as ended; gives its kind and how many calls were split off before it.
    fn finish(&mut self, number: u32) -> Option<(BlockKind, usize)> {
        let block = self.open_block(number)?;
        block.ended = true;
        let (kind, splits, speaks) = (block.kind.clone(), block.splits, block.speaks());
        if let Some(Place::Waiting(place)) = self.growing.remove(&number) {
            if speaks {
                self.speaking.insert(place);
            } else {
                self.waiting.remove(&place);
            }
        }
        Some((kind, splits))
    }

    /// Puts a block behind those that wait, unless it is over and has nothing to say.
    fn wait(&mut self, block: Pending) {
        let place = self.next_place;
        self.next_place = place.saturating_add(1);
        if block.speaks() {
            self.speaking.insert(place);
        } else if block.ended {
            return;
        }
        if !block.ended {
            self.growing.insert(block.number, Place::Waiting(place));
        }
        self.waiting.insert(place, block);
    }

    /// Sends a delta of the live block on; lets any other wait for its turn, which may be now.
    fn deliver(&mut self, number: u32, delta: &Delta, sink: &mut impl Sink) -> Result<(), Overflow> {
        match self.growing.get(&number).copied() {
            Some(Place::Live) => {
                sink.grow(delta);
                // Its arguments may be complete now, and others may have waited for that.
                self.settle(sink);
                return Ok(());
            }
            Some(Place::Waiting(place)) => {
                if let Some(block) = self.waiting.get_mut(&place) {
                    block.wait(delta);
                    self.waiting_bytes = self.waiting_bytes.saturating_add(size(delta));
                    self.speaking.insert(place);
                }
            }
            None => {}
        }
        self.settle(sink);
        self.fits()
    }

    fn fits(&self) -> Result<(), Overflow> {
        if self.waiting_bytes > MAX_WAITING_BYTES || self.waiting.len() > MAX_WAITING_BLOCKS {
            return Err(Overflow);
        }
        Ok(())
    }

    /// Ends a call whose arguments are complete, and puts another one of the same tool behind it.
    fn split(&mut self, number: u32, sink: &mut impl Sink) -> Result<(), Overflow> {
        let Some((kind, splits)) = self.finish(number) else { return Ok(()) };
        let mut next = Pending::new(number, kind);
        next.splits = splits.saturating_add(1);
        if next.splits >= MAX_GLUED {
            return Err(Overflow);
        }
        if let BlockKind::ToolCall { id, .. } = &mut next.kind {
            *id = invented_call_id(id, next.splits);
        }
        self.wait(next);
        self.settle(sink);
        Ok(())
    }

    /// Ends the live block if its time is over, and makes the next ones live for as long as they have something to say.
    fn settle(&mut self, sink: &mut impl Sink) {
        loop {
            if let Some(live) = &self.live {
                let gives_way = live.may_close() && !self.speaking.is_empty();
                if !live.ended && !gives_way {
                    return;
                }
                sink.close();
            }
            // Prose that may be opened again, and calls that others may be glued to, stay known.
            if let Some(live) = self.live.take().filter(|live| !live.ended) {
                self.wait(live);
            }
            let Some(place) = self.speaking.pop_first() else { return };
            let Some(mut block) = self.waiting.remove(&place) else { continue };
            sink.open(&block.kind);
            for delta in block.deltas.drain(..) {
                self.waiting_bytes = self.waiting_bytes.saturating_sub(size(&delta));
                sink.grow(&delta);
            }
            block.written = true;
            if !block.ended {
                self.growing.insert(block.number, Place::Live);
            }
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
