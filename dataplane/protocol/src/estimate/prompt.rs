//! What of a body a model reads: one walk over its strings, which knows where a member's name, a prompt's text and JSON
//! that is shown to the model stand. The body is JSON already; of other bytes some figure comes out.

use super::media::{BYTES_PER_TOKEN, INTRODUCTIONS, media_tokens};
use crate::{
    dialect::{Operation, OperationKind},
    direct::Direct,
};

/// Tokens that a chat's format adds to a message (OpenAI's cookbook: 3 a message; others are alike).
const PER_MESSAGE: u64 = 3;

/// Members of a request that hold text for the model.
const TEXTS: [&[u8]; 13] = [
    b"messages",
    b"system",
    b"input",
    b"instructions",
    b"contents",
    b"systemInstruction",
    b"system_instruction",
    b"content",
    b"requests",
    b"prompt",
    b"suffix",
    b"title",
    b"generateContentRequest",
];
/// Members of a request to rank or score that hold text: Cohere's, Jina's and vLLM's.
const RANKED: [&[u8]; 7] = [b"query", b"queries", b"documents", b"text_1", b"text_2", b"data_1", b"data_2"];
/// Members that are shown to the model as JSON: tools and schemas.
const SHOWN: [&[u8]; 7] =
    [b"tools", b"toolConfig", b"functions", b"response_format", b"text", b"output_config", b"output_format"];
/// Members inside texts that are JSON objects of the model's or a tool's own.
const OBJECTS: [&[u8]; 4] = [b"input", b"args", b"response", b"arguments"];
/// Strings inside texts that no model reads, by name.
const UNREAD: [&[u8]; 30] = [
    b"role",
    b"type",
    b"id",
    b"model",
    b"call_id",
    b"tool_call_id",
    b"tool_use_id",
    b"toolUseId",
    b"bytes",
    b"uri",
    b"redactedContent",
    b"mime_type",
    b"mimeType",
    b"media_type",
    b"detail",
    b"format",
    b"status",
    b"ttl",
    b"signature",
    b"thoughtSignature",
    b"thought_signature",
    b"encrypted_content",
    b"data",
    b"url",
    b"image_url",
    b"file_id",
    b"fileUri",
    b"file_uri",
    b"taskType",
    b"task_type",
];

/// What was found.
#[derive(Debug, Default)]
pub(super) struct Read {
    /// Bytes that are no media, and one for each piece.
    pub bytes: u64,
    /// Tokens of inline media.
    pub media: u64,
    /// How many media are inline.
    pub inline: u64,
    /// How often media are introduced, in halves.
    pub introduced: u64,
    /// Tokens of what the model reads, without media.
    pub prompt_tokens: u64,
    /// Of them, those that are not for its texts.
    pub added: u64,
}

/// A piece of what the model reads, as the body writes it.
#[derive(Clone, Copy, Debug)]
pub(super) enum Piece<'a> {
    /// A text, between its quotes.
    Text(&'a [u8]),
    /// What stands between two strings of JSON that is shown to the model.
    Json(&'a [u8]),
    /// A string of such JSON, between its quotes.
    JsonString(&'a [u8]),
}

/// Walks over a body.
pub(super) fn read(operation: Operation, body: &[u8]) -> Read {
    read_pieces(operation, body, |_| {})
}

/// Walks over a body and hands over each piece of what the model reads, but for media.
pub(super) fn read_pieces<'a>(operation: Operation, body: &'a [u8], take: impl FnMut(Piece<'a>)) -> Read {
    let mut walk = Walk::new(operation, take);
    let mut rest = body;
    while !rest.is_empty() {
        let (gap, tail) = rest.split_at(memchr::memchr(b'"', rest).unwrap_or(rest.len()));
        walk.gap(gap);
        let Some(inside) = tail.get(1..) else { break };
        let (text, behind) = split_string(inside);
        let is_name = behind.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b':');
        walk.string(text, is_name);
        rest = behind;
    }
    walk.read
}

/// What a member of the request is to the model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Settings,
    Texts,
    Shown,
}

struct Walk<'a, F> {
    read: Read,
    take: F,
    /// Numbers in texts are tokens, and there are no messages.
    takes_tokens: bool,
    ranks: bool,
    depth: u32,
    part: Part,
    /// The last name.
    name: &'a [u8],
    /// The depth outside of a JSON object that is shown as a whole.
    object: Option<u32>,
}

impl<'a, F: FnMut(Piece<'a>)> Walk<'a, F> {
    fn new(operation: Operation, take: F) -> Self {
        let takes_tokens =
            operation.kind() == OperationKind::Embed || operation == Operation::Direct(Direct::Completions);
        let ranks = matches!(operation, Operation::Direct(Direct::Rerank | Direct::Score));
        let read = Read::default();
        Self { read, take, takes_tokens, ranks, depth: 0, part: Part::Settings, name: b"", object: None }
    }

    /// What stands between two strings.
    fn gap(&mut self, gap: &'a [u8]) {
        self.read.bytes = self.read.bytes.saturating_add(gap.len() as u64 + 1);
        let (mut in_number, mut written) = (false, 0_u64);
        for byte in gap {
            match byte {
                b'{' | b'[' => {
                    if *byte == b'{' && self.part == Part::Texts && self.depth > 1 && OBJECTS.contains(&self.name) {
                        self.object.get_or_insert(self.depth);
                    }
                    self.depth = self.depth.saturating_add(1);
                }
                b'}' | b']' => {
                    self.depth = self.depth.saturating_sub(1);
                    if self.object.is_some_and(|outside| self.depth <= outside) {
                        self.object = None;
                    }
                }
                _ => {}
            }
            let is_digit = byte.is_ascii_digit();
            if is_digit && !in_number && self.takes_tokens && self.part == Part::Texts {
                self.add_tokens(1);
            }
            in_number = is_digit;
            written += u64::from(!byte.is_ascii_whitespace());
        }
        if self.shows_json() {
            (self.take)(Piece::Json(gap));
            self.add(written);
        }
    }

    fn string(&mut self, text: &'a [u8], is_name: bool) {
        let mut plain = 0_u64;
        // An escaped quote splits a string: base64 inside of a text that is JSON itself is found all the same.
        for piece in text.split_inclusive(|byte| *byte == b'"') {
            match media_tokens(piece) {
                Some(tokens) => {
                    self.read.inline += 1;
                    self.read.media = self.read.media.saturating_add(tokens);
                }
                None => plain = plain.saturating_add(piece.len() as u64),
            }
        }
        self.read.bytes = self.read.bytes.saturating_add(plain + 1);
        self.read.introduced += if INTRODUCTIONS.contains(&text) { 2 } else { u64::from(text == b"image_url") };
        if is_name {
            return self.named(text);
        }
        let is_plain = plain == text.len() as u64;
        if self.shows_json() {
            if is_plain {
                (self.take)(Piece::JsonString(text));
            }
            self.add(plain + 2);
        } else if self.part == Part::Texts && !UNREAD.contains(&self.name) {
            if is_plain {
                (self.take)(Piece::Text(text));
            }
            self.add(if is_plain { unescaped(text) } else { plain });
        }
    }

    fn named(&mut self, name: &'a [u8]) {
        if self.depth == 1 {
            self.part = match name {
                name if TEXTS.contains(&name) || (self.ranks && RANKED.contains(&name)) => Part::Texts,
                name if SHOWN.contains(&name) => Part::Shown,
                _ => Part::Settings,
            };
        }
        if self.shows_json() && self.depth > 1 {
            (self.take)(Piece::JsonString(name));
            self.add(name.len() as u64 + 2);
        } else if self.part == Part::Texts && name == b"role" && !self.takes_tokens {
            self.add_tokens(PER_MESSAGE);
        }
        self.name = name;
    }

    fn shows_json(&self) -> bool {
        self.part == Part::Shown || self.object.is_some()
    }

    fn add_tokens(&mut self, tokens: u64) {
        self.read.prompt_tokens = self.read.prompt_tokens.saturating_add(tokens);
        self.read.added = self.read.added.saturating_add(tokens);
    }

    fn add(&mut self, bytes: u64) {
        self.read.prompt_tokens = self.read.prompt_tokens.saturating_add(bytes.div_ceil(BYTES_PER_TOKEN));
    }
}

/// A string up to its closing quote, and what follows that.
fn split_string(inside: &[u8]) -> (&[u8], &[u8]) {
    let mut end = 0;
    while let Some(found) = inside.get(end..).and_then(|rest| memchr::memchr2(b'"', b'\\', rest)) {
        end += found;
        if inside.get(end) == Some(&b'"') {
            return (inside.get(..end).unwrap_or_default(), inside.get(end + 1..).unwrap_or_default());
        }
        end += 2;
    }
    (inside, b"")
}

/// Bytes of a string as it reads, in UTF-8: clients that escape everything but ASCII ask for nothing more.
fn unescaped(written: &[u8]) -> u64 {
    let (mut bytes, mut rest) = (0_u64, written);
    while let Some(place) = memchr::memchr(b'\\', rest) {
        bytes += place as u64;
        let escape = rest.get(place..).unwrap_or_default();
        let is_unicode = escape.get(1) == Some(&b'u');
        bytes += match escape.get(2..4) {
            _ if !is_unicode => 1,
            Some(b"00") if escape.get(4).is_some_and(|digit| *digit < b'8') => 1,
            // Up to U+07FF, and a surrogate, which is half of four bytes.
            Some([b'0', b'0'..=b'7'] | [b'd' | b'D', b'8'..=b'9' | b'a'..=b'f' | b'A'..=b'F']) => 2,
            _ => 3,
        };
        rest = escape.get(if is_unicode { 6 } else { 2 }..).unwrap_or_default();
    }
    bytes + rest.len() as u64
}

#[cfg(test)]
mod tests {
    use crate::{
        dialect::Operation,
        direct::Direct,
        estimate::{Estimate, input},
    };

    fn sent(operation: Operation, body: &str) -> u64 {
        let Estimate { reserved, sent } = input(operation, body.as_bytes());
        assert!(sent <= reserved, "{body}");
        sent
    }

    #[test]
    fn embeddings_cost_what_their_texts_are() {
        let rows = [
            (Operation::EmbedContent, r#"{"model":"models/m","content":{"parts":[{"text":"two words"}]}}"#, 3),
            (
                Operation::BatchEmbedContents,
                r#"{"requests":[{"model":"models/m","taskType":"RETRIEVAL_QUERY","content":{"parts":[{"text":"two"}]}},{"content":{"parts":[{"text":"words"}]}}]}"#,
                3,
            ),
            (
                Operation::Embeddings,
                r#"{"model":"m","input":["two","words"],"encoding_format":"float","dimensions":64}"#,
                3,
            ),
            (Operation::Embeddings, r#"{"model":"m","input":"two words","user":"somebody"}"#, 3),
            (Operation::Embeddings, r#"{"input":[[1,22,333],[4]],"model":"m","dimensions":256}"#, 4),
        ];
        for (operation, body, tokens) in rows {
            assert_eq!(sent(operation, body), tokens, "{body}");
        }
    }

    #[test]
    fn the_other_endpoints_cost_their_texts() {
        let direct = |direct, body| sent(Operation::Direct(direct), body);
        for (endpoint, body, tokens) in [
            (
                Direct::Rerank,
                r#"{"model":"m","query":"two words","documents":["two words",{"text":"two words"}],"top_n":3}"#,
                9,
            ),
            (Direct::Score, r#"{"model":"m","text_1":"two words","text_2":["two words","two words"]}"#, 9),
            (Direct::Score, r#"{"model":"m","queries":"two words","documents":["two words"]}"#, 6),
            (Direct::Completions, r#"{"model":"m","prompt":["two words","two words"],"suffix":"two words"}"#, 9),
            (Direct::Completions, r#"{"model":"m","prompt":[[1,22,333],[4]],"max_tokens":7}"#, 4),
            (Direct::Speech, r#"{"model":"m","input":"two words","voice":"alloy","instructions":"two words"}"#, 6),
            (Direct::ImageGenerations, r#"{"model":"m","prompt":"two words","size":"1024x1024","n":4}"#, 3),
        ] {
            assert_eq!(direct(endpoint, body), tokens, "{body}");
        }
        let tokens = format!(r#"{{"model":"m","prompt":[{}1]}}"#, "1,".repeat(1_000));
        let Estimate { reserved, sent } = input(Operation::Direct(Direct::Completions), tokens.as_bytes());
        assert!(reserved >= 1_000 && sent >= 1_000, "{reserved} {sent}: tokens of two bytes each");
    }

    #[test]
    fn chats_cost_their_texts_their_tools_and_a_little_for_each_message() {
        let rows = [
            (
                Operation::ChatCompletions,
                r#"{"model":"a-long-model-name","messages":[{"role":"user","content":"two words"}]}"#,
                6,
            ),
            (
                Operation::Messages,
                r#"{"model":"m","max_tokens":9,"system":"two words","messages":[{"role":"user","content":[{"type":"text","text":"two words"}]}],"metadata":{"user_id":"x"}}"#,
                9,
            ),
            (
                Operation::GenerateContent,
                r#"{"contents":[{"parts":[{"text":"two words"}]}],"safetySettings":[{"category":"HARM_CATEGORY_HARASSMENT"}]}"#,
                3,
            ),
            (Operation::Responses, r#"{"model":"m","input":"two words","instructions":"two words","store":false}"#, 6),
        ];
        for (operation, body, tokens) in rows {
            assert_eq!(sent(operation, body), tokens, "{body}");
        }
        let bare = r#"{"model":"m","messages":[{"role":"assistant","content":[{"type":"tool_use","id":"toolu_1","name":"f","input":{}}]}]}"#;
        let full = bare.replace("{}", r#"{"city":"Lima","days":[1,2,3]}"#);
        let (bare, full) = (sent(Operation::Messages, bare), sent(Operation::Messages, &full));
        assert!((bare + 6..bare + 16).contains(&full), "what a call says is read: {bare} {full}");
        let tools = r#"{"messages":[],"tools":[{"type":"function","function":{"name":"f","parameters":{"type":"object","properties":{"city":{"type":"string"}}}}}]}"#;
        let tokens = sent(Operation::ChatCompletions, tools);
        assert!((24..60).contains(&tokens), "{tokens}");
    }

    #[test]
    fn escapes_cost_what_they_stand_for() {
        let body = |text: &str| format!(r#"{{"messages":[{{"content":"{text}"}}]}}"#);
        let plain = sent(Operation::ChatCompletions, &body(&"é漢".repeat(40)));
        assert_eq!(sent(Operation::ChatCompletions, &body(&r"\u00e9\u6f22".repeat(40))), plain);
        assert_eq!(sent(Operation::ChatCompletions, &body(&r"\ud83d\ude00".repeat(10))), 10);
        for cut in 0..body(r"a\u00e9").len() {
            input(Operation::Messages, &body(r"a\u00e9").as_bytes()[..cut]);
        }
    }
}
