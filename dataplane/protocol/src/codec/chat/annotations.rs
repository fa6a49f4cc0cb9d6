//! What an answer holds beside its words: sources (`annotations`) and pictures (`images`).
//!
//! `images` is not OpenAI's: servers that give pictures on this endpoint write them so, in the shape of `image_url` parts,
//! and the official clients keep members that they do not know. Elements that cannot be read are left out; whoever reads
//! them is told that there were some.

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::{
    codec::{
        json::write::{Elements, Members},
        media,
    },
    ir::{Block, Citation, Media},
};

#[derive(Deserialize)]
struct WireAnnotation {
    url_citation: Option<WireCitation>,
}

#[derive(Deserialize)]
struct WireCitation {
    url: String,
    title: Option<String>,
    start_index: Option<u64>,
    end_index: Option<u64>,
}

#[derive(Deserialize)]
struct WireImage {
    image_url: Option<WireUrl>,
}

#[derive(Deserialize)]
struct WireUrl {
    url: String,
}

/// Reads `annotations`; also says whether some of them are no sources on the web.
pub fn citations(raw: &RawValue) -> (Vec<Citation>, bool) {
    let list: Vec<&RawValue> = serde_json::from_str(raw.get()).unwrap_or_default();
    let known = list.iter().filter_map(|raw| serde_json::from_str::<WireAnnotation>(raw.get()).ok()?.url_citation);
    let known: Vec<Citation> = known
        .map(|one| {
            let start = one.start_index.unwrap_or(0);
            let span = start..one.end_index.unwrap_or(start).max(start);
            Citation { span, url: Some(one.url), title: one.title, native: None }
        })
        .collect();
    let others = known.len() < list.len();
    (known, others)
}

/// Writes `annotations`, unless no source is on the web. In a stream every element says its `index`, without which clients
/// that merge deltas fail; `first` is that of the first one.
pub fn put_citations<'a>(citations: impl Iterator<Item = &'a Citation>, first: Option<usize>, out: &mut Members<'_>) {
    let mut citations = citations.filter(|one| one.url.is_some()).peekable();
    if citations.peek().is_some() {
        let indices = first.map(|first| first..);
        out.list("annotations", |out| match indices {
            Some(indices) => indices.zip(citations).for_each(|(index, one)| annotation(one, Some(index), out)),
            None => citations.for_each(|one| annotation(one, None, out)),
        });
    }
}

fn annotation(citation: &Citation, index: Option<usize>, out: &mut Elements<'_>) {
    let url = citation.url.as_deref().unwrap_or_default();
    out.object(|out| {
        out.put_some("index", index);
        out.put("type", "url_citation");
        out.object("url_citation", |out| {
            out.put("url", url);
            out.put("title", citation.title.as_deref().unwrap_or(url));
            out.put("start_index", &citation.span.start);
            out.put("end_index", &citation.span.end);
        });
    });
}

/// Reads `images`; also says whether some of them cannot be read.
pub fn images(raw: &RawValue) -> (Vec<Block>, bool) {
    let list: Vec<&RawValue> = serde_json::from_str(raw.get()).unwrap_or_default();
    let known = list.iter().filter_map(|raw| serde_json::from_str::<WireImage>(raw.get()).ok()?.image_url);
    let plain = |url: &str| Media { source: media::from_url(url), detail: None, state: None, cache: None };
    let known: Vec<Block> = known.map(|image| Block::Image(plain(&image.url))).collect();
    let others = known.len() < list.len();
    (known, others)
}

/// Writes `images`, unless there are none; `first` is the index of the first one.
pub fn put_images(urls: &[impl AsRef<str>], first: usize, out: &mut Members<'_>) {
    if urls.is_empty() {
        return;
    }
    out.list("images", |out| {
        for (index, url) in (first..).zip(urls) {
            out.object(|out| {
                out.put("type", "image_url");
                out.object("image_url", |out| out.put("url", url.as_ref()));
                out.put("index", &index);
            });
        }
    });
}
