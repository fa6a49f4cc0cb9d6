//! Small members of a JSON object that comes in pieces and may be of any size, in one pass and without holding it: a
//! picture of ten megabytes stands in front of the usage that is looked for.

/// Most bytes of a member's value that are kept; a longer one is known by its length alone.
const MOST: usize = 4 << 10;

/// Most bytes of a member's name that are looked at.
const LONGEST_NAME: usize = 32;

/// Looks for `N` members of the outermost object. Of members that repeat the last one counts. What is not JSON gives
/// whatever it gives.
#[derive(Clone, Debug)]
pub(crate) struct Members<const N: usize> {
    names: [&'static str; N],
    found: [Option<Found>; N],
    /// Objects and lists that are open.
    depth: u32,
    text: Text,
    /// The next string in the outermost object is a name.
    name_is_next: bool,
    name: Vec<u8>,
    /// The member whose value is passing by.
    current: Option<usize>,
    /// The first byte that is no white space.
    first: Option<u8>,
    closed: bool,
}

/// A member's value.
#[derive(Clone, Debug, Default)]
struct Found {
    bytes: Vec<u8>,
    length: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Text {
    Outside,
    Inside { escaped: bool, is_name: bool },
}

impl<const N: usize> Members<N> {
    pub(crate) fn new(names: [&'static str; N]) -> Self {
        Self {
            names,
            found: [const { None }; N],
            depth: 0,
            text: Text::Outside,
            name_is_next: false,
            name: Vec::new(),
            current: None,
            first: None,
            closed: false,
        }
    }

    /// The first byte that is no white space.
    pub(crate) fn first(&self) -> Option<u8> {
        self.first
    }

    /// Whether the outermost object has ended.
    pub(crate) fn is_closed(&self) -> bool {
        self.closed
    }

    /// A member's value, if it has come and is small.
    pub(crate) fn get(&self, name: &str) -> Option<serde_json::Value> {
        let found = self.entry(name)?;
        let is_whole = found.length == found.bytes.len() as u64;
        is_whole.then(|| serde_json::from_slice(&found.bytes).ok()).flatten()
    }

    /// How many bytes a member's value has.
    pub(crate) fn length(&self, name: &str) -> u64 {
        self.entry(name).map_or(0, |found| found.length)
    }

    fn entry(&self, name: &str) -> Option<&Found> {
        let at = self.names.iter().position(|known| *known == name)?;
        self.found.get(at)?.as_ref()
    }

    pub(crate) fn push(&mut self, mut bytes: &[u8]) {
        while let Some(&byte) = bytes.first() {
            if self.closed {
                return;
            }
            let taken = match self.text {
                Text::Inside { escaped, is_name } => self.inside(bytes, escaped, is_name),
                Text::Outside => {
                    self.outside(byte);
                    1
                }
            };
            bytes = bytes.get(taken..).unwrap_or_default();
        }
    }

    /// Takes a run of a string.
    fn inside(&mut self, bytes: &[u8], escaped: bool, is_name: bool) -> usize {
        if escaped {
            self.keep(bytes.get(..1).unwrap_or_default(), is_name);
            self.text = Text::Inside { escaped: false, is_name };
            return 1;
        }
        let plain = memchr::memchr2(b'"', b'\\', bytes).unwrap_or(bytes.len());
        let (run, rest) = bytes.split_at_checked(plain).unwrap_or((bytes, &[]));
        self.keep(run, is_name);
        match rest.first() {
            Some(b'"') => {
                if !is_name {
                    self.keep(b"\"", false);
                }
                self.text = Text::Outside;
                plain + 1
            }
            Some(_) => {
                self.keep(b"\\", is_name);
                self.text = Text::Inside { escaped: true, is_name };
                plain + 1
            }
            None => plain,
        }
    }

    fn outside(&mut self, byte: u8) {
        if self.first.is_none() && !byte.is_ascii_whitespace() {
            self.first = Some(byte);
        }
        match byte {
            b'"' => {
                let is_name = self.depth == 1 && std::mem::take(&mut self.name_is_next);
                if is_name {
                    self.name.clear();
                } else {
                    self.keep(b"\"", false);
                }
                self.text = Text::Inside { escaped: false, is_name };
                return;
            }
            b'{' | b'[' => {
                self.depth = self.depth.saturating_add(1);
                if self.depth == 1 {
                    self.name_is_next = byte == b'{';
                    return;
                }
            }
            b'}' | b']' => {
                self.depth = self.depth.saturating_sub(1);
                if self.depth == 0 {
                    self.current = None;
                    self.closed = true;
                    return;
                }
            }
            b':' if self.depth == 1 => {
                self.current = self.names.iter().position(|name| name.as_bytes() == self.name);
                if let Some(found) = self.current.and_then(|at| self.found.get_mut(at)) {
                    *found = Some(Found::default());
                }
                return;
            }
            b',' if self.depth == 1 => {
                self.current = None;
                self.name_is_next = true;
                return;
            }
            _ => {}
        }
        self.keep(&[byte], false);
    }

    fn keep(&mut self, bytes: &[u8], is_name: bool) {
        if is_name {
            let room = LONGEST_NAME.saturating_sub(self.name.len());
            self.name.extend_from_slice(bytes.get(..room).unwrap_or(bytes));
            return;
        }
        let Some(found) = self.current.and_then(|at| self.found.get_mut(at)).and_then(Option::as_mut) else { return };
        let room = MOST.saturating_sub(found.bytes.len());
        found.bytes.extend_from_slice(bytes.get(..room).unwrap_or(bytes));
        found.length = found.length.saturating_add(bytes.len() as u64);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(text: &str, cut: usize) -> Members<3> {
        let mut members = Members::new(["usage", "error", "text"]);
        text.as_bytes().chunks(cut).for_each(|piece| members.push(piece));
        members
    }

    #[test]
    fn only_outer_members_count_wherever_the_cuts_are() {
        let text = r#" {"data":[{"usage":1,"b64":"a\"usage\":2\\"}],"us\u0061ge":5,"text" : "a\"}b",
            "usage":{"input_tokens":3,"x":[{}]} , "last":{"error":1} } trailing"#;
        for cut in 1..text.len() {
            let members = read(text, cut);
            assert_eq!(members.get("usage"), Some(json!({"input_tokens": 3, "x": [{}]})), "{cut}");
            assert_eq!(members.get("text"), Some(json!("a\"}b")), "{cut}");
            assert_eq!((members.get("error"), members.first()), (None, Some(b'{')), "{cut}");
            assert!(members.is_closed());
        }
    }

    #[test]
    fn a_long_value_is_known_by_its_length_and_not_held() {
        let long = "x".repeat(100_000);
        let members = read(&json!({"text": long, "usage": {"a": 1}}).to_string(), 777);
        assert_eq!((members.get("text"), members.length("text")), (None, 100_002));
        assert_eq!(members.get("usage"), Some(json!({"a": 1})));
        assert!(members.found.iter().flatten().all(|found| found.bytes.len() <= MOST));
    }

    #[test]
    fn what_is_no_object_gives_nothing() {
        for text in
            ["", "<html>\"usage\":1</html>", "[{\"usage\":1}]", "\"usage\"", "{\"usage\"", "}}}]{", "{{{\"usage\":1"]
        {
            for cut in 1..=text.len().max(1) {
                assert_eq!(read(text, cut).get("usage"), None, "{text}");
            }
        }
    }
}
