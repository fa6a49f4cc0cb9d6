//! A peer's bytes → messages and control frames.

use bytes::{Buf, BytesMut};

use super::{
    close::Close,
    frame::{MOST_CONTROL, Opcode, Role, mask},
    violation::Violation,
};

/// Reads one direction of a connection.
#[derive(Debug)]
pub struct Reader {
    role: Role,
    most: usize,
    frame: Option<Frame>,
    message: Option<Message>,
    /// The payload of a control frame, which may stand between the frames of a message.
    control: BytesMut,
}

/// A frame of which not all has come.
#[derive(Clone, Copy, Debug)]
struct Frame {
    opcode: Opcode,
    fin: bool,
    left: usize,
    /// Turned so that the next byte belongs to the first of it; none for frames without a mask.
    key: Option<[u8; 4]>,
}

/// A message of which not all has come.
#[derive(Debug)]
struct Message {
    opcode: Opcode,
    payload: BytesMut,
}

/// What a peer sent.
#[derive(Debug, PartialEq, Eq)]
pub enum Incoming {
    /// A whole message in UTF-8.
    Text(BytesMut),
    /// A whole message of any bytes.
    Binary(BytesMut),
    /// Answer with a pong of this payload.
    Ping(BytesMut),
    /// Nothing to do.
    Pong,
    /// The peer closes; none if it does not say why. Nothing comes behind it.
    Close(Option<Close>),
}

impl Reader {
    /// Reads what this end is sent, messages of at most `most` bytes.
    pub fn new(role: Role, most: usize) -> Self {
        Self { role, most, frame: None, message: None, control: BytesMut::new() }
    }

    /// Bytes that are held of a message that has begun.
    pub fn held(&self) -> usize {
        self.message.as_ref().map_or(0, |message| message.payload.capacity())
    }

    /// Takes from the front of what was read. None if more has to be read first: then at most a part of a header is left.
    ///
    /// # Errors
    /// When the peer breaks the protocol.
    pub fn read(&mut self, input: &mut BytesMut) -> Result<Option<Incoming>, Violation> {
        loop {
            let mut frame = match self.frame.take() {
                Some(frame) => frame,
                None => match self.begin(input)? {
                    Some(frame) => frame,
                    None => return Ok(None),
                },
            };
            let mut piece = input.split_to(frame.left.min(input.len()));
            frame.unmask(&mut piece);
            self.take(frame.opcode, &piece);
            if frame.left > 0 {
                self.frame = Some(frame);
                return Ok(None);
            }
            if let Some(incoming) = self.end(frame)? {
                return Ok(Some(incoming));
            }
        }
    }

    /// Reads a frame's header, if all of it is there.
    fn begin(&self, input: &mut BytesMut) -> Result<Option<Frame>, Violation> {
        let Some(&[first, second]) = input.first_chunk::<2>() else { return Ok(None) };
        if first & 0x70 != 0 {
            return Err(Violation::Reserved);
        }
        let (fin, is_masked) = (first & 0x80 != 0, second & 0x80 != 0);
        let opcode = Opcode::of(first & 0x0f).ok_or(Violation::Opcode)?;
        match (self.role, is_masked) {
            (Role::Server, false) => return Err(Violation::Unmasked),
            (Role::Client, true) => return Err(Violation::Masked),
            (Role::Server, true) | (Role::Client, false) => {}
        }
        let short = usize::from(second & 0x7f);
        if opcode.is_control() && (!fin || short > MOST_CONTROL) {
            return Err(Violation::Control);
        }
        let in_message = self.message.is_some();
        if !opcode.is_control() && in_message != (opcode == Opcode::Continuation) {
            return Err(Violation::Fragments);
        }
        let wide = match short {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        let head = 2 + wide + if is_masked { 4 } else { 0 };
        if input.len() < head {
            return Ok(None);
        }
        input.advance(2);
        let left = match wide {
            0 => short,
            2 => usize::from(input.get_u16()),
            // One that no address reaches is too large in any case.
            _ => usize::try_from(input.get_u64()).unwrap_or(usize::MAX),
        };
        let key = is_masked.then(|| input.get_u32().to_be_bytes());
        let before = self.message.as_ref().map_or(0, |message| message.payload.len());
        if !opcode.is_control() && before.saturating_add(left) > self.most {
            return Err(Violation::TooLarge(self.most));
        }
        Ok(Some(Frame { opcode, fin, left, key }))
    }

    fn take(&mut self, opcode: Opcode, piece: &[u8]) {
        let payload = match opcode {
            Opcode::Close | Opcode::Ping | Opcode::Pong => &mut self.control,
            Opcode::Continuation | Opcode::Text | Opcode::Binary => {
                let begun = || Message { opcode, payload: BytesMut::new() };
                &mut self.message.get_or_insert_with(begun).payload
            }
        };
        // Copied, so that a message does not keep the buffer that its pieces were read into.
        payload.extend_from_slice(piece);
    }

    /// What a frame whose last byte has come makes whole.
    fn end(&mut self, frame: Frame) -> Result<Option<Incoming>, Violation> {
        match frame.opcode {
            Opcode::Ping => Ok(Some(Incoming::Ping(std::mem::take(&mut self.control)))),
            Opcode::Pong => {
                self.control.clear();
                Ok(Some(Incoming::Pong))
            }
            Opcode::Close => Close::read(&self.control).map(Incoming::Close).map(Some),
            Opcode::Continuation | Opcode::Text | Opcode::Binary => {
                let Some(Message { opcode, payload }) = self.message.take_if(|_| frame.fin) else { return Ok(None) };
                if opcode == Opcode::Binary {
                    return Ok(Some(Incoming::Binary(payload)));
                }
                std::str::from_utf8(&payload).map_err(|_| Violation::NotUtf8)?;
                Ok(Some(Incoming::Text(payload)))
            }
        }
    }
}

impl Frame {
    fn unmask(&mut self, piece: &mut [u8]) {
        self.left -= piece.len();
        if let Some(key) = &mut self.key {
            mask(piece, *key);
            key.rotate_left(piece.len() % 4);
        }
    }
}
