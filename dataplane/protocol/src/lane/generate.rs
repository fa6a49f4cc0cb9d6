//! Generated content between two dialects: an upstream's answer is decoded, restored to the client's names and encoded.

mod observe;
pub(crate) mod stream;
mod to_events;
mod unsupported;
pub(crate) mod whole;
