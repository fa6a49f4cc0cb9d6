//! Parts of messages and of results: words, pictures, sounds and files.

use std::borrow::Cow;

use crate::{
    codec::{
        block_text,
        field::Name,
        json::write::{Elements, Members},
        media,
    },
    dialect::{Family, Operation},
    ir::{Block, Document, Media, MediaSource, Text, Unknown},
    report::Report,
};

/// What writing them needs to know.
pub struct Content<'a> {
    pub from: Operation,
    pub report: &'a mut Report,
    /// Whether the model has answered what is being written: then it is history, and told as such.
    pub is_answered: bool,
}

impl Content<'_> {
    /// Writes one part.
    pub fn part(&mut self, block: &Block, out: &mut Elements<'_>) {
        match block {
            Block::Text(Text { text: words, cache, .. }) => {
                self.mark(cache.is_some(), Name::CacheMark);
                text(words, out);
            }
            Block::Refusal(words) => text(words, out),
            Block::Image(image) => self.image(image, out),
            Block::Audio(audio) => self.audio(audio, out),
            Block::Document(document) => self.document(document, out),
            Block::Unknown(unknown) if self.is_answered => text(&self.tell(unknown), out),
            other => self.refuse(other),
        }
    }

    fn image(&mut self, image: &Media, out: &mut Elements<'_>) {
        self.mark(image.cache.is_some(), Name::CacheMark);
        let (member, value) = match &image.source {
            MediaSource::Inline { mime, data } => ("image_url", Cow::Owned(media::to_data_url(mime, data))),
            MediaSource::Url { url, .. } => ("image_url", Cow::Borrowed(url.as_str())),
            MediaSource::FileId { family: Family::OpenAi, id } => ("file_id", Cow::Borrowed(id.as_str())),
            MediaSource::FileId { .. } => {
                let field = Name::Image.field_of(&image.source, self.from);
                return self.report.refused(field, "a file id of another vendor means nothing there");
            }
        };
        out.object(|out| {
            out.put("type", "input_image");
            out.put(member, &value);
            out.put("detail", image.detail.as_deref().unwrap_or("auto"));
        });
    }

    fn audio(&mut self, audio: &Media, out: &mut Elements<'_>) {
        match &audio.source {
            MediaSource::Inline { mime, data } if media::audio_format(mime).is_some() => out.object(|out| {
                out.put("type", "input_audio");
                out.object("input_audio", |out| {
                    out.put("data", data);
                    out.put_some("format", media::audio_format(mime));
                });
            }),
            source => {
                let field = Name::Audio.field_of(source, self.from);
                self.report.refused(field, "the upstream takes only inline wav and mp3");
            }
        }
    }

    fn document(&mut self, document: &Document, out: &mut Elements<'_>) {
        self.mark(document.cache.is_some(), Name::CacheMark);
        if document.citations == Some(true) {
            self.report.dropped(Name::DocumentCitations.field(self.from));
        }
        if document.context.is_some() {
            self.report.dropped(Name::DocumentContext.field(self.from));
        }
        let file = |out: &mut Elements<'_>, fill: &dyn Fn(&mut Members<'_>)| {
            out.object(|out| {
                out.put("type", "input_file");
                fill(out);
            });
        };
        match &document.source {
            MediaSource::Inline { mime, data } if let Some(words) = media::words(mime, data) => {
                // What is text anyway is said as text.
                match &document.title {
                    Some(title) => text(&format!("{title}:\n{words}"), out),
                    None => text(&words, out),
                }
            }
            MediaSource::Inline { mime, data } => file(out, &|out| {
                out.put("filename", document.title.as_deref().unwrap_or("document"));
                out.put("file_data", &media::to_data_url(mime, data));
            }),
            MediaSource::Url { url, .. } => file(out, &|out| out.put("file_url", url)),
            MediaSource::FileId { family: Family::OpenAi, id } => file(out, &|out| out.put("file_id", id)),
            MediaSource::FileId { .. } => {
                let field = Name::Document.field_of(&document.source, self.from);
                self.report.refused(field, "a file id of another vendor means nothing there");
            }
        }
    }

    /// Whether a block is an item of this dialect, from a client of it.
    pub fn is_own(&self, unknown: &Unknown) -> bool {
        unknown.family == Family::OpenAi && self.from == Operation::Responses
    }

    /// Another dialect's block in words, with a warning.
    pub fn tell(&mut self, unknown: &Unknown) -> String {
        self.report.adapted(Name::Block.field(self.from), unknown.kind.clone(), "text");
        block_text::as_text(unknown)
    }

    pub fn refuse(&mut self, block: &Block) {
        let (name, why) = match block {
            Block::Video(_) => (Name::Video, Cow::Borrowed("the upstream takes no video")),
            Block::Unknown(unknown) => {
                (Name::Block, format!("the upstream has no block of type {}", unknown.kind).into())
            }
            Block::Reasoning(_) => return self.report.dropped(Name::Reasoning.field(self.from)),
            _ => (Name::Block, Cow::Borrowed("the upstream takes no such block in this place")),
        };
        self.report.refused(name.field(self.from), why);
    }

    /// Breakpoints are hints here: caching is implicit.
    pub fn mark(&mut self, is_marked: bool, name: Name) {
        if is_marked {
            self.report.dropped(name.field(self.from));
        }
    }
}

/// Writes a part of words.
pub fn text(words: &str, out: &mut Elements<'_>) {
    out.object(|out| {
        out.put("type", "input_text");
        out.put("text", words);
    });
}

/// Whether a block is nothing but words.
pub const fn is_words(block: &Block) -> bool {
    matches!(block, Block::Text(_) | Block::Refusal(_))
}
