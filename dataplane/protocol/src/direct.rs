//! The other endpoints of OpenAI's API, and of servers that follow it: what is passed on and never translated.
//!
//! One table says all that the gateway knows of each. What is not in it is decided by what every answer has: a status, a
//! content type, and a body that is passed on as it comes.

use crate::framing::Framing;

/// One of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direct {
    /// Text from before chats.
    Completions,
    /// Whether a text or picture is harmful.
    Moderations,
    /// Pictures from a text.
    ImageGenerations,
    /// Pictures from pictures and a text.
    ImageEdits,
    /// Pictures like a picture.
    ImageVariations,
    /// Sound from a text.
    Speech,
    /// Text from sound.
    Transcriptions,
    /// English text from sound.
    Translations,
    /// Documents by how well they fit a query (Cohere, Jina, vLLM).
    Rerank,
    /// How well pairs of texts fit each other (vLLM).
    Score,
    /// A conversation, made shorter for later Responses requests.
    Compaction,
    /// A conversation over a WebSocket.
    Realtime,
    /// Whatever else an upstream has below its base URL; the path is the client's.
    Unlisted,
}

/// What a request's body may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Takes {
    /// JSON alone.
    Json,
    /// `multipart/form-data` alone.
    Form,
    /// Either.
    Both,
}

/// How an answer is passed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Gives {
    /// A JSON document with at least one of these members: it is held and looked at, so that what is no answer leads to
    /// another upstream. A stream of it has OpenAI's events.
    Document(&'static [&'static str]),
    /// JSON, events, text, sound or a picture: it is passed on as it comes.
    Anything,
}

/// What its usage is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Billed {
    /// Tokens in and out.
    Tokens,
    /// Tokens in.
    Input,
    /// Vendors charge nothing.
    Free,
}

/// Longest path of an endpoint that is not in the table, in bytes.
const LONGEST_PATH: usize = 256;

/// All that is known of an endpoint.
struct Facts {
    direct: Direct,
    /// Below the base URL, at the client's side and at the upstream's.
    path: &'static str,
    /// In records and metrics.
    name: &'static str,
    /// In a sentence about whether it is available, with the verb.
    called: &'static str,
    /// `gen_ai.operation.name`: `text_completion` is OpenTelemetry's, and it has none for the others.
    gen_ai_operation: &'static str,
    takes: Takes,
    gives: Gives,
    /// Whether `stream: true` makes the answer events.
    streams: bool,
    billed: Billed,
}

#[rustfmt::skip]
const TABLE: [Facts; 13] = [
    Facts { direct: Direct::Completions, path: "/completions", name: "completions", called: "legacy completions are", gen_ai_operation: "text_completion",
        takes: Takes::Json, gives: Gives::Document(&["choices"]), streams: true, billed: Billed::Tokens },
    Facts { direct: Direct::Moderations, path: "/moderations", name: "moderations", called: "moderations are", gen_ai_operation: "moderation",
        takes: Takes::Json, gives: Gives::Document(&["results"]), streams: false, billed: Billed::Free },
    Facts { direct: Direct::ImageGenerations, path: "/images/generations", name: "image_generations", called: "image generation is", gen_ai_operation: "image_generation",
        takes: Takes::Json, gives: Gives::Anything, streams: true, billed: Billed::Tokens },
    Facts { direct: Direct::ImageEdits, path: "/images/edits", name: "image_edits", called: "image edits are", gen_ai_operation: "image_generation",
        takes: Takes::Both, gives: Gives::Anything, streams: true, billed: Billed::Tokens },
    Facts { direct: Direct::ImageVariations, path: "/images/variations", name: "image_variations", called: "image variations are", gen_ai_operation: "image_generation",
        takes: Takes::Form, gives: Gives::Anything, streams: false, billed: Billed::Tokens },
    Facts { direct: Direct::Speech, path: "/audio/speech", name: "speech", called: "speech is", gen_ai_operation: "speech",
        takes: Takes::Json, gives: Gives::Anything, streams: false, billed: Billed::Tokens },
    Facts { direct: Direct::Transcriptions, path: "/audio/transcriptions", name: "transcriptions", called: "transcription is", gen_ai_operation: "transcription",
        takes: Takes::Form, gives: Gives::Anything, streams: true, billed: Billed::Tokens },
    Facts { direct: Direct::Translations, path: "/audio/translations", name: "translations", called: "audio translation is", gen_ai_operation: "translation",
        takes: Takes::Form, gives: Gives::Anything, streams: false, billed: Billed::Tokens },
    Facts { direct: Direct::Rerank, path: "/rerank", name: "rerank", called: "reranking is", gen_ai_operation: "rerank",
        takes: Takes::Json, gives: Gives::Document(&["results", "data"]), streams: false, billed: Billed::Input },
    Facts { direct: Direct::Score, path: "/score", name: "score", called: "scoring is", gen_ai_operation: "score",
        takes: Takes::Json, gives: Gives::Document(&["data", "scores"]), streams: false, billed: Billed::Input },
    Facts { direct: Direct::Compaction, path: "/responses/compact", name: "responses_compact", called: "compaction is", gen_ai_operation: "compact",
        takes: Takes::Json, gives: Gives::Document(&["output"]), streams: false, billed: Billed::Tokens },
    // What is sent and answered are messages of a WebSocket: there is no body either way.
    Facts { direct: Direct::Realtime, path: "/realtime", name: "realtime", called: "the Realtime API is", gen_ai_operation: "realtime",
        takes: Takes::Json, gives: Gives::Anything, streams: true, billed: Billed::Tokens },
    Facts { direct: Direct::Unlisted, path: "", name: "other_paths", called: "this path is", gen_ai_operation: "other",
        takes: Takes::Both, gives: Gives::Anything, streams: true, billed: Billed::Tokens },
];

impl Direct {
    /// All of them.
    pub fn all() -> impl Iterator<Item = Self> {
        TABLE.iter().map(|facts| facts.direct)
    }

    /// Whether a path below the base URL can be passed on as it is: plain segments that no reader takes for anything else.
    pub(crate) fn is_plain(path: &str) -> bool {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
        let is_segment =
            |segment: &str| segment.bytes().all(is_plain) && segment.bytes().any(|byte| byte.is_ascii_alphanumeric());
        path.len() <= LONGEST_PATH && path.split('/').all(is_segment)
    }

    /// The endpoint at a path below the base URL, without a slash in front.
    pub(crate) fn at(path: &str) -> Option<Self> {
        let path = if path == "v2/rerank" { "rerank" } else { path };
        TABLE.iter().find(|facts| facts.path.strip_prefix('/') == Some(path)).map(|facts| facts.direct)
    }

    const fn facts(self) -> &'static Facts {
        let [
            completions,
            moderations,
            generations,
            edits,
            variations,
            speech,
            transcriptions,
            translations,
            rerank,
            score,
            compaction,
            realtime,
            unlisted,
        ] = &TABLE;
        match self {
            Self::Completions => completions,
            Self::Moderations => moderations,
            Self::ImageGenerations => generations,
            Self::ImageEdits => edits,
            Self::ImageVariations => variations,
            Self::Speech => speech,
            Self::Transcriptions => transcriptions,
            Self::Translations => translations,
            Self::Rerank => rerank,
            Self::Score => score,
            Self::Compaction => compaction,
            Self::Realtime => realtime,
            Self::Unlisted => unlisted,
        }
    }

    /// Its path below an upstream's base URL.
    pub const fn path(self) -> &'static str {
        self.facts().path
    }

    /// A short stable name for logs and metric labels.
    pub const fn name(self) -> &'static str {
        self.facts().name
    }

    /// As its vendor's documentation calls it, with the verb of a sentence about it: `speech is`.
    pub const fn called(self) -> &'static str {
        self.facts().called
    }

    /// The value of `gen_ai.operation.name`.
    pub const fn gen_ai_operation(self) -> &'static str {
        self.facts().gen_ai_operation
    }

    /// What a request's body may be.
    pub const fn takes(self) -> Takes {
        self.facts().takes
    }

    /// Whether an answer can arrive as events.
    pub const fn streams(self) -> bool {
        self.facts().streams
    }

    pub(crate) const fn gives(self) -> Gives {
        self.facts().gives
    }

    /// Whether its answers are made of tokens that somebody pays for.
    pub const fn bills_output(self) -> bool {
        matches!(self.facts().billed, Billed::Tokens)
    }

    /// Whether vendors charge nothing for it.
    pub const fn is_free(self) -> bool {
        matches!(self.facts().billed, Billed::Free)
    }

    /// Whether a client can be given the head of a stream before an upstream has answered: what comes will be events.
    pub(crate) const fn promises_events(self, framing: Framing) -> bool {
        matches!((self.gives(), framing), (Gives::Document(_), Framing::Sse))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn each_endpoint_has_its_own_row_path_and_name() {
        for facts in &TABLE {
            assert_eq!(facts.direct.path(), facts.path, "{:?} is in another place of the table", facts.direct);
            let is_listed = facts.direct != Direct::Unlisted;
            assert_eq!(Direct::at(facts.path.trim_start_matches('/')), is_listed.then_some(facts.direct));
        }
        let names: HashSet<_> = TABLE.iter().map(|facts| facts.name).collect();
        let paths: HashSet<_> = TABLE.iter().map(|facts| facts.path).collect();
        assert_eq!((names.len(), paths.len()), (TABLE.len(), TABLE.len()));
        assert_eq!(Direct::at("v2/rerank"), Some(Direct::Rerank));
        assert_eq!(Direct::at("files"), None);
    }

    #[test]
    fn only_plain_paths_are_passed_on() {
        for path in ["ocr", "fim/completions", "audio/sound-effects/v2.1", "a_b~c"] {
            assert!(Direct::is_plain(path), "{path}");
        }
        let long = "a/".repeat(130) + "a";
        for path in
            ["", "/", "a//b", "a/", "..", "a/../b", "a/.", "a%2e%2e", "a?b", "a;b", "a b", "a\\b", "é", "-", &long]
        {
            assert!(!Direct::is_plain(path), "{path}");
        }
    }
}
