//! Tokens of texts by a real vocabulary: OpenAI's `o200k_base`, which its models since GPT-4o use. Others have vocabularies
//! of their own, some of them secret, of about the same size: their counts differ by a tenth to a third.
//!
//! The vocabulary is unpacked when it is first needed, and takes some megabytes from then on. Counting takes about as long as
//! the text, whatever it holds.

use std::{borrow::Cow, sync::LazyLock};

static VOCABULARY: LazyLock<tiktoken::CoreBpe> = LazyLock::new(tiktoken::encoding::o200k_base);

/// Tokens of a text.
pub(super) fn of(text: &str) -> u64 {
    VOCABULARY.count(text) as u64
}

/// Tokens of a text that is written as a JSON string, between its quotes.
pub(super) fn of_json_string(written: &[u8]) -> u64 {
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
    fn escapes_count_as_what_they_stand_for() {
        assert_eq!(of_json_string(br"hello\u0020world"), of("hello world"));
        assert_eq!(of_json_string(br"a\nb"), of("a\nb"));
        assert_eq!(of_json_string(br"\ud800"), of(r"\ud800"), "no text: counted as written");
    }
}
