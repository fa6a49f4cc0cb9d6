//! How much a body may become on its way to an upstream.

use crate::{codec::Malformed, scan::Scan};

/// Most JSON objects in a body that is translated: messages, parts and tools are one each. Vendors take 100,000 messages
/// at most.
const MAX_OBJECTS: usize = 262_144;
/// What one of them is held as while it is translated, about: a block, and its place in a turn.
pub(super) const OBJECT_BYTES: usize = 512;

/// How many times its length a body may become; no dialect needs twice the bytes of another for what people send.
const GROWTH: usize = 4;
/// How much longer any body may become.
const ALLOWANCE: usize = 1 << 20;

/// Most bytes that a body of this length may become for an upstream.
pub(crate) fn most_bytes(length: usize, max_body: usize) -> usize {
    let grown = length.saturating_mul(GROWTH).saturating_add(ALLOWANCE);
    grown.min(max_body.saturating_add(length))
}

/// What is translated or rewritten is held as a tree meanwhile, so its objects are bounded beside its bytes.
pub(super) fn check_objects(scan: &Scan) -> Result<(), Malformed> {
    if scan.objects() <= MAX_OBJECTS {
        return Ok(());
    }
    let message = format!("the request body holds more than {MAX_OBJECTS} JSON objects");
    Err(Malformed { field: None, message })
}
