//! Writing: objects and lists straight into the output, in the order of the calls.
//!
//! There is no intermediate tree, so raw JSON keeps its spelling and numbers keep theirs. Closures close what they open,
//! so the result is balanced whatever the caller does.
//!
//! What is written may be bounded ([`object_within`]): the bound is looked at before each byte, so that a document which
//! would be larger never is, and its writer is asked afterwards whether it was cut ([`Members::is_full`]).

use std::io;

use serde::Serialize;

/// The members of an object that is being written.
pub struct Members<'w> {
    out: Out<'w>,
    first: bool,
}

/// The elements of a list that is being written.
pub struct Elements<'w> {
    out: Out<'w>,
    first: bool,
}

/// Where it is written. One byte more than `most` says that there would have been more.
struct Out<'w> {
    bytes: &'w mut Vec<u8>,
    most: usize,
}

/// Appends one object.
pub fn object(out: &mut Vec<u8>, fill: impl FnOnce(&mut Members<'_>)) {
    object_within(out, usize::MAX, fill);
}

/// Appends one object. If `out` would become longer than `most` bytes, what is beyond is not written.
pub fn object_within(out: &mut Vec<u8>, most: usize, fill: impl FnOnce(&mut Members<'_>)) {
    Out { bytes: out, most }.object(fill);
}

/// One object as text.
pub fn text(fill: impl FnOnce(&mut Members<'_>)) -> String {
    let mut out = Vec::new();
    object(&mut out, fill);
    String::from_utf8(out).unwrap_or_default()
}

/// A text as it stands between the quotes of a JSON string.
pub fn escaped(text: &str) -> String {
    let quoted = serde_json::to_string(text).unwrap_or_default();
    quoted.get(1..quoted.len().saturating_sub(1)).unwrap_or_default().to_owned()
}

/// Elements as text, separated but without the brackets around them.
pub fn elements(fill: impl FnOnce(&mut Elements<'_>)) -> String {
    let mut bytes = Vec::new();
    fill(&mut Elements { out: Out { bytes: &mut bytes, most: usize::MAX }, first: true });
    String::from_utf8(bytes).unwrap_or_default()
}

impl Members<'_> {
    /// A member with any value.
    pub fn put<T: Serialize + ?Sized>(&mut self, name: &str, value: &T) {
        self.key(name);
        self.out.value(value);
    }

    /// A member that is left out if there is no value.
    pub fn put_some<T: Serialize>(&mut self, name: &str, value: Option<T>) {
        if let Some(value) = value {
            self.put(name, &value);
        }
    }

    /// A member whose value is JSON text already.
    pub fn put_json(&mut self, name: &str, json: &str) {
        self.key(name);
        self.out.push(json.as_bytes());
    }

    /// Members that are JSON text already, separated by commas; there is at least one.
    pub fn put_members(&mut self, members: &str) {
        self.out.separate(&mut self.first);
        self.out.push(members.as_bytes());
    }

    /// A member that is an object.
    pub fn object(&mut self, name: &str, fill: impl FnOnce(&mut Members<'_>)) {
        self.key(name);
        self.out.object(fill);
    }

    /// A member that is a list.
    pub fn list(&mut self, name: &str, fill: impl FnOnce(&mut Elements<'_>)) {
        self.key(name);
        self.out.list(fill);
    }

    /// Bytes that may still be written.
    pub const fn room(&self) -> usize {
        self.out.room()
    }

    /// Whether more would have been written than may be.
    pub const fn is_full(&self) -> bool {
        self.out.is_full()
    }

    fn key(&mut self, name: &str) {
        self.out.separate(&mut self.first);
        self.out.value(name);
        self.out.push(b":");
    }
}

impl Elements<'_> {
    /// An element with any value.
    pub fn put<T: Serialize + ?Sized>(&mut self, value: &T) {
        self.out.separate(&mut self.first);
        self.out.value(value);
    }

    /// An element that is JSON text already.
    pub fn put_json(&mut self, json: &str) {
        self.out.separate(&mut self.first);
        self.out.push(json.as_bytes());
    }

    /// Elements that are JSON text already, separated by commas; there is at least one.
    pub fn put_elements(&mut self, elements: &str) {
        self.put_json(elements);
    }

    /// An element that is an object.
    pub fn object(&mut self, fill: impl FnOnce(&mut Members<'_>)) {
        self.out.separate(&mut self.first);
        self.out.object(fill);
    }

    /// Bytes that may still be written.
    pub const fn room(&self) -> usize {
        self.out.room()
    }

    /// Whether nothing was written yet.
    pub const fn is_empty(&self) -> bool {
        self.first
    }
}

impl Out<'_> {
    const fn room(&self) -> usize {
        self.most.saturating_sub(self.bytes.len())
    }

    const fn is_full(&self) -> bool {
        self.bytes.len() > self.most
    }

    fn push(&mut self, bytes: &[u8]) {
        // One more than fits shows that it did not.
        let room = self.most.saturating_add(1).saturating_sub(self.bytes.len());
        self.bytes.extend_from_slice(bytes.get(..room).unwrap_or(bytes));
    }

    /// Strings, numbers, booleans, raw JSON and lists of them cannot fail to block_sequencer; should one ever, the document
    /// stays legal.
    fn value<T: Serialize + ?Sized>(&mut self, value: &T) {
        let start = self.bytes.len();
        if serde_json::to_writer(&mut *self, value).is_err() && !self.is_full() {
            self.bytes.truncate(start);
            self.push(b"null");
        }
    }

    fn object(&mut self, fill: impl FnOnce(&mut Members<'_>)) {
        self.push(b"{");
        fill(&mut Members { out: Out { bytes: self.bytes, most: self.most }, first: true });
        self.push(b"}");
    }

    fn list(&mut self, fill: impl FnOnce(&mut Elements<'_>)) {
        self.push(b"[");
        fill(&mut Elements { out: Out { bytes: self.bytes, most: self.most }, first: true });
        self.push(b"]");
    }

    fn separate(&mut self, first: &mut bool) {
        if !std::mem::take(first) {
            self.push(b",");
        }
    }
}

impl io::Write for Out<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.push(bytes);
        if self.is_full() { Err(io::ErrorKind::StorageFull.into()) } else { Ok(bytes.len()) }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{object_within, text};

    #[test]
    fn balanced_and_in_order() {
        let written = text(|o| {
            o.put("b", &0);
            o.put_some("none", None::<bool>);
            o.put_some("a", Some(false));
            o.put_json("raw", r#"{"k":1.0}"#);
            o.list("l", |l| {
                assert!(l.is_empty());
                l.put("x\n");
                l.object(|_| ());
            });
        });
        assert_eq!(written, r#"{"b":0,"a":false,"raw":{"k":1.0},"l":["x\n",{}]}"#);
    }

    #[test]
    fn nothing_is_written_beyond_the_bound() {
        let write = |most: usize, control: &str| {
            let (mut out, mut full) = (Vec::new(), false);
            object_within(&mut out, most, |o| {
                o.put("a", control);
                o.put_json("b", "[1,2,3]");
                o.list("c", |l| (0..100).for_each(|at| l.put(&at)));
                full = o.is_full();
            });
            (out, full)
        };
        let (whole, full) = write(usize::MAX, "x");
        assert!(!full);
        assert_eq!(write(whole.len(), "x").0, whole, "exactly as long as it may be");
        for most in 0..whole.len() {
            let (out, _) = write(most, "x");
            assert_eq!(out.len(), most + 1);
            assert_eq!(whole.get(..=most), Some(out.as_slice()));
        }
        // Six bytes are written for each of these.
        let (out, full) = write(1_000, &"\u{1}".repeat(1 << 20));
        assert!(full && out.len() == 1_001 && out.capacity() < 4_096, "{} of {}", out.len(), out.capacity());
    }
}
