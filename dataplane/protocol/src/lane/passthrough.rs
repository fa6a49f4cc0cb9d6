//! Answers of the client's own dialect: bytes go out as they came, and a tap reads along.

pub(crate) mod stream;
mod strip_usage;
pub(crate) mod whole;
