//! Bytes in, lines out. A line longer than the limit is an error, so that a broken peer cannot fill the memory.

use memchr::memchr;

/// A line was longer than allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a line is longer than {0} bytes")]
pub struct TooLong(pub usize);

/// The unfinished line between two reads.
#[derive(Debug)]
pub struct Lines {
    partial: Vec<u8>,
    longest: usize,
}

impl Lines {
    /// Allows lines of this many bytes.
    pub fn new(longest: usize) -> Self {
        Self { partial: Vec::new(), longest }
    }

    /// Takes in bytes; returns the lines that they complete, without their ends and without empty ones.
    ///
    /// # Errors
    /// When a line is too long. The rest of the stream is of no use then.
    pub fn push(&mut self, mut bytes: &[u8]) -> Result<Vec<Vec<u8>>, TooLong> {
        let mut lines = Vec::new();
        while let Some(end) = memchr(b'\n', bytes) {
            let (head, rest) = bytes.split_at(end);
            self.extend(head)?;
            let line = std::mem::take(&mut self.partial);
            if !line.trim_ascii().is_empty() {
                lines.push(line);
            }
            bytes = rest.get(1..).unwrap_or_default();
        }
        self.extend(bytes)?;
        Ok(lines)
    }

    fn extend(&mut self, bytes: &[u8]) -> Result<(), TooLong> {
        if self.partial.len() + bytes.len() > self.longest {
            return Err(TooLong(self.longest));
        }
        self.partial.extend_from_slice(bytes);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_reassembled_from_any_split() {
        let text = b"{\"a\":1}\n\n{\"b\":2}\r\nrest";
        for size in 1..text.len() {
            let mut lines = Lines::new(100);
            let found: Vec<_> = text.chunks(size).flat_map(|part| lines.push(part).unwrap()).collect();
            assert_eq!(found, [&b"{\"a\":1}"[..], b"{\"b\":2}\r"], "cut every {size} bytes");
        }
    }

    #[test]
    fn endless_line_is_refused_at_the_limit() {
        let mut lines = Lines::new(4);
        assert_eq!(lines.push(b"1234").unwrap(), Vec::<Vec<u8>>::new());
        assert_eq!(lines.push(b"5"), Err(TooLong(4)));
    }
}
