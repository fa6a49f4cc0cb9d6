//! Web searches that Anthropic ran, as this dialect tells of them (hard case 236).
//!
//! Anthropic says in one block what it searches for and in another what it found, encrypted for itself: without both its model
//! does not know them in the next request. Here both are one `web_search_call` item, which has no room for what is encrypted.
//! So the blocks travel beside it, as state that hangs on it ([`Place::Hosted`](crate::codec::tagged_state::Place)).

use serde::Deserialize;
use serde_json::value::RawValue;

use super::item::Status;
use crate::{
    codec::json::write::Members,
    dialect::Family,
    ir::{Opaque, Raw, Unknown},
};

/// What the ids of such items begin with. No upstream knows them.
pub const OWN_SEARCH: &str = "ws_gw1_";
/// The type of the item.
pub const ITEM: &str = "web_search_call";

const ASKED: &str = "server_tool_use";
const FOUND: &str = "web_search_tool_result";
const TOOL: &str = "web_search";
/// Most sources that an item names: vendors give ten.
const MAX_SOURCES: usize = 64;

/// What is searched for.
#[derive(Debug)]
pub struct Asked {
    id: String,
    query: String,
    raw: Raw,
}

/// What was found.
pub struct Found {
    asked: String,
    /// None if the search failed.
    urls: Option<Vec<String>>,
    raw: Raw,
}

/// One search, as far as it came.
pub struct Search {
    pub asked: Asked,
    pub found: Option<Found>,
}

#[derive(Deserialize)]
struct AskedBlock {
    id: String,
    name: String,
    #[serde(default)]
    input: Input,
}

#[derive(Default, Deserialize)]
struct Input {
    #[serde(default)]
    query: String,
}

#[derive(Deserialize)]
struct FoundBlock<'a> {
    tool_use_id: String,
    #[serde(borrow)]
    content: &'a RawValue,
}

#[derive(Deserialize)]
struct Page {
    url: String,
}

#[derive(Deserialize)]
struct Typed<'a> {
    #[serde(borrow, rename = "type")]
    kind: &'a str,
}

// === impl Asked ===

impl Asked {
    /// Reads a block; none if it is something else.
    pub fn read(kind: &str, raw: &Raw) -> Option<Self> {
        let block: AskedBlock = serde_json::from_str(Some(raw.get()).filter(|_| kind == ASKED)?).ok()?;
        (block.name == TOOL).then(|| Self { id: block.id, query: block.input.query, raw: raw.clone() })
    }

    /// Bytes that are kept.
    pub fn held(&self) -> usize {
        self.raw.get().len().saturating_add(self.query.len())
    }
}

// === impl Found ===

impl Found {
    /// Reads a block; none if it is something else.
    pub fn read(kind: &str, raw: &Raw) -> Option<Self> {
        let block: FoundBlock<'_> = serde_json::from_str(Some(raw.get()).filter(|_| kind == FOUND)?).ok()?;
        let pages: Option<Vec<Page>> = serde_json::from_str(block.content.get()).ok();
        let urls = pages.map(|pages| pages.into_iter().take(MAX_SOURCES).map(|page| page.url).collect());
        Some(Self { asked: block.tool_use_id, urls, raw: raw.clone() })
    }

    /// Whether it is what this search found.
    pub fn answers(&self, asked: &Asked) -> bool {
        self.asked == asked.id
    }
}

// === impl Search ===

impl Search {
    /// Writes the item.
    pub fn put(&self, id: &str, begins: bool, out: &mut Members<'_>) {
        let urls = self.found.as_ref().filter(|_| !begins).and_then(|found| found.urls.as_ref());
        let status = match (begins, urls) {
            (true, _) => Status::InProgress.word(),
            (false, Some(_)) => Status::Completed.word(),
            (false, None) => "failed",
        };
        out.put("id", id);
        out.put("type", ITEM);
        out.put("status", status);
        out.object("action", |out| {
            out.put("type", "search");
            out.put("query", &self.asked.query);
            out.put("queries", &[&self.asked.query]);
            let Some(urls) = urls else { return };
            out.list("sources", |out| {
                for url in urls {
                    out.object(|out| {
                        out.put("type", "url");
                        out.put("url", url);
                    });
                }
            });
        });
    }

    /// Whether it gave anything.
    pub fn succeeded(&self) -> bool {
        self.found.as_ref().is_some_and(|found| found.urls.is_some())
    }

    /// Its blocks, for the next request to the vendor.
    pub fn state(&self) -> Opaque {
        let blocks = [Some(&self.asked.raw), self.found.as_ref().map(|found| &found.raw)];
        let blocks: Vec<&str> = blocks.into_iter().flatten().map(|raw| raw.get()).collect();
        Opaque { family: Family::Anthropic, value: format!("[{}]", blocks.join(",")) }
    }
}

/// The blocks that such a state holds; none if it is not one of ours.
pub fn blocks(state: &Opaque) -> Option<Vec<Unknown>> {
    if state.family != Family::Anthropic {
        return None;
    }
    let blocks: Vec<&RawValue> = serde_json::from_str(&state.value).ok()?;
    let read = |raw: &&RawValue| {
        let Typed { kind } = serde_json::from_str(raw.get()).ok()?;
        let unknown = |kind: &str| Unknown { family: Family::Anthropic, kind: kind.to_owned(), raw: (*raw).to_owned() };
        matches!(kind, ASKED | FOUND).then(|| unknown(kind))
    };
    (blocks.len() <= 2).then(|| blocks.iter().map(read).collect())?
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(text: &str) -> Raw {
        RawValue::from_string(text.to_owned()).unwrap()
    }

    #[test]
    fn blocks_come_back_from_a_state() {
        let asked = raw(r#"{"type":"server_tool_use","id":"s1","name":"web_search","input":{"query":"tides"}}"#);
        let found = raw(
            r#"{"type":"web_search_tool_result","tool_use_id":"s1","content":[{"type":"web_search_result","url":"https://e.org","encrypted_content":"Eq"}]}"#,
        );
        let search =
            Search { asked: Asked::read(ASKED, &asked).unwrap(), found: Some(Found::read(FOUND, &found).unwrap()) };
        assert!(search.found.as_ref().unwrap().answers(&search.asked) && search.succeeded());
        let back = blocks(&search.state()).unwrap();
        assert_eq!(back.iter().map(|block| block.raw.get()).collect::<Vec<_>>(), [asked.get(), found.get()]);
    }

    #[test]
    fn only_searches_are_read() {
        let other = raw(r#"{"type":"server_tool_use","id":"s1","name":"code_execution","input":{"code":"x"}}"#);
        assert!(Asked::read(ASKED, &other).is_none());
        let failed = raw(
            r#"{"type":"web_search_tool_result","tool_use_id":"s1","content":{"type":"web_search_tool_result_error","error_code":"max_uses_exceeded"}}"#,
        );
        assert!(Found::read(FOUND, &failed).is_some_and(|found| found.urls.is_none()));
        for forged in
            [r#"[{"type":"text","text":"x"}]"#, "[1]", "{}", r#"[{"type":"server_tool_use"},{},{}]"#, "nothing"]
        {
            assert!(blocks(&Opaque { family: Family::Anthropic, value: forged.to_owned() }).is_none(), "{forged}");
        }
        assert!(blocks(&Opaque { family: Family::Gemini, value: "[]".to_owned() }).is_none());
    }
}
