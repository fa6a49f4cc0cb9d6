//! How much of a text has gone out, without keeping it.

/// What has gone out of one text: how many bytes, and their hash (FNV-1a, which is the same for any pieces).
#[derive(Clone, Copy, Debug)]
pub struct Sent {
    bytes: usize,
    hash: u64,
}

impl Default for Sent {
    fn default() -> Self {
        Self { bytes: 0, hash: 0xcbf2_9ce4_8422_2325 }
    }
}

impl Sent {
    /// Notes that this has gone out as well.
    pub fn add(&mut self, text: &str) {
        self.bytes = self.bytes.saturating_add(text.len());
        self.hash = text.bytes().fold(self.hash, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    }

    /// Whether nothing has gone out.
    pub const fn is_empty(&self) -> bool {
        self.bytes == 0
    }

    /// How many bytes have gone out.
    pub const fn bytes(&self) -> usize {
        self.bytes
    }

    /// What is left of a whole text; nothing if it is another one than has gone out.
    pub fn rest<'a>(&self, whole: &'a str) -> &'a str {
        let Some((before, rest)) = whole.split_at_checked(self.bytes) else { return "" };
        let mut same = Self::default();
        same.add(before);
        if same.hash == self.hash { rest } else { "" }
    }
}

#[cfg(test)]
mod tests {
    use super::Sent;

    #[test]
    fn only_what_is_missing_is_left() {
        let mut sent = Sent::default();
        assert_eq!((sent.is_empty(), sent.rest("aéb")), (true, "aéb"));
        sent.add("a");
        sent.add("é");
        for (whole, rest) in [("aéb", "b"), ("aé", ""), ("a", ""), ("xéb", ""), ("aax", "")] {
            assert_eq!(sent.rest(whole), rest, "{whole}");
        }
        assert_eq!((sent.is_empty(), sent.bytes()), (false, 3));
    }
}
