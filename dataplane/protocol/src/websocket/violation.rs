//! What a peer may not send, and the close code that answers it.

use super::{code, frame::MOST_CONTROL};

/// How a peer broke the protocol. Nothing that it sends afterwards can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Violation {
    /// A reserved bit, which an extension would use.
    #[error("a reserved bit is set: no extension, such as compression, was agreed")]
    Reserved,
    /// An opcode that has no meaning.
    #[error("an opcode is unknown")]
    Opcode,
    /// A client's frame without a mask.
    #[error("a frame is not masked")]
    Unmasked,
    /// A server's frame with one.
    #[error("a frame is masked")]
    Masked,
    /// A control frame in pieces or of more than 125 bytes.
    #[error("a control frame is longer than {MOST_CONTROL} bytes or fragmented")]
    Control,
    /// A continuation of nothing, or a message inside another.
    #[error("fragments of messages are out of order")]
    Fragments,
    /// A close frame with half a code, or one that may not be sent.
    #[error("a close frame is malformed")]
    Close,
    /// Text, or a reason, that is not UTF-8.
    #[error("a text is not UTF-8")]
    NotUtf8,
    /// A message of more bytes than are read.
    #[error("a message is larger than {0} bytes")]
    TooLarge(usize),
}

impl Violation {
    /// The close code that answers it.
    pub const fn code(self) -> u16 {
        match self {
            Self::TooLarge(_) => code::TOO_LARGE,
            Self::NotUtf8 => code::INVALID,
            Self::Reserved
            | Self::Opcode
            | Self::Unmasked
            | Self::Masked
            | Self::Control
            | Self::Fragments
            | Self::Close => code::PROTOCOL_ERROR,
        }
    }
}
