//! Entries on disk until a sink has them: append, sync, read, acknowledge.
//!
//! A spool is a directory that one process has locked. Entries stand in segment files named after their first sequence
//! number; a segment is deleted once all of it is acknowledged. `state` says how far that has come, and whether the process
//! before closed its spool. An acknowledgement may be lost in a crash, so a sink can see entries again.
//!
//! Opening reads everything that is there. A segment that ends within an entry is cut there, and what is missing is returned
//! as [`Damage`]. A crash of the process loses what was not appended, one of the machine what was not synced.
//!
//! No thread, no clock: whoever calls decides when to sync. Bounded in bytes; what does not fit is refused.

mod directory;
mod segment;

use std::{
    collections::VecDeque,
    io,
    path::{Path, PathBuf},
};

pub use self::{directory::SpoolError, segment::Spooled};
use self::{
    directory::{Directory, State},
    segment::{Segment, Writer},
};
use crate::{entry::GapReason, frame};

/// Bounds of a spool.
#[derive(Clone, Copy, Debug)]
pub struct SpoolLimits {
    /// Most bytes of all segments together.
    pub bytes: u64,
    /// A segment that has so many bytes is followed by the next one.
    pub segment_bytes: u64,
}

impl Default for SpoolLimits {
    fn default() -> Self {
        Self { bytes: 256 << 20, segment_bytes: 4 << 20 }
    }
}

/// Entries of one process.
#[derive(Debug)]
pub struct Spool {
    directory: Directory,
    limits: SpoolLimits,
    /// Oldest first. The last one is written to while `writer` is there.
    segments: VecDeque<Segment>,
    writer: Option<Writer>,
    next: u64,
    acknowledged: u64,
    bytes: u64,
    /// Bytes of the first segment that are acknowledged.
    read_from: u64,
    /// What was read and not acknowledged.
    batch: Option<BatchEnd>,
    damages: Vec<Damage>,
}

/// Where a batch ends.
#[derive(Clone, Copy, Debug)]
struct BatchEnd {
    offset: u64,
    sequence: u64,
}

/// What is missing, as far as that can be known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Damage {
    /// Why.
    pub reason: GapReason,
    /// First sequence number that may be missing.
    pub from: u64,
    /// Last one; none if that cannot be known.
    pub to: Option<u64>,
    /// Bytes that are no entry.
    pub bytes: u64,
}

/// Why an entry was not appended. Nothing of it is left.
#[derive(Debug, thiserror::Error)]
pub enum AppendError {
    /// There are as many bytes as there may be.
    #[error("the spool is full")]
    Full,
    /// It is empty, or larger than any entry may be.
    #[error("an entry of {0} bytes cannot be kept")]
    Size(usize),
    /// The file system.
    #[error("cannot write the spool: {0}")]
    Io(#[from] io::Error),
}

impl Spool {
    /// Opens a spool, which may be new, and says what is missing in it.
    ///
    /// # Errors
    /// If another process has it, if a program of another version wrote it, or if it cannot be read or written.
    pub fn open(path: &Path, limits: SpoolLimits) -> Result<(Self, Vec<Damage>), SpoolError> {
        let directory = Directory::lock(path)?;
        let state = directory.state()?;
        let (segments, mut damages) = recover(&directory, state)?;
        let last = segments.back().map_or(0, |segment: &Segment| segment.last);
        // What is missing in front of everything cannot come any more.
        let missing = segments.front().map_or(0, |segment| segment.first.saturating_sub(1));
        let acknowledged = state.map_or(0, |state| state.acknowledged).max(missing);
        // Numbers that were acknowledged are never given again, even if their entries are gone from the disk.
        let next = last.max(acknowledged).saturating_add(1);
        if state.is_some_and(|state| !state.closed) || (state.is_none() && !segments.is_empty()) {
            damages.push(Damage { reason: GapReason::UncleanStop, from: next, to: None, bytes: 0 });
        }
        let bytes = segments.iter().map(|segment| segment.bytes).sum();
        let mut spool = Self {
            directory,
            limits,
            segments,
            writer: None,
            next,
            acknowledged,
            bytes,
            read_from: segment::HEADER,
            batch: None,
            damages: Vec::new(),
        };
        let begun = spool.drop_acknowledged().and_then(|()| spool.write_state(false));
        begun.map_err(|error| SpoolError::Io { path: path.to_owned(), error })?;
        Ok((spool, damages))
    }

    /// Appends an entry: it survives the end of the process, and after [`Spool::sync`] that of the machine. Returns its
    /// sequence number.
    ///
    /// # Errors
    /// If it does not fit or cannot be written.
    pub fn append(&mut self, entry: &[u8]) -> Result<u64, AppendError> {
        if entry.is_empty() || entry.len() > frame::MAX_ENTRY {
            return Err(AppendError::Size(entry.len()));
        }
        let size = frame::size(entry);
        if self.bytes.saturating_add(size) > self.limits.bytes {
            return Err(AppendError::Full);
        }
        self.prepare_segment()?;
        let (Some(writer), Some(segment)) = (&mut self.writer, self.segments.back_mut()) else {
            return Err(AppendError::Io(io::Error::other("there is no segment")));
        };
        let sequence = self.next;
        let mut bytes = Vec::with_capacity(entry.len() + frame::HEADER);
        frame::encode(&mut bytes, sequence, entry);
        if let Err(error) = writer.append(&bytes, segment.bytes) {
            if !writer.is_sound() {
                // What is left of the entry ends this file; it does not have the checksum of one.
                writer.sync()?;
                segment.synced = segment.bytes;
                self.writer = None;
            }
            return Err(error.into());
        }
        segment.bytes += size;
        segment.last = sequence;
        self.bytes += size;
        self.next += 1;
        Ok(sequence)
    }

    /// Makes sure that everything appended is on the disk.
    ///
    /// # Errors
    /// From the file system. Then it is not known what is there.
    pub fn sync(&mut self) -> io::Result<()> {
        let (Some(writer), Some(segment)) = (&self.writer, self.segments.back_mut()) else { return Ok(()) };
        if segment.synced < segment.bytes {
            writer.sync()?;
            segment.synced = segment.bytes;
        }
        Ok(())
    }

    /// The oldest entries that are synced and not acknowledged, up to so many bytes but at least one. The same again until
    /// they are acknowledged.
    ///
    /// # Errors
    /// From the file system.
    pub fn read(&mut self, max_bytes: usize) -> io::Result<Vec<Spooled>> {
        loop {
            let Some(segment) = self.segments.front() else { return Ok(Vec::new()) };
            if self.read_from < segment.synced {
                let (entries, end) = segment.read(&self.directory, self.read_from, max_bytes)?;
                if let Some(last) = entries.last() {
                    self.batch = Some(BatchEnd { offset: end, sequence: last.sequence });
                    return Ok(entries);
                }
                if end > self.read_from.max(segment::HEADER) {
                    // Nothing but a mark of what is missing.
                    self.read_from = end;
                    continue;
                }
                // Bytes that were sound when they were written or recovered are not any more.
                self.damages.push(Damage {
                    reason: GapReason::Unreadable,
                    from: self.acknowledged.saturating_add(1),
                    to: Some(segment.last),
                    bytes: segment.bytes.saturating_sub(self.read_from),
                });
                self.acknowledged = segment.last;
                self.read_from = segment.bytes;
            }
            if !self.drop_first()? {
                return Ok(Vec::new());
            }
        }
    }

    /// The entries that were read last are where they belong.
    ///
    /// # Errors
    /// From the file system. Then they may be read again after a restart.
    pub fn acknowledge(&mut self) -> io::Result<()> {
        let Some(BatchEnd { offset, sequence }) = self.batch.take() else { return Ok(()) };
        self.read_from = offset;
        self.acknowledged = sequence;
        self.write_state(false)?;
        self.drop_first().map(drop)
    }

    /// What was found missing since it was opened.
    pub fn take_damages(&mut self) -> Vec<Damage> {
        std::mem::take(&mut self.damages)
    }

    /// Entries that are not acknowledged.
    pub fn waiting(&self) -> u64 {
        let first = self.segments.front().map_or(self.next, |segment| segment.first.max(self.acknowledged + 1));
        self.next.saturating_sub(first)
    }

    /// Bytes on disk.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Whether more than nine tenths of the bytes are taken.
    pub fn is_nearly_full(&self) -> bool {
        self.bytes > self.limits.bytes / 10 * 9
    }

    /// Closes it, so that the next process knows that nothing is missing.
    ///
    /// # Errors
    /// From the file system.
    pub fn close(mut self) -> io::Result<()> {
        self.sync()?;
        self.writer = None;
        while self.drop_first()? {}
        self.write_state(true)
    }

    /// Goes on to the next segment if there is none, or the last one is large enough.
    fn prepare_segment(&mut self) -> io::Result<()> {
        let is_full = self.segments.back().is_some_and(|segment| segment.bytes >= self.limits.segment_bytes);
        if self.writer.is_some() && !is_full {
            return Ok(());
        }
        self.sync()?;
        let (segment, writer) = Segment::create(&self.directory, self.next)?;
        self.bytes += segment.bytes;
        self.segments.push_back(segment);
        self.writer = Some(writer);
        Ok(())
    }

    /// After opening: what was acknowledged before is not read again.
    fn drop_acknowledged(&mut self) -> io::Result<()> {
        while self.segments.front().is_some_and(|segment| segment.last <= self.acknowledged) {
            self.read_from = u64::MAX;
            self.drop_first()?;
        }
        if let Some(segment) = self.segments.front() {
            self.read_from = segment.offset_behind(&self.directory, self.acknowledged)?;
        }
        Ok(())
    }

    /// Deletes the first segment if all of it is acknowledged and it is not written to any more.
    fn drop_first(&mut self) -> io::Result<bool> {
        let is_written = self.writer.is_some() && self.segments.len() == 1;
        let Some(segment) = self.segments.front().filter(|segment| !is_written && self.read_from >= segment.bytes)
        else {
            return Ok(false);
        };
        self.directory.remove(&segment.name())?;
        self.bytes = self.bytes.saturating_sub(segment.bytes);
        self.segments.pop_front();
        self.read_from = segment::HEADER;
        Ok(true)
    }

    fn write_state(&self, closed: bool) -> io::Result<()> {
        self.directory.write_state(State { acknowledged: self.acknowledged, closed })
    }
}

/// Everything that can be read, and what cannot.
fn recover(directory: &Directory, state: Option<State>) -> Result<(VecDeque<Segment>, Vec<Damage>), SpoolError> {
    let (mut segments, mut damages) = (VecDeque::new(), Vec::new());
    // Without a state it is not known where the spool began.
    let mut expected = state.map(|state| state.acknowledged.saturating_add(1));
    let mut lost_bytes = 0;
    for first in directory.segments()? {
        if let Some(from) = expected.filter(|from| *from < first) {
            let (bytes, to) = (std::mem::take(&mut lost_bytes), first - 1);
            damages.push(Damage { reason: GapReason::Unreadable, from, to: Some(to), bytes });
            if let Some(segment) = segments.back_mut() {
                // Not found again at the next start.
                Segment::mark_missing(segment, directory, to)?;
            }
        }
        let (segment, unreadable) = Segment::recover(directory, first)?;
        lost_bytes += unreadable;
        let behind = segment.last.saturating_add(1);
        expected = Some(expected.map_or(behind, |expected| expected.max(behind)));
        segments.push_back(segment);
    }
    // The next entry makes a file of that name.
    if let Some(empty) = segments.pop_back_if(|segment| segment.last < segment.first) {
        let name = empty.name();
        directory.remove(&name).map_err(|error| SpoolError::Io { path: directory.path(&name), error })?;
    }
    if let (true, Some(from)) = (lost_bytes > 0, expected) {
        damages.push(Damage { reason: GapReason::Unreadable, from, to: None, bytes: lost_bytes });
    }
    Ok((segments, damages))
}

/// Directories of spools side by side, one for each process that runs at the same time.
#[derive(Debug)]
pub struct Slots {
    root: PathBuf,
}

/// Processes that can have a ledger at the same path at the same time.
const MAX_SLOTS: u32 = 64;

impl Slots {
    /// Below this directory.
    pub fn new(root: PathBuf) -> Self {
        Self { root }
    }

    /// The first spool that no other process has.
    ///
    /// # Errors
    /// If all are taken, or as [`Spool::open`].
    pub fn open(&self, limits: SpoolLimits) -> Result<(Spool, Vec<Damage>), SpoolError> {
        for slot in 0..MAX_SLOTS {
            match Spool::open(&self.path(slot), limits) {
                Err(SpoolError::Locked(_)) => {}
                opened => return opened,
            }
        }
        Err(SpoolError::Locked(self.root.clone()))
    }

    /// Spools that processes have left behind. Those that are open, or cannot be opened, are passed over.
    pub fn abandoned(&self, limits: SpoolLimits) -> Vec<(Spool, Vec<Damage>)> {
        let slots = (0..MAX_SLOTS).map(|slot| self.path(slot)).filter(|path| path.is_dir());
        let opened = slots.filter_map(|path| match Spool::open(&path, limits) {
            Ok(spool) => Some(spool),
            Err(SpoolError::Locked(_)) => None,
            Err(error) => {
                tracing::error!(%error, "a spool that another process has left behind cannot be read");
                None
            }
        });
        opened.collect()
    }

    fn path(&self, slot: u32) -> PathBuf {
        self.root.join(slot.to_string())
    }
}

#[cfg(test)]
mod tests;
