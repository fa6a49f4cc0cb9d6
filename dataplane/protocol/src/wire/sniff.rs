//! What a body looks like: some servers call it something else.

use super::sse;

/// Server-sent events are known by their first line.
pub(crate) fn is_events(body: &[u8]) -> bool {
    let body = sse::without_mark(body).trim_ascii_start();
    [&b"data:"[..], b"event:", b"id:", b"retry:", b":"].iter().any(|field| body.starts_with(field))
}

/// A JSON object or array, or nothing.
pub(crate) fn is_json(body: &[u8]) -> bool {
    matches!(body.trim_ascii_start().first(), None | Some(b'{' | b'['))
}
