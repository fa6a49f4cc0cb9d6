//! How entries stand in a file: length, checksum, sequence number, bytes.
//!
//! ```text
//! length: u32 LE │ CRC-32 of what follows: u32 LE │ sequence: u64 LE │ entry: `length` bytes
//! ```
//!
//! A file that ends within a frame, or whose bytes do not have their checksum, is read up to there.

use std::ops::ControlFlow;

/// Bytes in front of an entry.
pub(crate) const HEADER: usize = 16;

/// Largest entry. One with every text as long as it may be, in characters that JSON escapes, has about 400 KiB.
pub(crate) const MAX_ENTRY: usize = 512 * 1024;

/// A whole frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Frame<'a> {
    pub(crate) sequence: u64,
    pub(crate) entry: &'a [u8],
}

/// Appends a frame.
pub(crate) fn encode(out: &mut Vec<u8>, sequence: u64, entry: &[u8]) {
    let length = u32::try_from(entry.len()).unwrap_or(u32::MAX);
    let sequence = sequence.to_le_bytes();
    out.extend_from_slice(&length.to_le_bytes());
    out.extend_from_slice(&checksum(&sequence, entry).to_le_bytes());
    out.extend_from_slice(&sequence);
    out.extend_from_slice(entry);
}

/// Bytes of a frame around an entry.
pub(crate) fn size(entry: &[u8]) -> u64 {
    HEADER as u64 + entry.len() as u64
}

/// Hands over every frame at the start of these bytes until `each` breaks or the rest is no frame. Returns the bytes of those
/// that were handed over.
pub(crate) fn read<'a>(bytes: &'a [u8], mut each: impl FnMut(Frame<'a>) -> ControlFlow<()>) -> usize {
    let mut rest = bytes;
    while let Some((frame, behind)) = first(rest) {
        if each(frame).is_break() {
            break;
        }
        rest = behind;
    }
    bytes.len() - rest.len()
}

/// The frame at the start of these bytes, and what is behind it.
fn first(bytes: &[u8]) -> Option<(Frame<'_>, &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<4>()?;
    let (crc, rest) = rest.split_first_chunk::<4>()?;
    let (sequence, rest) = rest.split_first_chunk::<8>()?;
    let length = usize::try_from(u32::from_le_bytes(*length)).ok().filter(|length| *length <= MAX_ENTRY)?;
    let (entry, rest) = rest.split_at_checked(length)?;
    let frame = Frame { sequence: u64::from_le_bytes(*sequence), entry };
    (checksum(sequence, entry) == u32::from_le_bytes(*crc)).then_some((frame, rest))
}

fn checksum(sequence: &[u8; 8], entry: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(sequence);
    hasher.update(entry);
    hasher.finalize()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn written(entries: &[Vec<u8>]) -> Vec<u8> {
        let mut out = Vec::new();
        for (at, entry) in entries.iter().enumerate() {
            encode(&mut out, at as u64, entry);
        }
        out
    }

    fn read_all(bytes: &[u8]) -> (Vec<Vec<u8>>, usize) {
        let mut entries = Vec::new();
        let used = read(bytes, |frame| {
            assert_eq!(frame.sequence, entries.len() as u64);
            entries.push(frame.entry.to_vec());
            ControlFlow::Continue(())
        });
        (entries, used)
    }

    #[test]
    fn every_cut_leaves_the_whole_frames_in_front_of_it() {
        let entries: Vec<Vec<u8>> = vec![b"one".to_vec(), Vec::new(), b"three three".to_vec()];
        let bytes = written(&entries);
        for cut in 0..=bytes.len() {
            let whole = (0..=3).rev().find(|count| written(&entries[..*count]).len() <= cut).unwrap();
            let (read, used) = read_all(&bytes[..cut]);
            assert_eq!((&read[..], used), (&entries[..whole], written(&entries[..whole]).len()), "cut at {cut}");
        }
    }

    proptest! {
        #[test]
        fn a_changed_bit_ends_reading_at_its_frame(
            entries in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..40), 1..8),
            place in any::<proptest::sample::Index>(),
            bit in 0..8_u8,
        ) {
            let mut bytes = written(&entries);
            let place = place.index(bytes.len());
            bytes[place] ^= 1 << bit;
            let (read, used) = read_all(&bytes);
            prop_assert!(used <= place);
            prop_assert_eq!(&read[..], &entries[..read.len()]);
            prop_assert!(written(&entries[..=read.len()]).len() > place, "only the changed frame is missing");
        }

        #[test]
        fn any_bytes_are_survived(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(read(&bytes, |_| ControlFlow::Continue(())) <= bytes.len());
        }
    }
}
