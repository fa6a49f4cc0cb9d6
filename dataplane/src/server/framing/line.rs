//! Single lines of HTTP/1, in whatever pieces they come: which field it is, and the number that a length is.

use memchr::memchr;

const TRANSFER_ENCODING: &[u8] = b"transfer-encoding";
const CONTENT_LENGTH: &[u8] = b"content-length";

/// A field line that has begun.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Field {
    name: [u8; TRANSFER_ENCODING.len()],
    /// Bytes of the name so far; more than fit into `name` if it is none of those looked for.
    length: usize,
    value: Option<Value>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Value {
    Encoding,
    Length(Digits),
    Other,
}

/// What a field line was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// The end of the header section.
    Empty,
    TransferEncoding,
    ContentLength(Length),
    Other,
}

/// What a `Content-Length` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Length {
    Known(u64),
    /// Not a number; hyper refuses such a request, unless it has a transfer encoding.
    Invalid,
}

/// The size line of a chunk that has begun.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct ChunkSize {
    digits: Digits,
    in_extension: bool,
}

/// A number that has begun, white space around it allowed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Digits {
    #[default]
    None,
    Some(u64),
    Ended(u64),
    Invalid,
}

impl Field {
    pub(super) fn push(&mut self, mut bytes: &[u8]) {
        if self.value.is_none() {
            let colon = memchr(b':', bytes);
            self.push_name(bytes.get(..colon.unwrap_or(bytes.len())).unwrap_or_default());
            let Some(colon) = colon else { return };
            self.value = Some(self.kind_of_value());
            bytes = bytes.get(colon + 1..).unwrap_or_default();
        }
        if let Some(Value::Length(digits)) = &mut self.value {
            bytes.iter().for_each(|byte| digits.push(*byte, 10));
        }
    }

    /// At the end of the line.
    pub(super) fn end(self) -> Kind {
        match self.value {
            None if self.length == 0 || (self.length == 1 && self.name.starts_with(b"\r")) => Kind::Empty,
            Some(Value::Encoding) => Kind::TransferEncoding,
            Some(Value::Length(digits)) => Kind::ContentLength(digits.end().map_or(Length::Invalid, Length::Known)),
            None | Some(Value::Other) => Kind::Other,
        }
    }

    fn push_name(&mut self, bytes: &[u8]) {
        let room = self.name.get_mut(self.length..).unwrap_or_default();
        for (permit, byte) in room.iter_mut().zip(bytes) {
            *permit = *byte;
        }
        self.length = self.length.saturating_add(bytes.len());
    }

    fn kind_of_value(&self) -> Value {
        match self.name.get(..self.length) {
            Some(name) if name.eq_ignore_ascii_case(TRANSFER_ENCODING) => Value::Encoding,
            Some(name) if name.eq_ignore_ascii_case(CONTENT_LENGTH) => Value::Length(Digits::None),
            _ => Value::Other,
        }
    }
}

impl ChunkSize {
    pub(super) fn push(&mut self, bytes: &[u8]) {
        if self.in_extension {
            return;
        }
        let end = memchr(b';', bytes);
        self.in_extension = end.is_some();
        let size = bytes.get(..end.unwrap_or(bytes.len())).unwrap_or_default();
        size.iter().for_each(|byte| self.digits.push(*byte, 16));
    }

    /// At the end of the line; none if it is no size.
    pub(super) fn end(self) -> Option<u64> {
        self.digits.end()
    }
}

impl Digits {
    fn push(&mut self, byte: u8, radix: u32) {
        let digit = char::from(byte).to_digit(radix).map(u64::from);
        *self = match (*self, digit) {
            (Self::None, Some(digit)) => Self::Some(digit),
            (Self::Some(number), Some(digit)) => number
                .checked_mul(u64::from(radix))
                .and_then(|number| number.checked_add(digit))
                .map_or(Self::Invalid, Self::Some),
            (Self::None, None) if is_space(byte) => Self::None,
            (Self::Some(number) | Self::Ended(number), None) if is_space(byte) => Self::Ended(number),
            _ => Self::Invalid,
        };
    }

    fn end(self) -> Option<u64> {
        match self {
            Self::Some(number) | Self::Ended(number) => Some(number),
            Self::None | Self::Invalid => None,
        }
    }
}

fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r')
}
