//! Parts of messages and of results.

use std::borrow::Cow;

use serde_json::value::RawValue;

use crate::{
    codec::{
        Malformed,
        json::read::{Object, Spelling, elements, malformed, read},
        media,
    },
    dialect::Family,
    ir::{Block, CacheMark, Document, Media, MediaSource, Request, Text, Unknown},
};

/// A string, or a list of parts. `place` is what warnings call a part.
pub fn decode(raw: &RawValue, place: &str, request: &mut Request) -> Result<Vec<Block>, Malformed> {
    if raw.get().starts_with('"') {
        return Ok(vec![Block::Text(Text { text: read(raw)?, ..Text::default() })]);
    }
    if !raw.get().starts_with('[') {
        return Err(malformed("must be a string or a list of parts"));
    }
    let parts = elements(raw)?.into_iter().enumerate();
    parts.map(|(index, raw)| part(raw, place, request).map_err(|error| error.within(&format!("[{index}]")))).collect()
}

fn part(raw: &RawValue, place: &str, request: &mut Request) -> Result<Block, Malformed> {
    if raw.get().starts_with('"') {
        return Ok(Block::Text(Text { text: read(raw)?, ..Text::default() }));
    }
    let mut part = Object::from_raw(raw, Spelling::Exact)?;
    let kind: String = match part.take("type")? {
        Some(kind) => kind,
        None if part.has("text") => "input_text".to_owned(),
        None => return Err(malformed("is required").within("type")),
    };
    let cache = part.take_raw("prompt_cache_breakpoint").map(cache_mark).transpose()?;
    let block = match kind.as_str() {
        "input_text" | "output_text" | "text" | "summary_text" | "reasoning_text" => {
            // Clients send answers back as they read them; empty lists say nothing.
            ["annotations", "logprobs"].iter().for_each(|name| {
                if part.peek(name).is_some_and(|raw| raw.get() == "[]") {
                    part.take_raw(name);
                }
            });
            Block::Text(Text { text: part.need("text")?, cache, ..Text::default() })
        }
        "refusal" => Block::Refusal(part.need("refusal")?),
        "input_image" | "image_url" => {
            let source = picture(&mut part)?;
            let detail = part.take::<String>("detail")?.filter(|detail| detail != "auto");
            Block::Image(Media { source, detail, state: None, cache })
        }
        "input_file" => Block::Document(Document { cache, ..document(&mut part)? }),
        "input_audio" => {
            let mut audio =
                part.object("input_audio")?.ok_or_else(|| malformed("is required").within("input_audio"))?;
            let both = audio.need("data").and_then(|data| Ok((data, audio.need("format")?)));
            let (data, format): (Cow<'_, str>, Cow<'_, str>) = both.map_err(|error| error.within("input_audio"))?;
            let source = media::inline(&media::audio_mime(&format), &data);
            Block::Audio(Media { source, detail: None, state: None, cache })
        }
        _ => return Ok(Block::Unknown(Unknown { family: Family::OpenAi, kind, raw: raw.to_owned() })),
    };
    for (name, raw) in part.rest() {
        request.extras.note(Family::OpenAi, format!("{place}.{name}"), raw, false);
    }
    Ok(block)
}

/// `image_url`, which is an address or a data URL (or Chat's object around one), or `file_id`.
fn picture(part: &mut Object<'_>) -> Result<MediaSource, Malformed> {
    match part.take_raw("image_url") {
        Some(raw) if raw.get().starts_with('{') => {
            let mut image = Object::from_raw(raw, Spelling::Exact)?;
            image
                .need::<Cow<'_, str>>("url")
                .map(|url| media::from_url(&url))
                .map_err(|error| error.within("image_url"))
        }
        Some(raw) => {
            read::<Cow<'_, str>>(raw).map(|url| media::from_url(&url)).map_err(|error| error.within("image_url"))
        }
        None => match part.take("file_id")? {
            Some(id) => Ok(MediaSource::FileId { family: Family::OpenAi, id }),
            None => Err(malformed("is required").within("image_url")),
        },
    }
}

/// `file_data`, `file_url` or `file_id`.
fn document(part: &mut Object<'_>) -> Result<Document, Malformed> {
    let title = part.take::<String>("filename")?.filter(|title| !title.is_empty());
    let source = if let Some(id) = part.take("file_id")? {
        MediaSource::FileId { family: Family::OpenAi, id }
    } else if let Some(url) = part.take::<String>("file_url")? {
        let mime = title.as_deref().and_then(media::mime_of_name).or_else(|| media::mime_of_name(&url));
        MediaSource::Url { mime: mime.map(str::to_owned), url }
    } else {
        let data: Cow<'_, str> = part.need("file_data")?;
        let mime = title.as_deref().and_then(media::mime_of_name).unwrap_or("application/pdf");
        media::parse_data_url(&data).unwrap_or_else(|| media::inline(mime, &data))
    };
    Ok(Document { source, title, context: None, citations: None, cache: None })
}

fn cache_mark(raw: &RawValue) -> Result<CacheMark, Malformed> {
    let place = |error: Malformed| error.within("prompt_cache_breakpoint");
    let ttl = Object::from_raw(raw, Spelling::Exact).and_then(|mut mark| mark.take("ttl")).map_err(place)?;
    Ok(CacheMark { ttl })
}
