//! The grammar: from the bytes of a value to its kind and its end, with one recursion per level of nesting. What is no JSON
//! is named with its position.

use super::{
    bounds::MAX_DEPTH,
    fault::{Fault, NotJson},
    value::{Kind, Member, Value},
};

/// A place in a body.
pub(super) struct Reader<'a> {
    pub(super) body: &'a [u8],
    pub(super) at: usize,
    /// Objects so far.
    pub(super) objects: usize,
}

impl<'a> Reader<'a> {
    pub(super) const fn at(body: &'a [u8], at: usize) -> Self {
        Self { body, at, objects: 0 }
    }
}

impl Reader<'_> {
    pub(super) fn peek(&self) -> Option<u8> {
        self.body.get(self.at).copied()
    }

    pub(super) fn fault(&self, fault: Fault) -> NotJson {
        NotJson { position: self.at, fault: if self.at >= self.body.len() { Fault::End } else { fault } }
    }

    pub(super) fn space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\n' | b'\r' | b'\t')) {
            self.at += 1;
        }
    }

    /// From the opening brace to behind the closing one.
    pub(super) fn object(&mut self, depth: usize, mut each: impl FnMut(Member)) -> Result<bool, NotJson> {
        self.open(depth)?;
        self.objects = self.objects.saturating_add(1);
        if self.peek() == Some(b'}') {
            self.at += 1;
            return Ok(true);
        }
        loop {
            if self.peek() != Some(b'"') {
                return Err(self.fault(Fault::Name));
            }
            let start = self.at;
            self.string()?;
            let name = start..self.at;
            self.space();
            if self.peek() != Some(b':') {
                return Err(self.fault(Fault::Colon));
            }
            self.at += 1;
            let value = self.value(depth)?;
            each(Member { name, value });
            if self.close(b'}')? {
                return Ok(false);
            }
        }
    }

    /// From the opening bracket to behind the closing one.
    pub(super) fn array(&mut self, depth: usize, mut each: impl FnMut(Value)) -> Result<bool, NotJson> {
        self.open(depth)?;
        if self.peek() == Some(b']') {
            self.at += 1;
            return Ok(true);
        }
        loop {
            each(self.value(depth)?);
            if self.close(b']')? {
                return Ok(false);
            }
        }
    }

    fn open(&mut self, depth: usize) -> Result<(), NotJson> {
        if depth > MAX_DEPTH {
            return Err(self.fault(Fault::Depth));
        }
        self.at += 1;
        self.space();
        Ok(())
    }

    /// Behind a member or element: true at the end, false behind a comma.
    fn close(&mut self, bracket: u8) -> Result<bool, NotJson> {
        self.space();
        match self.peek() {
            Some(b',') => {
                self.at += 1;
                self.space();
                Ok(false)
            }
            Some(byte) if byte == bracket => {
                self.at += 1;
                Ok(true)
            }
            _ => Err(self.fault(Fault::Separator)),
        }
    }

    /// Any value with the space around it; `depth` counts the brackets it stands in.
    fn value(&mut self, depth: usize) -> Result<Value, NotJson> {
        self.space();
        let start = self.at;
        let kind = match self.peek() {
            Some(b'"') => Kind::String { escaped: self.string()? },
            Some(b'{') => Kind::Object { empty: self.object(depth + 1, drop)? },
            Some(b'[') => Kind::Array { empty: self.array(depth + 1, drop)? },
            Some(b'-' | b'0'..=b'9') => self.number()?,
            Some(b't') => self.word(b"true", Kind::Bool(true))?,
            Some(b'f') => self.word(b"false", Kind::Bool(false))?,
            Some(b'n') => self.word(b"null", Kind::Null)?,
            _ => return Err(self.fault(Fault::Value)),
        };
        Ok(Value { kind, span: start..self.at })
    }

    fn word(&mut self, word: &[u8], kind: Kind) -> Result<Kind, NotJson> {
        for expected in word {
            if self.peek() != Some(*expected) {
                return Err(self.fault(Fault::Value));
            }
            self.at += 1;
        }
        Ok(kind)
    }

    /// From the opening quote to behind the closing one; whether it holds escapes.
    fn string(&mut self) -> Result<bool, NotJson> {
        self.at += 1;
        let mut escaped = false;
        loop {
            let rest = self.body.get(self.at..).unwrap_or_default();
            let plain = memchr::memchr2(b'"', b'\\', rest).unwrap_or(rest.len());
            // Without an early exit the check runs over many bytes at once.
            let run = rest.get(..plain).unwrap_or_default();
            if run.iter().fold(false, |found, byte| found | (*byte < 0x20)) {
                self.at += run.iter().position(|byte| *byte < 0x20).unwrap_or(0);
                return Err(self.fault(Fault::Control));
            }
            self.at += plain;
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(escaped);
                }
                Some(_) => self.escape()?,
                None => return Err(self.fault(Fault::End)),
            }
            escaped = true;
        }
    }

    fn escape(&mut self) -> Result<(), NotJson> {
        self.at += 1;
        match self.peek() {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => self.at += 1,
            Some(b'u') => {
                self.at += 1;
                for _ in 0..4 {
                    if !self.peek().is_some_and(|byte| byte.is_ascii_hexdigit()) {
                        return Err(self.fault(Fault::Escape));
                    }
                    self.at += 1;
                }
            }
            _ => return Err(self.fault(Fault::Escape)),
        }
        Ok(())
    }

    fn number(&mut self) -> Result<Kind, NotJson> {
        if self.peek() == Some(b'-') {
            self.at += 1;
        }
        match self.peek() {
            Some(b'0') => self.at += 1,
            _ => self.digits()?,
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.at += 1;
            if matches!(self.peek(), Some(b'+' | b'-')) {
                self.at += 1;
            }
            self.digits()?;
        }
        Ok(Kind::Number)
    }

    fn digits(&mut self) -> Result<(), NotJson> {
        if !self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            return Err(self.fault(Fault::Number));
        }
        while self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            self.at += 1;
        }
        Ok(())
    }
}
