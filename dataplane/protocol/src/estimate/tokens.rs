//! Tokens of texts by a real vocabulary: OpenAI's `o200k_base`, which its models since GPT-4o use. Others have vocabularies
//! of their own, some of them secret, of about the same size: their counts differ by a tenth to a third.
//!
//! The vocabulary is unpacked when it is first needed, and takes some megabytes from then on. Counting takes about as long as
//! the text, whatever it holds.

use std::{borrow::Cow, sync::LazyLock};

static VOCABULARY: LazyLock<tiktoken::CoreBpe> = LazyLock::new(tiktoken::encoding::o200k_base);

/// Texts are counted in pieces of at most so many bytes: what a tokenizer holds follows the longest word, and a client writes
/// that. A cut adds a token at most.
const PIECE_BYTES: usize = 16 << 10;

/// Bytes before the end of a piece that are searched for a space to cut at.
const SEARCHED: usize = 1 << 10;

/// Tokens of a text.
pub(super) fn of(text: &str) -> u64 {
    pieces(text.as_bytes()).map(|piece| VOCABULARY.count(&String::from_utf8_lossy(piece)) as u64).sum()
}

/// Tokens of a text that is written as a JSON string, between its quotes.
pub(super) fn of_json_string(written: &[u8]) -> u64 {
    pieces(written).map(of_json_piece).sum()
}

/// Pieces of a text, cut in front of a space where there is one: never inside a character or an escape then.
fn pieces(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = text;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let window = rest.get(PIECE_BYTES - SEARCHED..PIECE_BYTES).unwrap_or_default();
        let end = match memchr::memrchr(b' ', window) {
            _ if rest.len() <= PIECE_BYTES => rest.len(),
            Some(space) => PIECE_BYTES - SEARCHED + space,
            None => PIECE_BYTES,
        };
        let (piece, behind) = rest.split_at(end);
        rest = behind;
        Some(piece)
    })
}

fn of_json_piece(written: &[u8]) -> u64 {
    let text = String::from_utf8_lossy(written);
    if !text.contains('\\') {
        return of(&text);
    }
    match serde_json::from_str::<Cow<'_, str>>(&format!("\"{text}\"")) {
        Ok(text) => of(&text),
        // An escape that JSON does not have.
        Err(_) => of(&text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_count_as_openai_counts_them() {
        for (text, tokens) in [("", 0), ("hello world", 2), ("tiktoken is great!", 6), ("お誕生日おめでとう", 8)]
        {
            assert_eq!(of(text), tokens, "{text}");
        }
    }

    #[test]
    fn long_texts_are_counted_in_pieces() {
        let words = "one two three four ".repeat(5_000);
        let (counted, whole) = (of_json_string(words.as_bytes()), VOCABULARY.count(&words) as u64);
        assert!(counted.abs_diff(whole) <= 8, "{counted} {whole}");
        let word = vec![b'a'; 1 << 20];
        assert!(pieces(&word).all(|piece| piece.len() <= PIECE_BYTES));
        assert_eq!(pieces(&word).map(<[u8]>::len).sum::<usize>(), 1 << 20, "one word without an end is cut too");
        assert!(of_json_string(&word) > 0);
        let escaped = r"a\nb ".repeat(10_000);
        assert!(of_json_string(escaped.as_bytes()).abs_diff(of(&"a\nb ".repeat(10_000))) <= 8);
    }

    #[test]
    fn escapes_count_as_what_they_stand_for() {
        assert_eq!(of_json_string(br"hello\u0020world"), of("hello world"));
        assert_eq!(of_json_string(br"a\nb"), of("a\nb"));
        assert_eq!(of_json_string(br"\ud800"), of(r"\ud800"), "no text: counted as written");
    }
}
