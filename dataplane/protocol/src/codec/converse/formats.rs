//! Bedrock's words for the formats of media, and their media types.

use std::borrow::Cow;

use base64::{Engine, engine::general_purpose::STANDARD};

use crate::codec::media;

/// Pictures.
const IMAGES: [(&str, &str); 4] =
    [("png", "image/png"), ("jpeg", "image/jpeg"), ("gif", "image/gif"), ("webp", "image/webp")];
/// Films.
const VIDEOS: [(&str, &str); 9] = [
    ("mp4", "video/mp4"),
    ("mov", "video/quicktime"),
    ("mkv", "video/x-matroska"),
    ("webm", "video/webm"),
    ("flv", "video/x-flv"),
    ("mpeg", "video/mpeg"),
    ("mpg", "video/mpg"),
    ("wmv", "video/x-ms-wmv"),
    ("three_gp", "video/3gpp"),
];
/// Sounds.
const AUDIOS: [(&str, &str); 8] = [
    ("mp3", "audio/mpeg"),
    ("wav", "audio/wav"),
    ("flac", "audio/flac"),
    ("ogg", "audio/ogg"),
    ("opus", "audio/opus"),
    ("aac", "audio/aac"),
    ("m4a", "audio/mp4"),
    ("webm", "audio/webm"),
];
/// Documents.
const DOCUMENTS: [(&str, &str); 9] = [
    ("pdf", "application/pdf"),
    ("csv", "text/csv"),
    ("doc", "application/msword"),
    ("docx", "application/vnd.openxmlformats-officedocument.wordprocessingml.document"),
    ("xls", "application/vnd.ms-excel"),
    ("xlsx", "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"),
    ("html", "text/html"),
    ("txt", "text/plain"),
    ("md", "text/markdown"),
];

/// What a block holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A picture.
    Image,
    /// A film.
    Video,
    /// A sound.
    Audio,
    /// A document.
    Document,
}

impl Kind {
    const fn table(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::Image => &IMAGES,
            Self::Video => &VIDEOS,
            Self::Audio => &AUDIOS,
            Self::Document => &DOCUMENTS,
        }
    }

    /// The media type of a format; of one that is not known, the kind's general one.
    pub fn mime(self, format: &str) -> String {
        let known = self.table().iter().find(|(name, _)| *name == format).map(|(_, mime)| (*mime).to_owned());
        known.unwrap_or_else(|| match self {
            Self::Image => format!("image/{format}"),
            Self::Video => format!("video/{format}"),
            Self::Audio => media::audio_mime(format),
            Self::Document => "application/octet-stream".to_owned(),
        })
    }

    /// The format of a media type; none if Bedrock has none for it. Text of any type is text.
    pub fn format(self, mime: &str) -> Option<&'static str> {
        let plain = mime.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        let plain = match plain.as_str() {
            "image/jpg" => "image/jpeg",
            "audio/x-wav" | "audio/wave" => "audio/wav",
            "audio/mp3" => "audio/mpeg",
            other => other,
        };
        let known = self.table().iter().find(|(_, known)| *known == plain).map(|(name, _)| *name);
        let is_text = self == Self::Document && (plain.starts_with("text/") || plain == "application/json");
        known.or(is_text.then_some("txt"))
    }
}

/// Opaque data as Bedrock's JSON has bytes: in base64, in which Anthropic writes them already, and never twice (hard case
/// 157).
pub fn blob(data: &str) -> Cow<'_, str> {
    if STANDARD.decode(data).is_ok() { Cow::Borrowed(data) } else { Cow::Owned(STANDARD.encode(data)) }
}

#[cfg(test)]
mod tests {
    use super::{Kind, blob};

    #[test]
    fn bytes_are_encoded_once() {
        assert_eq!(blob("RW13S0Fn"), "RW13S0Fn");
        assert_eq!(blob("no base64!"), "bm8gYmFzZTY0IQ==");
    }

    #[test]
    fn formats_come_back_as_they_went() {
        for kind in [Kind::Image, Kind::Video, Kind::Audio, Kind::Document] {
            for (format, mime) in kind.table() {
                assert_eq!(kind.format(mime), Some(*format));
                assert_eq!(kind.mime(format), *mime);
            }
        }
        assert_eq!(Kind::Image.format("image/jpg"), Some("jpeg"));
        assert_eq!(Kind::Image.format("image/tiff"), None);
        assert_eq!(Kind::Document.format("text/x-python; charset=utf-8"), Some("txt"));
        assert_eq!(Kind::Document.format("application/zip"), None);
    }
}
