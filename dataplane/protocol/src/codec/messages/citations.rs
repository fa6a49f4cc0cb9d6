//! Sources of a text (`citations`): kept as Anthropic wrote them, and read as far as others can use them.
//!
//! A source on the web has an address; places in the client's own documents have none, and mean something to Anthropic's
//! clients only.

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::{
    codec::json::write::Members,
    dialect::Family,
    ir::{Block, Citation, Raw},
};

#[derive(Default, Deserialize)]
struct Wire {
    url: Option<String>,
    /// Of a search result: its address, if the application gave one.
    source: Option<String>,
    title: Option<String>,
    document_title: Option<String>,
}

/// Reads one source. Its span is the caller's to know.
pub fn read(raw: &RawValue) -> Citation {
    let wire: Wire = serde_json::from_str(raw.get()).unwrap_or_default();
    Citation {
        span: 0..0,
        url: wire.url.or(wire.source.filter(|source| source.starts_with("https://") || source.starts_with("http://"))),
        title: wire.title.or(wire.document_title),
        native: Some((Family::Anthropic, raw.to_owned())),
    }
}

/// Reads a list of sources; anything else is none.
pub fn read_all(raw: &RawValue) -> Vec<Citation> {
    let list: Vec<&RawValue> = serde_json::from_str(raw.get()).unwrap_or_default();
    list.into_iter().map(read).collect()
}

/// Gives the sources of an answer's texts their spans: a source holds for the whole of its block.
pub fn place(blocks: &mut [Block]) {
    let mut said = 0_u64;
    for block in blocks {
        if let Block::Text(text) = block {
            let start = said;
            said = said.saturating_add(text.text.chars().count() as u64);
            text.citations.iter_mut().for_each(|citation| citation.span = start..said);
        }
    }
}

/// Anthropic's own form of a source, if it has one.
pub fn native(citation: &Citation) -> Option<&Raw> {
    citation.native.as_ref().filter(|(family, _)| *family == Family::Anthropic).map(|(_, raw)| raw)
}

/// Writes `citations`, unless none is Anthropic's own: a source made elsewhere lacks what Anthropic wants back.
pub fn put(citations: &[Citation], out: &mut Members<'_>) {
    if citations.iter().any(|citation| native(citation).is_some()) {
        out.list("citations", |out| citations.iter().filter_map(native).for_each(|raw| out.put(raw)));
    }
}
