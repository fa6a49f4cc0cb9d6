//! How many input tokens a request will roughly cost, from its bytes alone, for reservations before the answer says.
//!
//! The rule: one token per [`BYTES_PER_TOKEN`] bytes of JSON, keys and punctuation included, which overstates English
//! chat by about a fifth and understates scripts with several bytes a character by about as much. Pictures are counted
//! flat instead ([`MEDIA_TOKENS`] each), inline or by address or file id, since their price has little to do with their
//! bytes; PDFs, which are billed by page, and sound and film, which are billed by time, grow with size. Expected error
//! against the vendors' own counts: within a factor of two for text, within a factor of three for media. Text that is
//! made to be expensive has up to one token per byte. Settlement uses the upstream's numbers, so the error lasts only
//! while the request is in flight. Where an answer gives no numbers, what is charged is estimated from the texts alone.
//!
//! The upstream's numbers are believed up to what is plausible: see [`plausible_input_tokens`] and
//! [`plausible_output_tokens`].

mod media;
mod prompt;
mod tokens;

pub use media::{BYTES_PER_TOKEN, MEDIA_BYTES_PER_TOKEN, MEDIA_TOKENS, PDF_PAGE_BYTES, PDF_PAGE_TOKENS};

use self::prompt::Piece;
use crate::{dialect::Operation, direct::Direct, request::Allowance};

/// What a vendor may add to a prompt: templates, instructions for tools and for reasoning.
const ADDED_INPUT: u64 = 16 << 10;

/// The most input tokens of a request that refers to something outside of itself (files, caches, earlier answers) or lets
/// the vendor's tools add to it: several times the largest context of any model.
pub(crate) const LARGEST_INPUT: u64 = 1 << 24;

/// The most tokens of one answer without a maximum: several times the largest of any model.
const LARGEST_OUTPUT: u64 = 1 << 20;

/// The most tokens of hidden reasoning beside an answer with a maximum, since some vendors do not count it there.
const LARGEST_REASONING: u64 = 1 << 17;

/// Bytes of JSON that are held to be counted together.
const HELD_JSON: usize = 64 << 10;

/// Bytes of the longest body that is searched for [`references`].
const SEARCHED: usize = 64 << 10;

/// How an escape of a letter begins: what it spells may be one of [`references`].
const ESCAPED_LETTER: &[u8] = br"\u00";

/// How strings begin that refer to something outside of the texts of a prompt, of those that begin with this letter.
const fn references(first: u8) -> &'static [&'static [u8]] {
    match first {
        b'a' => &[b"audio"],
        b'c' => &[b"cached", b"container", b"context_management", b"conversation"],
        b'd' => &[b"data:", b"document"],
        b'f' => &[b"file", b"functionResponse", b"function_response", b"functions"],
        b'i' => &[b"image", b"inline", b"input_"],
        b'm' => &[b"mcp_servers"],
        b'p' => &[b"previous_response_id", b"prompt"],
        b's' => &[b"store"],
        b't' => &[b"tool_result", b"tools"],
        b'u' => &[b"url"],
        b'v' => &[b"video"],
        b'w' => &[b"web_search_options"],
        _ => &[],
    }
}

/// Input tokens of a request, estimated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Estimate {
    /// By the bytes of the whole body: what is reserved before the answer says.
    pub reserved: u64,
    /// By the texts that a model reads, without the names and settings around them: what is charged if the answer says
    /// nothing. Never more than `reserved`.
    pub sent: u64,
}

/// Estimates the input tokens of a JSON body.
pub fn input(operation: Operation, body: &[u8]) -> Estimate {
    let read = prompt::read(operation, body);
    let media = read.media.saturating_add(elsewhere(&read));
    let mut reserved = media.saturating_add(read.bytes.div_ceil(BYTES_PER_TOKEN));
    if matches!(operation, Operation::Embeddings | Operation::Direct(Direct::Completions)) {
        // Input may be tokens already, of as little as two bytes each.
        reserved = reserved.max(memchr::memchr_iter(b',', body).count() as u64);
    }
    Estimate { reserved, sent: media.saturating_add(read.prompt_tokens).min(reserved) }
}

/// Counts the input tokens of a request as well as can be done here: its texts by a real vocabulary, media at their flat
/// price, and what a chat's format adds. For clients that ask how long a prompt is, where nobody else can say.
pub fn count(operation: Operation, body: &[u8]) -> u64 {
    let (mut texts, mut shown, mut json) = (0_u64, 0_u64, Vec::new());
    let read = prompt::read_pieces(operation, body, |piece| match piece {
        Piece::Text(written) => texts = texts.saturating_add(tokens::of_json_string(written)),
        Piece::Json(written) => json.extend_from_slice(written),
        Piece::JsonString(written) => {
            for part in [b"\"", written, b"\""] {
                json.extend_from_slice(part);
            }
            if json.len() > HELD_JSON {
                shown = shown.saturating_add(tokens::of(&String::from_utf8_lossy(&json)));
                json.clear();
            }
        }
    });
    shown = shown.saturating_add(tokens::of(&String::from_utf8_lossy(&json)));
    [texts, shown, read.media, elsewhere(&read), read.added].into_iter().fold(0, u64::saturating_add)
}

/// Tokens of media that are not in the body but referred to. OpenAI's parts say `image_url` twice, as their type and as a
/// member.
fn elsewhere(read: &prompt::Read) -> u64 {
    read.introduced.div_ceil(2).saturating_sub(read.inline).saturating_mul(MEDIA_TOKENS)
}

/// Estimates output tokens from the characters that were delivered, for answers that report no usage.
pub const fn output_tokens(chars: u64) -> u64 {
    chars.div_ceil(BYTES_PER_TOKEN)
}

/// More input tokens than this are no plausible count of a body: one a byte and what a vendor adds, unless the body refers
/// to something that is not in it.
pub fn plausible_input_tokens(body: &[u8]) -> u64 {
    let bytes = body.len() as u64;
    // A long body is not searched: what it could be wrong by is no more than its own size.
    let refers = body.len() > SEARCHED || refers_elsewhere(body);
    bytes.saturating_add(if refers { LARGEST_INPUT } else { ADDED_INPUT })
}

/// Whether something in a body begins as one of [`references`]. Every quote is looked at, whatever it is in the body.
fn refers_elsewhere(body: &[u8]) -> bool {
    memchr::memchr2_iter(b'"', b'\\', body).any(|place| {
        let found = body.get(place..).unwrap_or_default();
        match found {
            [b'"', text @ ..] => {
                text.first().is_some_and(|first| references(*first).iter().any(|one| text.starts_with(one)))
            }
            _ => found.starts_with(ESCAPED_LETTER),
        }
    })
}

/// More output tokens than this are no plausible count of answers of which `chars` characters were seen: four a character,
/// or what the request allows, with hidden reasoning; without a maximum, more than any model says.
pub fn plausible_output_tokens(allowance: Allowance, chars: u64) -> u64 {
    let asked = match allowance.max_output {
        Some(_) => allowance.tokens(0).saturating_add(LARGEST_REASONING.saturating_mul(allowance.candidates)),
        None => allowance.tokens(LARGEST_OUTPUT),
    };
    asked.max(chars.saturating_mul(4))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn input_tokens(body: &[u8]) -> u64 {
        input(Operation::ChatCompletions, body).reserved
    }

    #[test]
    fn text_counts_by_bytes() {
        let body = format!(r#"{{"messages":[{{"role":"user","content":"{}"}}]}}"#, "word ".repeat(400));
        let tokens = input_tokens(body.as_bytes());
        assert!((500..=520).contains(&tokens), "{tokens}");
        assert_eq!(input_tokens(b""), 0);
    }

    #[test]
    fn media_counts_flat_and_pdfs_by_size() {
        let image = format!(r#"{{"url":"data:image/png;base64,{}"}}"#, "iVBORw0K".repeat(100_000));
        assert!((MEDIA_TOKENS..MEDIA_TOKENS + 20).contains(&input_tokens(image.as_bytes())));
        let raw = format!(r#"{{"data":"{}"}}"#, "R0lGOD_-".repeat(1_000));
        assert!((MEDIA_TOKENS..MEDIA_TOKENS + 20).contains(&input_tokens(raw.as_bytes())));
        let pdf = format!(r#"{{"data":"JVBERi0x{}"}}"#, "A".repeat(200_000));
        assert!((4 * PDF_PAGE_TOKENS..4 * PDF_PAGE_TOKENS + 20).contains(&input_tokens(pdf.as_bytes())));
        let words = format!(r#"{{"text":"{}"}}"#, "lorem ipsum ".repeat(1_000));
        assert!(input_tokens(words.as_bytes()) > 3_000);
    }

    #[test]
    fn pictures_count_flat_by_address_too_and_sound_grows() {
        let by_address = br#"{"content":[{"type":"image_url","image_url":{"url":"https://a/b.png"}},{"type":"image_url","image_url":{"url":"https://a/c.png"}}]}"#;
        assert!((2 * MEDIA_TOKENS..2 * MEDIA_TOKENS + 60).contains(&input_tokens(by_address)));
        let by_id = br#"{"content":[{"type":"image","source":{"type":"file","file_id":"f"}}]}"#;
        assert!((MEDIA_TOKENS..MEDIA_TOKENS + 60).contains(&input_tokens(by_id)));
        let inline = format!(
            r#"{{"type":"image_url","image_url":{{"url":"data:image/png;base64,{}"}}}}"#,
            "iVBORw0K".repeat(1_000)
        );
        assert!((MEDIA_TOKENS..MEDIA_TOKENS + 60).contains(&input_tokens(inline.as_bytes())), "counted once");
        for start in ["UklGRiQIAQBXQVZF", "SUQzBAAA", "T2dnUwAC", "AAAAIGZ0eXBpc29t"] {
            let sound = format!(r#"{{"data":"{start}{}"}}"#, "A".repeat(1_280_000));
            assert!((10_000..10_020).contains(&input_tokens(sound.as_bytes())), "{start}");
        }
    }

    #[test]
    fn plausible_counts_are_bounded_by_what_was_sent_and_seen() {
        let text = br#"{"messages":[{"role":"user","content":"hi"}]}"#;
        assert_eq!(plausible_input_tokens(text), text.len() as u64 + ADDED_INPUT);
        for reference in [
            &br#"{"previous_response_id":"r"}"#[..],
            br#"{"tools":[]}"#,
            br#"{"cachedContent":"c"}"#,
            br#"{"\u0074ools":[]}"#,
        ] {
            assert_eq!(plausible_input_tokens(reference), reference.len() as u64 + LARGEST_INPUT);
        }
        for plain in [
            &br#"{"content":"some tools \n of \"art"}"#[..],
            br#"{"content":"\\","role":"user"}"#,
            br#"{"content":"""#,
            br"\",
        ] {
            assert_eq!(plausible_input_tokens(plain), plain.len() as u64 + ADDED_INPUT);
        }
        let long = [b'x'; SEARCHED + 1];
        assert_eq!(plausible_input_tokens(&long), long.len() as u64 + LARGEST_INPUT);
        let allowance = |max_output, candidates| Allowance { max_output, thinking: 0, candidates };
        assert_eq!(plausible_output_tokens(allowance(None, 1), 10), LARGEST_OUTPUT);
        assert_eq!(plausible_output_tokens(allowance(Some(10), 2), 0), 20 + 2 * LARGEST_REASONING);
        assert_eq!(plausible_output_tokens(allowance(Some(10), 1), 1 << 20), 4 << 20);
        assert_eq!(plausible_output_tokens(allowance(Some(u64::MAX), u64::MAX), u64::MAX), u64::MAX);
    }
}
