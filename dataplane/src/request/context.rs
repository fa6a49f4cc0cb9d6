//! What is known of a request from its head alone: its id, when and from where it came, and the trace it belongs to.
//!
//! Decides nothing. The query is left out on purpose: Gemini clients put their key there, so it must not reach a log.

use std::net::SocketAddr;

use http::{HeaderMap, Method, Request, Version};

use crate::{clock::Now, random};

/// Longest path that is kept for the log; scanners send long ones.
const MAX_PATH: usize = 256;

/// Facts that hold for the whole request.
#[derive(Debug)]
pub(super) struct Context {
    /// Unique; on every response and record.
    pub id: String,
    /// The one clock reading that decisions at the start share.
    pub now: Now,
    /// Who connected.
    pub peer: SocketAddr,
    /// As sent.
    pub method: Method,
    /// Without the query.
    pub path: String,
    /// HTTP/1.1 answers can ask the client to close.
    pub version: Version,
    /// The trace to continue, if the client is in one.
    pub trace: Option<Trace>,
}

/// W3C trace context of this hop: the client's trace, a span of our own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Trace {
    /// 32 hexadecimal digits, the client's.
    pub trace_id: String,
    /// 16 hexadecimal digits, ours.
    pub span_id: String,
    /// Two hexadecimal digits, the client's.
    pub flags: String,
}

impl Context {
    pub(super) fn read<B>(now: Now, peer: SocketAddr, request: &Request<B>) -> Self {
        let [id, span] = random::bits();
        Self {
            id: random::request_id(id, span),
            now,
            peer,
            method: request.method().clone(),
            path: clip(request.uri().path()),
            version: request.version(),
            trace: Trace::read(request.headers(), span),
        }
    }
}

impl Trace {
    /// Reads `traceparent` (W3C Trace Context level 1); anything but a well-formed value starts no trace.
    fn read(headers: &HeaderMap, span: u64) -> Option<Self> {
        let mut parts = headers.get("traceparent")?.to_str().ok()?.split('-');
        let (version, trace_id, parent, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        let hex = |text: &str, digits: usize| {
            text.len() == digits && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
        };
        let zero = |text: &str| text.bytes().all(|b| b == b'0');
        let legal = hex(version, 2) && version != "ff" && hex(trace_id, 32) && hex(parent, 16) && hex(flags, 2);
        if !legal || zero(trace_id) || zero(parent) || (version == "00" && parts.next().is_some()) {
            return None;
        }
        Some(Self { trace_id: trace_id.to_owned(), span_id: format!("{span:016x}"), flags: flags.to_owned() })
    }

    /// The header for the upstream.
    pub(super) fn parent(&self) -> String {
        format!("00-{}-{}-{}", self.trace_id, self.span_id, self.flags)
    }
}

fn clip(path: &str) -> String {
    let mut end = path.len().min(MAX_PATH);
    while !path.is_char_boundary(end) {
        end -= 1;
    }
    path.get(..end).unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trace(parent: &str) -> Option<Trace> {
        let mut headers = HeaderMap::new();
        headers.insert("traceparent", parent.parse().unwrap());
        Trace::read(&headers, 0xabc)
    }

    #[test]
    fn traceparent_is_continued_with_a_new_span() {
        let read = trace("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01").unwrap();
        assert_eq!(read.parent(), "00-0af7651916cd43dd8448eb211c80319c-0000000000000abc-01");
    }

    #[test]
    fn invalid_traceparent_is_ignored() {
        for broken in [
            "",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-x",
        ] {
            assert_eq!(trace(broken), None, "{broken}");
        }
    }
}
