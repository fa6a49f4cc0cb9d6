//! Pictures, sounds and documents between data URLs, base64 alphabets and media types.

use std::borrow::Cow;

use base64::{Engine, engine::general_purpose::STANDARD};

use crate::ir::{Block, Document, Media, MediaSource};

/// An address as a source: a base64 data URL is inline, anything else is an address.
pub fn from_url(url: &str) -> MediaSource {
    parse_data_url(url).unwrap_or_else(|| MediaSource::Url { url: url.to_owned(), mime: None })
}

/// A base64 data URL as inline media; none if it is something else.
pub fn parse_data_url(url: &str) -> Option<MediaSource> {
    let rest = url.strip_prefix("data:")?;
    let (head, data) = rest.split_once(',')?;
    let head = head.strip_suffix(";base64")?;
    Some(inline(head, data))
}

/// Inline media with its media type and its base64 in canonical form. Some clients write a data URL where base64 alone is
/// due.
pub fn inline(mime: &str, data: &str) -> MediaSource {
    let data = match data.strip_prefix("data:").and_then(|rest| rest.split_once(";base64,")) {
        Some((_, data)) => data,
        None => data,
    };
    MediaSource::Inline { mime: plain_mime(mime), data: standard_base64(data).into_owned() }
}

/// Whether text is a web address, which can never be base64.
pub fn is_address(text: &str) -> bool {
    let scheme = text.split_once("://").map(|(scheme, _)| scheme);
    scheme.is_some_and(|scheme| scheme.eq_ignore_ascii_case("https") || scheme.eq_ignore_ascii_case("http"))
}

/// The words of an inline document whose media type is text, as text: all of `text/*`, JSON, XML, YAML and scripts.
/// None for other media types, and for what is not base64 of UTF-8.
pub fn words(mime: &str, data: &str) -> Option<String> {
    let is_text = mime.starts_with("text/")
        || mime.ends_with("+json")
        || mime.ends_with("+xml")
        || matches!(
            mime,
            "application/json"
                | "application/jsonl"
                | "application/x-ndjson"
                | "application/xml"
                | "application/yaml"
                | "application/x-yaml"
                | "application/toml"
                | "application/javascript"
                | "application/x-javascript"
                | "application/sql"
                | "application/x-sh"
        );
    if !is_text {
        return None;
    }
    String::from_utf8(STANDARD.decode(data).ok()?).ok()
}

/// The words of a document of text, its title before them; none for anything else.
pub fn text_document(block: &Block) -> Option<Cow<'_, str>> {
    let Block::Document(Document { source: MediaSource::Inline { mime, data }, title, .. }) = block else {
        return None;
    };
    let words = words(mime, data)?;
    Some(title.as_ref().map_or_else(|| words.clone(), |title| format!("{title}:\n{words}")).into())
}

/// Media as a data URL.
pub fn to_data_url(mime: &str, data: &str) -> String {
    format!("data:{mime};base64,{data}")
}

/// Without parameters, lower case, and with the one common misspelling mended.
fn plain_mime(mime: &str) -> String {
    let plain = mime.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    if plain == "image/jpg" { "image/jpeg".to_owned() } else { plain }
}

/// Base64 in the standard alphabet with padding, from either alphabet, padded or not, wrapped or not.
pub fn standard_base64(data: &str) -> Cow<'_, str> {
    let is_standard =
        data.len().is_multiple_of(4) && !data.bytes().any(|b| matches!(b, b'-' | b'_') || b.is_ascii_whitespace());
    if is_standard {
        return Cow::Borrowed(data);
    }
    let mut out: String = data
        .chars()
        .filter(|c| !c.is_ascii_whitespace() && *c != '=')
        .map(|c| match c {
            '-' => '+',
            '_' => '/',
            other => other,
        })
        .collect();
    while !out.len().is_multiple_of(4) {
        out.push('=');
    }
    Cow::Owned(out)
}

/// What kind of media a block is; none for anything else.
pub const fn name(block: &Block) -> Option<&'static str> {
    match block {
        Block::Image(_) => Some("image"),
        Block::Audio(_) => Some("audio"),
        Block::Video(_) => Some("video"),
        Block::Document(_) => Some("document"),
        _ => None,
    }
}

/// A picture's address, or its bytes as a data URL; none for anything else.
pub fn image_url(block: &Block) -> Option<Cow<'_, str>> {
    match block {
        Block::Image(Media { source: MediaSource::Url { url, .. }, .. }) => Some(url.into()),
        Block::Image(Media { source: MediaSource::Inline { mime, data }, .. }) => Some(to_data_url(mime, data).into()),
        _ => None,
    }
}

/// What stands in an answer for media that its dialect cannot hold: the address, or a note that something is missing.
pub fn stand_in(block: &Block) -> Option<String> {
    let name = name(block)?;
    let source = match block {
        Block::Image(media) | Block::Audio(media) | Block::Video(media) => &media.source,
        Block::Document(document) => &document.source,
        _ => return None,
    };
    Some(match source {
        MediaSource::Url { url, .. } => format!("[{name}: {url}]"),
        MediaSource::Inline { mime, .. } => format!("[{name} left out: an answer of this API cannot hold {mime}]"),
        MediaSource::FileId { id, .. } => format!("[{name} left out: it is file {id} of the model's vendor]"),
    })
}

/// OpenAI's word for a sound's format; it knows two.
pub fn audio_format(mime: &str) -> Option<&'static str> {
    match mime {
        "audio/wav" | "audio/x-wav" | "audio/wave" => Some("wav"),
        "audio/mpeg" | "audio/mp3" => Some("mp3"),
        _ => None,
    }
}

/// The media type of OpenAI's word for a sound's format.
pub fn audio_mime(format: &str) -> String {
    match format {
        "mp3" => "audio/mpeg".to_owned(),
        other => format!("audio/{other}"),
    }
}

/// The media type that a file's name or address suggests.
pub fn mime_of_name(name: &str) -> Option<&'static str> {
    let path = name.split(['?', '#']).next().unwrap_or_default();
    let (_, extension) = path.rsplit_once('.')?;
    Some(match extension.to_ascii_lowercase().as_str() {
        "png" => "image/png",
        "jpg" | "jpeg" => "image/jpeg",
        "gif" => "image/gif",
        "webp" => "image/webp",
        "heic" => "image/heic",
        "pdf" => "application/pdf",
        "txt" => "text/plain",
        "md" => "text/markdown",
        "csv" => "text/csv",
        "html" => "text/html",
        "mp4" => "video/mp4",
        "webm" => "video/webm",
        "mp3" => "audio/mpeg",
        "wav" => "audio/wav",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::{from_url, inline, mime_of_name, standard_base64};
    use crate::ir::MediaSource;

    #[test]
    fn data_urls_and_addresses() {
        let inline = MediaSource::Inline { mime: "image/jpeg".into(), data: "AAE=".into() };
        assert_eq!(from_url("data:image/jpg;charset=x;base64,AAE="), inline);
        let url = MediaSource::Url { url: "https://x/y.png".into(), mime: None };
        assert_eq!(from_url("https://x/y.png"), url);
        assert_eq!(mime_of_name("https://x/y.PNG?size=1"), Some("image/png"));
    }

    #[test]
    fn a_data_url_in_the_place_of_base64_is_read() {
        let MediaSource::Inline { data, .. } = inline("image/png", "data:image/png;base64,AAE") else { panic!() };
        assert_eq!(data, "AAE=");
    }

    #[test]
    fn either_alphabet_becomes_the_standard_one() {
        assert_eq!(standard_base64("-_8"), "+/8=");
        assert_eq!(standard_base64("+/8="), "+/8=");
        assert_eq!(standard_base64("QU\nJD"), "QUJD");
    }
}
