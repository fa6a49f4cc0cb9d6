//! Pictures, documents, sound and film: what stands for text, and what each is taken to cost.

/// Bytes of text that make one token.
pub const BYTES_PER_TOKEN: u64 = 4;

/// Tokens of one image, and the least of a sound or film: what a vendor charges for a picture of about a megapixel.
pub const MEDIA_TOKENS: u64 = 1_600;

/// Tokens of each started [`PDF_PAGE_BYTES`] of an inline PDF.
pub const PDF_PAGE_TOKENS: u64 = 2_000;

/// Base64 characters that are taken for one page of a PDF.
pub const PDF_PAGE_BYTES: u64 = 64 * 1024;

/// Base64 characters of sound or film that make one token: 32 tokens a second (Gemini) at 24 kbit/s.
pub const MEDIA_BYTES_PER_TOKEN: u64 = 128;

/// Strings that introduce one picture or document, by address or file id as well as inline; so do two `image_url`.
pub(super) const INTRODUCTIONS: [&[u8]; 7] =
    [b"input_image", b"image", b"document", b"input_file", b"fileUri", b"file_uri", b"video_url"];

/// Strings shorter than this are never taken for media.
const SHORTEST_MEDIA: usize = 1024;

/// How much of a long string is looked at.
const SAMPLE: usize = 192;

/// The price of a piece that is base64, with or without a `data:` header; none for text.
pub(super) fn media_tokens(piece: &[u8]) -> Option<u64> {
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
    // PNG, JPEG, GIF, WebP (RIFF), HEIC and AVIF (ISO media, `ftyp` with a picture's brand).
    let pictures: [&[u8]; 6] = [b"iVBORw0K", b"/9j/", b"R0lGOD", b"UklGR", b"AAAAGGZ0eXBoZWlj", b"AAAAHGZ0eXBhdmlm"];
    let is_sound = payload.starts_with(b"UklGR") && payload.get(8..16).is_some_and(|text| text.ends_with(b"XQVZF"));
    if !is_sound && pictures.iter().any(|start| payload.starts_with(start)) {
        return Some(MEDIA_TOKENS);
    }
    Some((payload.len() as u64).div_ceil(MEDIA_BYTES_PER_TOKEN).max(MEDIA_TOKENS))
}
