//! How many input tokens a request will roughly cost, from its bytes alone, for reservations before the answer says.
//!
//! The rule: one token per [`BYTES_PER_TOKEN`] bytes of JSON, keys and punctuation included, which overstates English
//! chat by about a fifth and understates scripts with several bytes a character by about as much. Inline media is
//! counted flat instead ([`MEDIA_TOKENS`] each), since a picture's price has little to do with its bytes; PDFs, which
//! are billed by page, grow with size. Expected error against the vendors' own counts: within a factor of two for text,
//! within a factor of three for media; media given by address or file id count as their text. Settlement uses the
//! upstream's numbers, so the error lasts only while the request is in flight.

/// Bytes of text that make one token.
pub const BYTES_PER_TOKEN: u64 = 4;

/// Tokens of one inline image, sound or film: what a vendor charges for a picture of about a megapixel.
pub const MEDIA_TOKENS: u64 = 1_600;

/// Tokens of each started [`PDF_PAGE_BYTES`] of an inline PDF.
pub const PDF_PAGE_TOKENS: u64 = 2_000;

/// Base64 characters that are taken for one page of a PDF.
pub const PDF_PAGE_BYTES: u64 = 64 * 1024;

/// Strings shorter than this are never taken for media.
const SHORTEST_MEDIA: usize = 1024;

/// How much of a long string is looked at.
const SAMPLE: usize = 192;

/// Estimates the input tokens of a JSON body.
pub fn input_tokens(body: &[u8]) -> u64 {
    let (mut text, mut media) = (0_u64, 0_u64);
    let mut rest = body;
    // Pieces between quotes are strings, or the structure between two strings; both are walked alike, since structure
    // never looks like base64. An escaped quote splits a string in two, which changes nothing: base64 has none.
    while !rest.is_empty() {
        let end = memchr::memchr(b'"', rest).unwrap_or(rest.len());
        let piece = rest.get(..end).unwrap_or_default();
        match media_tokens(piece) {
            Some(tokens) => media = media.saturating_add(tokens),
            None => text = text.saturating_add(piece.len() as u64 + 1),
        }
        rest = rest.get(end.saturating_add(1)..).unwrap_or_default();
    }
    media.saturating_add(text.div_ceil(BYTES_PER_TOKEN))
}

/// Estimates output tokens from the characters that were delivered, for answers that report no usage.
pub const fn output_tokens(chars: u64) -> u64 {
    chars.div_ceil(BYTES_PER_TOKEN)
}

/// The flat price of a piece that is base64, with or without a `data:` header; none for text.
fn media_tokens(piece: &[u8]) -> Option<u64> {
    if piece.len() < SHORTEST_MEDIA {
        return None;
    }
    let mut payload = piece;
    if piece.starts_with(b"data:") {
        let comma = memchr::memchr(b',', piece.get(..SAMPLE).unwrap_or(piece))?;
        payload = piece.get(comma + 1..)?;
    }
    let sample = payload.get(..SAMPLE).unwrap_or(payload);
    let base64 = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'-' | b'_' | b'=' | b'\\');
    if !sample.iter().all(base64) {
        return None;
    }
    if payload.starts_with(b"JVBER") {
        return Some((payload.len() as u64).div_ceil(PDF_PAGE_BYTES).saturating_mul(PDF_PAGE_TOKENS));
    }
    Some(MEDIA_TOKENS)
}

#[cfg(test)]
mod tests {
    use super::*;

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
}
