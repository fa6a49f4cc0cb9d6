//! One file of a spool: a header, then frames.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Seek, SeekFrom, Write},
    ops::ControlFlow,
};

use super::directory::{Directory, SpoolError, segment_name};
use crate::frame;

/// What a segment begins with. The digit is the version of the format.
const MAGIC: &[u8; 8] = b"RAUSAGE1";

/// Bytes of it.
pub(super) const HEADER: u64 = MAGIC.len() as u64;

/// Stands for entries up to its sequence number that were found missing. No entry is empty.
const MISSING: &[u8] = &[];

/// An entry that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spooled {
    /// Its number in the spool.
    pub sequence: u64,
    /// Its bytes, as appended.
    pub entry: Vec<u8>,
}

/// What is known of a segment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Segment {
    /// The first sequence number.
    pub(super) first: u64,
    /// The last one; one less than `first` if there is none.
    pub(super) last: u64,
    /// Bytes, the header included.
    pub(super) bytes: u64,
    /// Of these, on the disk for sure.
    pub(super) synced: u64,
}

/// Appends to a segment.
#[derive(Debug)]
pub(super) struct Writer {
    file: File,
    /// The file ends where it should.
    sound: bool,
}

impl Segment {
    /// A new one.
    pub(super) fn create(directory: &Directory, first: u64) -> io::Result<(Self, Writer)> {
        let name = segment_name(first);
        let mut file = directory.create(&name)?;
        if let Err(error) = file.write_all(MAGIC) {
            // The next try makes it anew.
            directory.remove(&name)?;
            return Err(error);
        }
        let segment = Self { first, last: first.saturating_sub(1), bytes: HEADER, synced: HEADER };
        Ok((segment, Writer { file, sound: true }))
    }

    /// One that is there already. Cuts off what is no entry and returns how many bytes that were.
    pub(super) fn recover(directory: &Directory, first: u64) -> Result<(Self, u64), SpoolError> {
        let path = directory.path(&segment_name(first));
        let failed = |error| SpoolError::Io { path: path.clone(), error };
        let bytes = fs::read(&path).map_err(failed)?;
        let whole = bytes.len() as u64;
        let mut last = first.saturating_sub(1);
        let valid = match bytes.strip_prefix(MAGIC) {
            Some(frames) => {
                let used = frame::read(frames, |frame| {
                    // A number that does not follow is no more to be trusted than a wrong checksum.
                    let follows = match frame.entry {
                        MISSING => frame.sequence > last,
                        _ => frame.sequence == last.saturating_add(1),
                    };
                    if !follows {
                        return ControlFlow::Break(());
                    }
                    last = frame.sequence;
                    ControlFlow::Continue(())
                });
                HEADER + used as u64
            }
            // The process ended while it made the file.
            None if MAGIC.starts_with(&bytes) => {
                fs::write(&path, MAGIC).map_err(failed)?;
                return Ok((Self { first, last, bytes: HEADER, synced: HEADER }, 0));
            }
            None => return Err(SpoolError::Format(path)),
        };
        if valid < whole {
            OpenOptions::new().write(true).open(&path).and_then(|file| file.set_len(valid)).map_err(failed)?;
        }
        Ok((Self { first, last, bytes: valid, synced: valid }, whole - valid))
    }

    /// Notes that everything up to this sequence number is missing.
    pub(super) fn mark_missing(&mut self, directory: &Directory, to: u64) -> Result<(), SpoolError> {
        let path = directory.path(&self.name());
        let mut mark = Vec::new();
        frame::encode(&mut mark, to, MISSING);
        let written = OpenOptions::new().append(true).open(&path).and_then(|mut file| file.write_all(&mark));
        written.map_err(|error| SpoolError::Io { path, error })?;
        self.bytes += frame::size(MISSING);
        (self.synced, self.last) = (self.bytes, to);
        Ok(())
    }

    /// Entries from this offset on, up to so many bytes but at least one, and the offset behind them.
    pub(super) fn read(&self, directory: &Directory, from: u64, max_bytes: usize) -> io::Result<(Vec<Spooled>, u64)> {
        let from = from.max(HEADER);
        let mut file = File::open(directory.path(&self.name()))?;
        file.seek(SeekFrom::Start(from))?;
        // As much as the largest entry, so that there is a whole one in any case.
        let most = max_bytes.max(frame::MAX_ENTRY + frame::HEADER) as u64;
        let mut bytes = Vec::new();
        file.take(most.min(self.synced.saturating_sub(from))).read_to_end(&mut bytes)?;
        let (mut entries, mut taken) = (Vec::new(), 0);
        let used = frame::read(&bytes, |frame| {
            if taken > 0 && taken + frame.entry.len() > max_bytes {
                return ControlFlow::Break(());
            }
            if frame.entry == MISSING {
                return ControlFlow::Continue(());
            }
            taken += frame.entry.len();
            entries.push(Spooled { sequence: frame.sequence, entry: frame.entry.to_vec() });
            ControlFlow::Continue(())
        });
        Ok((entries, from + used as u64))
    }

    /// Where the entries behind this sequence number begin.
    pub(super) fn offset_behind(&self, directory: &Directory, sequence: u64) -> io::Result<u64> {
        if sequence < self.first {
            return Ok(HEADER);
        }
        let bytes = fs::read(directory.path(&self.name()))?;
        let frames = bytes.strip_prefix(MAGIC).unwrap_or_default();
        let mut offset = HEADER;
        frame::read(frames, |frame| {
            if frame.sequence > sequence {
                return ControlFlow::Break(());
            }
            offset += frame::size(frame.entry);
            ControlFlow::Continue(())
        });
        Ok(offset)
    }

    pub(super) fn name(&self) -> String {
        segment_name(self.first)
    }
}

impl Writer {
    /// Appends bytes to a file that has so many; all of them or none.
    pub(super) fn append(&mut self, bytes: &[u8], length: u64) -> io::Result<()> {
        let written = self.file.write_all(bytes);
        if written.is_err() {
            let is_cut = self.file.set_len(length).and_then(|()| self.file.seek(SeekFrom::Start(length)));
            self.sound = is_cut.is_ok();
        }
        written
    }

    /// Whether more can be appended after an error.
    pub(super) fn is_sound(&self) -> bool {
        self.sound
    }

    pub(super) fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }
}
