//! How much of a body is read.

/// Deepest nesting of arrays and objects that is accepted; the same as `serde_json`'s, so that a body that scans can
/// also be decoded.
pub const MAX_DEPTH: usize = 127;

/// Most top-level members of a body that are accepted. No API has a hundred.
pub const MAX_MEMBERS: usize = 1024;

/// Most elements of a list that is kept: messages, parts, tools. Anthropic takes 100,000 messages.
pub const MAX_ELEMENTS: usize = 100_000;

/// Longest value that is made a tree of, in bytes: counts, errors, reasons.
pub const MAX_TREE: usize = 64 * 1024;
