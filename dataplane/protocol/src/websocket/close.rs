//! Close frames: a code and a reason (RFC 6455, sections 5.5.1 and 7.4).

use super::{frame::MOST_CONTROL, violation::Violation};

/// Why a connection is closed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Close {
    /// One that may be sent: see [`code`].
    pub code: u16,
    /// For people; at most 123 bytes.
    pub reason: String,
}

impl Close {
    /// A reason that is too long for a frame is cut.
    pub fn new(code: u16, reason: &str) -> Self {
        let mut end = reason.len().min(MOST_CONTROL - 2);
        while !reason.is_char_boundary(end) {
            end -= 1;
        }
        Self { code, reason: reason.get(..end).unwrap_or_default().to_owned() }
    }

    /// A close frame's payload.
    pub fn payload(&self) -> Vec<u8> {
        let mut payload = self.code.to_be_bytes().to_vec();
        payload.extend_from_slice(self.reason.as_bytes());
        payload
    }

    /// What a peer's close frame says; none if it says nothing.
    pub(super) fn read(payload: &[u8]) -> Result<Option<Self>, Violation> {
        let Some((code, reason)) = payload.split_first_chunk::<2>() else {
            return if payload.is_empty() { Ok(None) } else { Err(Violation::Close) };
        };
        let code = u16::from_be_bytes(*code);
        if !may_be_sent(code) {
            return Err(Violation::Close);
        }
        let reason = std::str::from_utf8(reason).map_err(|_| Violation::NotUtf8)?.to_owned();
        Ok(Some(Self { code, reason }))
    }
}

/// Some codes only say what an endpoint has seen; 1016 to 2999 belong to nobody yet.
const fn may_be_sent(code: u16) -> bool {
    matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999)
}
