//! A frame's parts (RFC 6455, section 5.2).

/// What a frame carries (RFC 6455, section 5.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opcode {
    /// More of the message that has begun.
    Continuation,
    /// UTF-8.
    Text,
    /// Any bytes.
    Binary,
    /// The end of the connection.
    Close,
    /// To be answered with a pong of the same payload.
    Ping,
    /// The answer to a ping, or nothing in particular.
    Pong,
}

/// Which end of a connection this process is. A client masks what it sends, a server does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Towards an upstream.
    Client,
    /// Towards a client.
    Server,
}

/// A frame's header.
#[derive(Clone, Copy, Debug)]
pub struct Head {
    bytes: [u8; LONGEST_HEAD],
    length: usize,
}

/// Two bytes, a length of eight, a mask of four.
pub(super) const LONGEST_HEAD: usize = 14;

/// Most bytes of a control frame's payload (RFC 6455, section 5.5).
pub const MOST_CONTROL: usize = 125;

impl Opcode {
    pub(super) const fn of(bits: u8) -> Option<Self> {
        Some(match bits {
            0 => Self::Continuation,
            1 => Self::Text,
            2 => Self::Binary,
            8 => Self::Close,
            9 => Self::Ping,
            10 => Self::Pong,
            _ => return None,
        })
    }

    const fn bits(self) -> u8 {
        match self {
            Self::Continuation => 0,
            Self::Text => 1,
            Self::Binary => 2,
            Self::Close => 8,
            Self::Ping => 9,
            Self::Pong => 10,
        }
    }

    /// Whether it may stand between the frames of a message.
    pub const fn is_control(self) -> bool {
        matches!(self, Self::Close | Self::Ping | Self::Pong)
    }
}

impl Head {
    /// The header as it is sent.
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or_default()
    }
}

/// The header of a message that is one frame, with `key` as its mask if it is masked ([`mask`] it then).
pub fn head(opcode: Opcode, payload: usize, key: Option<[u8; 4]>) -> Head {
    const FIN: u8 = 0x80;
    const MASKED: u8 = 0x80;
    let masked = if key.is_some() { MASKED } else { 0 };
    let mut head = Head { bytes: [0; LONGEST_HEAD], length: 0 };
    let mut put = |bytes: &[u8]| {
        for byte in bytes {
            if let Some(place) = head.bytes.get_mut(head.length) {
                *place = *byte;
                head.length += 1;
            }
        }
    };
    put(&[FIN | opcode.bits()]);
    match (u8::try_from(payload).ok().filter(|length| *length < 126), u16::try_from(payload)) {
        (Some(length), _) => put(&[masked | length]),
        (None, Ok(length)) => {
            put(&[masked | 126]);
            put(&length.to_be_bytes());
        }
        (None, Err(_)) => {
            put(&[masked | 127]);
            put(&(payload as u64).to_be_bytes());
        }
    }
    if let Some(key) = key {
        put(&key);
    }
    head
}

/// Masks a payload, or unmasks it: both are the same.
pub fn mask(payload: &mut [u8], key: [u8; 4]) {
    let wide = u64::from_ne_bytes([key[0], key[1], key[2], key[3], key[0], key[1], key[2], key[3]]);
    let (words, rest) = payload.as_chunks_mut::<8>();
    for word in words {
        *word = (u64::from_ne_bytes(*word) ^ wide).to_ne_bytes();
    }
    for (byte, key) in rest.iter_mut().zip(key.iter().cycle()) {
        *byte ^= key;
    }
}
