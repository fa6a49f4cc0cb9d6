//! Sources of an answer: `groundingMetadata` and `citationMetadata` (docs/protocols/mapping.md).
//!
//! Google counts bytes within a part, everyone else characters of the whole text, so the text is kept while it comes. A
//! stream's chunks are increments of one part, whose offsets then count from the start of the answer; where a segment
//! repeats its words, they decide. A source whose place cannot be found holds for the whole text.

use std::{collections::HashSet, ops::Range};

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::{codec::json::write::Members, ir::Citation};

/// Most bytes of text that are kept for counting.
const MAX_KEPT: usize = 1 << 20;
/// Most sources that one chunk may name.
pub const MAX_CITED: usize = 1024;
/// Longest address or title of a source, in bytes; one that is longer is left out.
const MAX_SOURCE: usize = 8 * 1024;
/// Bytes of text that may be looked through for the words of passages, in one answer. Google's offsets hold, so that
/// nothing is looked for; words that are not found hold for the whole text.
const MAX_SEARCHED: usize = 8 << 20;
/// Bytes of text between two places whose count of characters is kept.
const STEP: usize = 1024;

/// The visible text of a candidate so far.
#[derive(Debug, Default)]
pub struct Said {
    text: String,
    /// Characters before each [`STEP`] bytes of the text.
    counts: Vec<u64>,
    /// Characters of the whole text.
    chars: u64,
    chunks: usize,
    /// Where each part of the last chunk began.
    parts: Vec<usize>,
    searched: usize,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Grounding {
    #[serde(alias = "grounding_chunks")]
    grounding_chunks: Vec<Chunk>,
    #[serde(alias = "grounding_supports")]
    grounding_supports: Vec<Support>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Chunk {
    web: Option<Source>,
    maps: Option<Source>,
    #[serde(alias = "retrieved_context")]
    retrieved_context: Option<Source>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Source {
    uri: Option<String>,
    title: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Support {
    segment: Segment,
    #[serde(alias = "grounding_chunk_indices")]
    grounding_chunk_indices: Vec<usize>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Segment {
    #[serde(alias = "part_index")]
    part_index: usize,
    #[serde(alias = "start_index")]
    start_index: usize,
    #[serde(alias = "end_index")]
    end_index: usize,
    text: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Recited {
    #[serde(alias = "citationSources", alias = "citation_sources")]
    citations: Vec<Recitation>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Recitation {
    #[serde(alias = "start_index")]
    start_index: usize,
    #[serde(alias = "end_index")]
    end_index: usize,
    uri: Option<String>,
    title: Option<String>,
}

impl Said {
    /// A chunk begins.
    pub fn chunk(&mut self) {
        self.chunks = self.chunks.saturating_add(1);
        self.parts.clear();
    }

    /// A part of the chunk; `visible` words of it are counted.
    pub fn part(&mut self, visible: &str) {
        self.parts.push(self.text.len());
        if self.text.len().saturating_add(visible.len()) <= MAX_KEPT {
            for (at, _) in visible.char_indices() {
                if self.text.len().saturating_add(at) >= self.counts.len().saturating_mul(STEP) {
                    self.counts.push(self.chars);
                }
                self.chars = self.chars.saturating_add(1);
            }
            self.text.push_str(visible);
        }
    }

    /// Characters before a byte of the text; none if a character does not begin there.
    fn chars_to(&self, byte: usize) -> Option<u64> {
        if byte == self.text.len() {
            return Some(self.chars);
        }
        if !self.text.is_char_boundary(byte) {
            return None;
        }
        // The count was kept at the first character at or behind the step.
        let step = byte / STEP;
        let from = self.text.ceil_char_boundary(step.checked_mul(STEP)?);
        let (before, rest) = match self.text.get(from..byte) {
            Some(rest) => (self.counts.get(step).copied()?, rest),
            None => return None,
        };
        Some(before.saturating_add(rest.chars().count() as u64))
    }

    /// The sources that `groundingMetadata` names, one for each of a passage's; none if it cannot be read.
    pub fn grounded(&mut self, raw: &RawValue) -> Vec<Citation> {
        let Ok(grounding) = serde_json::from_str::<Grounding>(raw.get()) else { return Vec::new() };
        let mut found = Vec::new();
        for support in grounding.grounding_supports.iter().take(MAX_CITED) {
            let span = self.span(&support.segment);
            let sources = support.grounding_chunk_indices.iter().filter_map(|at| grounding.grounding_chunks.get(*at));
            let room = MAX_CITED.saturating_sub(found.len());
            found.extend(sources.filter_map(|chunk| chunk.cited(span.clone())).take(room));
        }
        if found.is_empty() {
            let chunks = grounding.grounding_chunks.iter();
            return chunks.filter_map(|chunk| chunk.cited(self.all())).take(MAX_CITED).collect();
        }
        found
    }

    /// The sources that `citationMetadata` names.
    pub fn recited(&mut self, raw: &RawValue) -> Vec<Citation> {
        let recited: Recited = serde_json::from_str(raw.get()).unwrap_or_default();
        let cited = recited.citations.into_iter().take(MAX_CITED).filter_map(|one| {
            let segment = Segment { start_index: one.start_index, end_index: one.end_index, ..Segment::default() };
            let url = one.uri.filter(|url| url.len() <= MAX_SOURCE)?;
            let title = one.title.filter(|title| title.len() <= MAX_SOURCE);
            Some(Citation { span: self.span(&segment), url: Some(url), title, native: None })
        });
        cited.collect()
    }

    fn span(&mut self, segment: &Segment) -> Range<u64> {
        let base = if self.chunks == 1 { self.parts.get(segment.part_index).copied().unwrap_or(0) } else { 0 };
        let stated = base.saturating_add(segment.start_index)..base.saturating_add(segment.end_index);
        let place = match segment.text.as_deref().filter(|words| !words.is_empty()) {
            Some(words) if self.text.get(stated.clone()) != Some(words) => self.search(words),
            _ => Some(stated),
        };
        match place.map(|place| (self.chars_to(place.start), self.chars_to(place.end))) {
            Some((Some(start), Some(end))) if start < end => start..end,
            _ => self.all(),
        }
    }

    /// Where the words stand, as long as searching is within its bound.
    fn search(&mut self, words: &str) -> Option<Range<usize>> {
        self.searched = self.searched.saturating_add(self.text.len()).saturating_add(words.len());
        if self.searched > MAX_SEARCHED {
            return None;
        }
        self.text.find(words).map(|at| at..at.saturating_add(words.len()))
    }

    const fn all(&self) -> Range<u64> {
        0..self.chars
    }
}

impl Chunk {
    fn cited(&self, span: Range<u64>) -> Option<Citation> {
        let source = [&self.web, &self.maps, &self.retrieved_context].into_iter().flatten().next()?;
        let short = |text: &&String| text.len() <= MAX_SOURCE;
        let url = source.uri.as_ref().filter(short)?;
        Some(Citation {
            span,
            url: Some(url.clone()),
            title: source.title.as_ref().filter(short).cloned(),
            native: None,
        })
    }
}

/// Writes `groundingMetadata`, unless no source is on the web. Only the sources: their places would have to be counted in
/// bytes of parts that the client has put together in its own way.
pub fn put<'a>(citations: impl Iterator<Item = &'a Citation>, out: &mut Members<'_>) {
    let (mut sources, mut known) = (Vec::new(), HashSet::new());
    for citation in citations {
        if let Some(url) = citation.url.as_deref().filter(|url| known.insert(*url)) {
            sources.push((url, citation.title.as_deref()));
        }
    }
    if sources.is_empty() {
        return;
    }
    out.object("groundingMetadata", |out| {
        out.list("groundingChunks", |out| {
            for (url, title) in sources {
                out.object(|out| {
                    out.object("web", |out| {
                        out.put("uri", url);
                        out.put_some("title", title);
                    });
                });
            }
        });
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(json: &str) -> Box<RawValue> {
        serde_json::from_str(json).unwrap()
    }

    fn said(chunks: &[&[&str]]) -> Said {
        let mut said = Said::default();
        for chunk in chunks {
            said.chunk();
            chunk.iter().for_each(|part| said.part(part));
        }
        said
    }

    fn grounded(said: &mut Said, segment: &str) -> Vec<(Range<u64>, String)> {
        let sources = r#"[{"web":{"uri":"https://a","title":"A"}},{"maps":{"uri":"https://b"}},{"image":{}}]"#;
        let supports = format!(r#"[{{"segment":{segment},"groundingChunkIndices":[0,1,2,9]}}]"#);
        let metadata = raw(&format!(r#"{{"groundingChunks":{sources},"groundingSupports":{supports}}}"#));
        said.grounded(&metadata).into_iter().map(|one| (one.span, one.url.unwrap())).collect()
    }

    #[test]
    fn bytes_of_parts_become_characters_of_the_text() {
        let both = |span: Range<u64>| vec![(span.clone(), "https://a".to_owned()), (span, "https://b".to_owned())];
        let mut whole = said(&[&["Zoë. ", "Grün ist es."]]);
        assert_eq!(grounded(&mut whole, r#"{"endIndex":5}"#), both(0..4));
        assert_eq!(grounded(&mut whole, r#"{"partIndex":1,"startIndex":0,"endIndex":5}"#), both(5..9));
        // In a stream there is one part, whatever pieces it came in.
        let mut streamed = said(&[&["Zo"], &["ë. Gr"], &["ün ist es."]]);
        assert_eq!(grounded(&mut streamed, r#"{"startIndex":6,"endIndex":11}"#), both(5..9));
        // Words that stand elsewhere decide; a place that does not exist is the whole text.
        assert_eq!(grounded(&mut streamed, r#"{"startIndex":0,"endIndex":4,"text":"ist"}"#), both(10..13));
        assert_eq!(grounded(&mut streamed, r#"{"startIndex":3,"endIndex":4}"#), both(0..17));
        assert_eq!(grounded(&mut streamed, r#"{"startIndex":900,"endIndex":901}"#), both(0..17));
    }

    #[test]
    fn sources_without_a_passage_hold_for_everything() {
        let all = said(&[&["abc"]]).grounded(&raw(r#"{"groundingChunks":[{"web":{"uri":"https://a"}}]}"#));
        assert_eq!(all.first().map(|one| one.span.clone()), Some(0..3));
        assert!(said(&[]).grounded(&raw("[]")).is_empty());
        let recited =
            said(&[&["abc"]]).recited(&raw(r#"{"citations":[{"startIndex":1,"endIndex":2,"uri":"https://a"},{}]}"#));
        assert_eq!(recited.len(), 1);
        assert_eq!(recited.first().map(|one| one.span.clone()), Some(1..2));
    }
}
