//! Undoes gzip as the bytes arrive, never holding more than the cap of what comes out.

use std::io::{self, Write};

use bytes::Bytes;
use flate2::write::MultiGzDecoder;

use super::Refusal;

/// A gzip body on its way out.
pub(super) struct Inflate {
    decoder: MultiGzDecoder<Capped>,
    limit: usize,
    received: bool,
}

/// Collects up to `limit` bytes and fails at the next.
struct Capped {
    bytes: Vec<u8>,
    limit: usize,
    overflowed: bool,
}

impl Inflate {
    pub(super) fn new(limit: usize) -> Self {
        let sink = Capped { bytes: Vec::new(), limit, overflowed: false };
        Self { decoder: MultiGzDecoder::new(sink), limit, received: false }
    }

    /// How much has come out.
    pub(super) fn len(&self) -> usize {
        self.decoder.get_ref().bytes.len()
    }

    pub(super) fn push(&mut self, data: &[u8]) -> Result<(), Refusal> {
        self.received |= !data.is_empty();
        let written = self.decoder.write_all(data);
        written.map_err(|_| self.refusal())
    }

    pub(super) fn finish(mut self) -> Result<Bytes, Refusal> {
        let ended = self.decoder.try_finish();
        if ended.is_err() || !self.received {
            return Err(self.refusal());
        }
        Ok(Bytes::from(std::mem::take(&mut self.decoder.get_mut().bytes)))
    }

    fn refusal(&self) -> Refusal {
        if self.decoder.get_ref().overflowed {
            Refusal::BodyTooLarge { limit: self.limit }
        } else {
            Refusal::BadEncoding
        }
    }
}

impl Write for Capped {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        if self.bytes.len().saturating_add(data.len()) > self.limit {
            self.overflowed = true;
            return Err(io::Error::other("larger than allowed"));
        }
        self.bytes.extend_from_slice(data);
        Ok(data.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
