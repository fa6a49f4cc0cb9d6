//! Undoes gzip, never holding more than the cap of what comes out, nor more than the lease allows.

use std::io::{self, Write};

use bytes::Bytes;
use flate2::write::MultiGzDecoder;

use super::{Full, Lease, Refusal};

/// Compressed bytes that are taken at a time. A byte becomes 1032 at most, so the lease is asked every 528 KiB or sooner.
const STEP: usize = 512;

/// Collects up to `limit` bytes and fails at the next.
struct Capped {
    bytes: Vec<u8>,
    limit: usize,
    overflowed: bool,
}

/// A whole gzip body as it reads without its encoding.
///
/// # Errors
/// When it is no complete gzip, becomes larger than `limit`, or more than may be held.
pub(super) fn inflate(packed: &[u8], limit: usize, lease: &mut Lease) -> Result<Bytes, Refusal> {
    let mut decoder = MultiGzDecoder::new(Capped { bytes: Vec::new(), limit, overflowed: false });
    for step in packed.chunks(STEP) {
        let before = decoder.get_ref().bytes.len();
        decoder.write_all(step).map_err(|_| refusal(decoder.get_ref()))?;
        let grown = decoder.get_ref().bytes.len().saturating_sub(before);
        lease.grow(grown).map_err(|Full| Refusal::Full)?;
    }
    let ended = decoder.try_finish();
    if ended.is_err() || packed.is_empty() {
        return Err(refusal(decoder.get_ref()));
    }
    Ok(Bytes::from(std::mem::take(&mut decoder.get_mut().bytes)))
}

fn refusal(sink: &Capped) -> Refusal {
    if sink.overflowed { Refusal::BodyTooLarge { limit: sink.limit } } else { Refusal::BadEncoding }
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
