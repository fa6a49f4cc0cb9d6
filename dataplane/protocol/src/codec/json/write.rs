//! Writing: objects and lists straight into the output, in the order of the calls.
//!
//! There is no intermediate tree, so raw JSON keeps its spelling and numbers keep theirs. Closures close what they open,
//! so the result is balanced whatever the caller does.

use serde::Serialize;

/// The members of an object that is being written.
pub struct Members<'w> {
    out: &'w mut Vec<u8>,
    first: bool,
}

/// The elements of a list that is being written.
pub struct Elements<'w> {
    out: &'w mut Vec<u8>,
    first: bool,
}

/// Appends one object.
pub fn object(out: &mut Vec<u8>, fill: impl FnOnce(&mut Members<'_>)) {
    out.push(b'{');
    fill(&mut Members { out, first: true });
    out.push(b'}');
}

/// One object as text.
pub fn text(fill: impl FnOnce(&mut Members<'_>)) -> String {
    let mut out = Vec::new();
    object(&mut out, fill);
    String::from_utf8(out).unwrap_or_default()
}

/// Elements as text, separated but without the brackets around them.
pub fn elements(fill: impl FnOnce(&mut Elements<'_>)) -> String {
    let mut out = Vec::new();
    fill(&mut Elements { out: &mut out, first: true });
    String::from_utf8(out).unwrap_or_default()
}

impl Members<'_> {
    /// A member with any value.
    pub fn put<T: Serialize + ?Sized>(&mut self, name: &str, value: &T) {
        self.key(name);
        append(self.out, value);
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
        self.out.extend_from_slice(json.as_bytes());
    }

    /// A member that is an object.
    pub fn object(&mut self, name: &str, fill: impl FnOnce(&mut Members<'_>)) {
        self.key(name);
        object(self.out, fill);
    }

    /// A member that is a list.
    pub fn list(&mut self, name: &str, fill: impl FnOnce(&mut Elements<'_>)) {
        self.key(name);
        list(self.out, fill);
    }

    fn key(&mut self, name: &str) {
        separate(self.out, &mut self.first);
        append(self.out, name);
        self.out.push(b':');
    }
}

impl Elements<'_> {
    /// An element with any value.
    pub fn put<T: Serialize + ?Sized>(&mut self, value: &T) {
        separate(self.out, &mut self.first);
        append(self.out, value);
    }

    /// An element that is JSON text already.
    pub fn put_json(&mut self, json: &str) {
        separate(self.out, &mut self.first);
        self.out.extend_from_slice(json.as_bytes());
    }

    /// An element that is an object.
    pub fn object(&mut self, fill: impl FnOnce(&mut Members<'_>)) {
        separate(self.out, &mut self.first);
        object(self.out, fill);
    }

    /// Whether nothing was written yet.
    pub const fn is_empty(&self) -> bool {
        self.first
    }
}

fn list(out: &mut Vec<u8>, fill: impl FnOnce(&mut Elements<'_>)) {
    out.push(b'[');
    fill(&mut Elements { out, first: true });
    out.push(b']');
}

fn separate(out: &mut Vec<u8>, first: &mut bool) {
    if !std::mem::take(first) {
        out.push(b',');
    }
}

/// Strings, numbers, booleans, raw JSON and lists of them cannot fail to serialise; should one ever, the document stays
/// legal.
fn append<T: Serialize + ?Sized>(out: &mut Vec<u8>, value: &T) {
    let start = out.len();
    if serde_json::to_writer(&mut *out, value).is_err() {
        out.truncate(start);
        out.extend_from_slice(b"null");
    }
}

#[cfg(test)]
mod tests {
    use super::text;

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
}
