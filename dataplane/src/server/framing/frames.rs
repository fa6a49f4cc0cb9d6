//! HTTP/2 frames (RFC 9113 section 4.1), as far as their headers say: which one has begun and not ended, and whether a
//! header block waits for its continuation.

const HEADER: usize = 9;
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const CONTINUATION: u8 = 9;
const END_HEADERS: u8 = 4;

/// What a header block counts for that waits for its continuation: as much as its fields may be, decoded, since a few
/// bytes of HPACK can stand for long ones.
const OPEN_BLOCK: usize = 64 << 10;

/// Follows the frames of one connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Frames {
    header: [u8; HEADER],
    /// Bytes of the header that have come.
    have: usize,
    /// Bytes of the payload that have not.
    left: usize,
    /// Whether a header block waits for a continuation.
    in_block: bool,
    /// Whether a frame has ended.
    any: bool,
}

impl Frames {
    pub(super) fn push(&mut self, mut bytes: &[u8]) {
        loop {
            let room = self.header.get_mut(self.have..).unwrap_or_default();
            let step = room.len().min(bytes.len());
            for (permit, byte) in room.iter_mut().zip(bytes) {
                *permit = *byte;
            }
            if step > 0 {
                self.have += step;
                bytes = bytes.get(step..).unwrap_or_default();
                if self.have < HEADER {
                    return;
                }
                self.left = self.length();
            }
            let step = self.left.min(bytes.len());
            bytes = bytes.get(step..).unwrap_or_default();
            self.left -= step;
            if self.left > 0 {
                return;
            }
            self.end();
            if bytes.is_empty() {
                return;
            }
        }
    }

    pub(super) fn unfinished(&self, in_flight: bool) -> Option<usize> {
        let of_body = self.kind() == DATA && self.have == HEADER;
        match self.have {
            _ if self.in_block => Some(OPEN_BLOCK),
            0 => None,
            _ if of_body && in_flight => None,
            have => Some(have + self.length_if_whole() - self.left),
        }
    }

    pub(super) fn is_at_start(&self) -> bool {
        !self.any
    }

    fn end(&mut self) {
        if self.is_of_block() {
            self.in_block = self.flags() & END_HEADERS == 0;
        }
        self.any = true;
        self.have = 0;
    }

    fn is_of_block(&self) -> bool {
        self.have == HEADER && matches!(self.kind(), HEADERS | CONTINUATION)
    }

    fn length_if_whole(&self) -> usize {
        if self.have == HEADER { self.length() } else { 0 }
    }

    fn length(&self) -> usize {
        let [high, middle, low, ..] = self.header;
        usize::from(high) << 16 | usize::from(middle) << 8 | usize::from(low)
    }

    fn kind(&self) -> u8 {
        self.header[3]
    }

    fn flags(&self) -> u8 {
        self.header[4]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(length: usize, kind: u8, flags: u8) -> Vec<u8> {
        let mut frame = u32::try_from(length).unwrap().to_be_bytes()[1..].to_vec();
        frame.extend([kind, flags, 0, 0, 0, 1]);
        frame.resize(HEADER + length, b'x');
        frame
    }

    #[test]
    fn header_block_is_unfinished_until_its_last_continuation() {
        let parts = [frame(0, 4, 0), frame(100, HEADERS, 0), frame(50, CONTINUATION, 0), frame(7, CONTINUATION, 4)];
        for size in 1..40 {
            let mut frames = Frames::default();
            for part in &parts {
                part.chunks(size).for_each(|piece| frames.push(piece));
                let is_last = part.len() == HEADER + 7;
                let is_settings = part.len() == HEADER;
                assert_eq!(frames.unfinished(true).is_none(), is_last || is_settings, "cut every {size} bytes");
            }
        }
    }

    #[test]
    fn unfinished_header_block_counts_its_decoded_bound() {
        let mut frames = Frames::default();
        frames.push(&frame(100, HEADERS, 0));
        frames.push(&frame(50, CONTINUATION, 0));
        assert_eq!(frames.unfinished(true), Some(OPEN_BLOCK));
    }

    #[test]
    fn data_frame_counts_only_without_a_request_in_flight() {
        let mut frames = Frames::default();
        frames.push(&frame(100, DATA, 0)[..50]);
        assert_eq!(frames.unfinished(true), None);
        assert_eq!(frames.unfinished(false), Some(50));
        frames.push(&[0; 59]);
        assert_eq!(frames.unfinished(false), None);
    }

    #[test]
    fn connection_start_ends_with_the_first_whole_frame() {
        let mut frames = Frames::default();
        frames.push(&frame(6, 4, 0)[..10]);
        assert!(frames.is_at_start());
        frames.push(&[0; 5]);
        assert!(!frames.is_at_start());
    }
}
