//! Where one event ends and the next begins, in bytes that arrive in pieces.

pub mod json_array;
pub mod sse;
