//! The schema in which usage is kept. `docs/usage-records.md` describes every member.
//!
//! Version 1.x. Minor versions only add members: a reader skips what it does not know, and what an older writer did not have
//! is absent or zero. An entry of another major version is refused. Token counts are inclusive, as OpenTelemetry and Envoy
//! count: `input` holds what was read from and written to caches, `output` holds reasoning.
//!
//! Nothing here holds a prompt, an answer, a key or an address. Texts that a client can choose are clipped.

use routeapi_metering::{Nanos, Outcome, Price, UnixMillis, Usage, UsageSource};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Most characters of a name, be it of an object or one that a client chose.
pub const MAX_NAME_CHARS: usize = 256;
/// Most characters of a message.
pub const MAX_MESSAGE_CHARS: usize = 512;
/// Most warnings of a request. The last one says how many there were beyond.
pub const MAX_WARNINGS: usize = 32;
/// Most attempts of a request that are kept one by one; the last one stands for all that are beyond.
pub const MAX_ATTEMPTS: usize = 32;

/// The version that this program writes, and the major version that it reads.
const SCHEMA: &str = "routeapi.usage/1.0";
const NAME: &str = "routeapi.usage/";
const MAJOR: u32 = 1;

/// One thing that the ledger holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
#[expect(clippy::large_enum_variant, reason = "nearly all are requests")]
pub enum Entry {
    /// A request that has ended.
    Request(Request),
    /// Requests that are missing here.
    Gap(Gap),
}

/// A request that has ended, whatever became of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// Unique: the request's id as in `x-routeapi-request-id`. A reader that sees it twice counts it once.
    pub id: String,
    /// When the request arrived.
    pub time_unix_ms: UnixMillis,
    /// Milliseconds from arrival to the end.
    #[serde(default)]
    pub duration_ms: u64,
    /// Milliseconds from arrival to the first content, if any came.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_content_ms: Option<u64>,
    /// The client's W3C trace, if it was in one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace_id: Option<String>,
    /// Namespace of the ApiToken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// `namespace/name` of the ApiToken; none if the request had no valid one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
    /// Which of the token's keys.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_id: Option<String>,
    /// The client's session: a hash of its name and the token; none if the route has no affinity.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<String>,
    /// `namespace/name` of the AIRoute.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub route: Option<String>,
    /// The client's operation, such as `chat_completions`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operation: Option<String>,
    /// Whether the client wanted a stream.
    #[serde(default)]
    pub stream: bool,
    /// The model as the client asked for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// Who answered; none if nobody did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub served: Option<Served>,
    /// The HTTP status that went to the client; 0 if it left before any.
    #[serde(default)]
    pub status: u16,
    /// How it ended.
    pub outcome: Outcome,
    /// Why, where it did not end well: a code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// The same in the gateway's words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// All attempts together.
    #[serde(default)]
    pub tokens: Tokens,
    /// Where the counts come from: the weakest source among the attempts.
    pub usage_source: UsageSource,
    /// What all attempts cost together, in billionths of the currency.
    #[serde(default)]
    pub cost_nano: Nanos,
    /// Currency of all prices here (ISO 4217).
    #[serde(default = "usd")]
    pub currency: String,
    /// Fields that were changed or dropped, as in `x-routeapi-warnings`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    /// Each upstream tried, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub attempts: Vec<Attempt>,
}

/// Who answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Served {
    /// `namespace/name` of the AIProvider.
    pub provider: String,
    /// Its name in the route.
    pub upstream: String,
    /// The model id sent to it.
    pub model: String,
}

/// One try at one upstream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    /// Its name in the route.
    pub upstream: String,
    /// `namespace/name` of its AIProvider.
    pub provider: String,
    /// The model id sent to it.
    pub model: String,
    /// The status it answered, if it did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// Why it did not serve: a code; none for the one that did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Milliseconds it took.
    #[serde(default)]
    pub duration_ms: u64,
    /// What it used.
    #[serde(default)]
    pub tokens: Tokens,
    /// Where the counts come from.
    pub usage_source: UsageSource,
    /// What it cost, in billionths of the currency.
    #[serde(default)]
    pub cost_nano: Nanos,
    /// The price that was used; none if there is none for the model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub price: Option<PriceUsed>,
}

/// Token counts, inclusive: the others are parts of `input` and `output`. Absent is not zero.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tokens {
    /// All input tokens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input: Option<u64>,
    /// Of these, read from a cache.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache_read: Option<u64>,
    /// Of these, written to a cache, whatever their time to live.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache_write: Option<u64>,
    /// All output tokens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output: Option<u64>,
    /// Of these, reasoning.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reasoning: Option<u64>,
}

/// A price, in billionths of the currency per one million tokens.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PriceUsed {
    /// Which price this is; another price has another id.
    pub id: String,
    /// Input tokens that no cache had a part in.
    pub input: Nanos,
    /// Input tokens read from a cache.
    pub cache_read: Nanos,
    /// Input tokens written to a cache.
    pub cache_write: Nanos,
    /// Output tokens, reasoning included.
    pub output: Nanos,
}

/// Requests that are missing, as far as that is known.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gap {
    /// Unique.
    pub id: String,
    /// When it was found.
    pub time_unix_ms: UnixMillis,
    /// Why.
    pub reason: GapReason,
    /// How many; none if that cannot be known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lost: Option<u64>,
    /// First sequence number of the spool that is missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from_sequence: Option<u64>,
    /// Last one; none if that cannot be known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to_sequence: Option<u64>,
    /// Bytes of the spool that could not be read.
    #[serde(default)]
    pub bytes: u64,
}

/// Why requests are missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GapReason {
    /// The process ended without closing its spool: what was not written by then is lost.
    UncleanStop,
    /// A spool file ends within an entry, or holds bytes that are no entry.
    Unreadable,
    /// The queue in front of the spool was full.
    QueueFull,
    /// The spool was full.
    SpoolFull,
    /// The spool could not be written.
    WriteFailed,
}

/// Why bytes are no entry.
#[derive(Debug, thiserror::Error)]
#[error("not a usage record: {0}")]
pub struct InvalidEntry(#[from] serde_json::Error);

/// An entry behind its version, as it is written.
#[derive(Serialize)]
struct Written<'a> {
    schema: Schema,
    #[serde(flatten)]
    entry: &'a Entry,
}

/// The version alone, which is looked at first.
#[derive(Deserialize)]
struct Head {
    #[serde(rename = "schema")]
    _schema: Schema,
}

/// Stands for [`SCHEMA`].
struct Schema;

impl Entry {
    /// Its JSON, in one line.
    ///
    /// # Errors
    /// None that is known of.
    pub fn to_json(&self) -> Result<Vec<u8>, InvalidEntry> {
        Ok(serde_json::to_vec(&Written { schema: Schema, entry: self })?)
    }

    /// Reads an entry of any minor version.
    ///
    /// # Errors
    /// If it is none, or of another major version.
    pub fn from_json(bytes: &[u8]) -> Result<Self, InvalidEntry> {
        serde_json::from_slice::<Head>(bytes)?;
        Ok(serde_json::from_slice(bytes)?)
    }

    /// What it is counted once by.
    pub fn id(&self) -> &str {
        match self {
            Self::Request(request) => &request.id,
            Self::Gap(gap) => &gap.id,
        }
    }
}

impl Request {
    /// Clips what a client or an upstream can make long.
    #[must_use]
    pub fn bounded(mut self) -> Self {
        let names = [&mut self.trace_id, &mut self.namespace, &mut self.token, &mut self.key_id, &mut self.session];
        let more = [&mut self.route, &mut self.operation, &mut self.model, &mut self.error];
        names.into_iter().chain(more).flatten().for_each(|text| clip(text, MAX_NAME_CHARS));
        self.message.iter_mut().for_each(|text| clip(text, MAX_MESSAGE_CHARS));
        if let Some(Served { provider, upstream, model }) = &mut self.served {
            [provider, upstream, model].into_iter().for_each(|text| clip(text, MAX_NAME_CHARS));
        }
        let beyond = self.warnings.len().saturating_sub(MAX_WARNINGS);
        if beyond > 0 {
            self.warnings.truncate(MAX_WARNINGS - 1);
            self.warnings.push(format!("more;count={}", beyond + 1));
        }
        self.warnings.iter_mut().for_each(|text| clip(text, MAX_NAME_CHARS));
        self.join_attempts();
        self.attempts.iter_mut().for_each(Attempt::bound);
        self
    }

    /// Attempts beyond the bound become one, so that their sum stays.
    fn join_attempts(&mut self) {
        if self.attempts.len() <= MAX_ATTEMPTS {
            return;
        }
        let beyond = self.attempts.split_off(MAX_ATTEMPTS);
        let Some(last) = self.attempts.last_mut() else { return };
        for attempt in beyond {
            last.tokens.add(attempt.tokens);
            last.duration_ms = last.duration_ms.saturating_add(attempt.duration_ms);
            last.cost_nano = last.cost_nano.saturating_add(attempt.cost_nano);
            (last.status, last.error) = (attempt.status, attempt.error);
        }
    }
}

impl Attempt {
    fn bound(&mut self) {
        for text in [&mut self.upstream, &mut self.provider, &mut self.model] {
            clip(text, MAX_NAME_CHARS);
        }
        self.error.iter_mut().for_each(|text| clip(text, MAX_NAME_CHARS));
        self.price.iter_mut().for_each(|price| clip(&mut price.id, 2 * MAX_NAME_CHARS));
    }
}

impl Tokens {
    /// Adds another attempt's.
    pub fn add(&mut self, other: Self) {
        let sum = |a: Option<u64>, b: Option<u64>| match (a, b) {
            (None, None) => None,
            (a, b) => Some(a.unwrap_or(0).saturating_add(b.unwrap_or(0))),
        };
        self.input = sum(self.input, other.input);
        self.cache_read = sum(self.cache_read, other.cache_read);
        self.cache_write = sum(self.cache_write, other.cache_write);
        self.output = sum(self.output, other.output);
        self.reasoning = sum(self.reasoning, other.reasoning);
    }
}

impl From<Usage> for Tokens {
    fn from(usage: Usage) -> Self {
        let has_input = usage.input.is_some() || usage.cache_read.is_some() || usage.cache_write.is_some();
        let has_output = usage.output.is_some() || usage.reasoning.is_some();
        Self {
            input: has_input.then(|| usage.total_input()),
            cache_read: usage.cache_read,
            cache_write: usage.cache_write,
            output: has_output.then(|| usage.total_output()),
            reasoning: usage.reasoning,
        }
    }
}

impl PriceUsed {
    /// A price under this id.
    pub fn new(id: String, price: Price) -> Self {
        let Price { input, output, cached_input, cache_write } = price;
        Self { id, input, cache_read: cached_input, cache_write, output }
    }
}

impl GapReason {
    /// As it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::UncleanStop => "unclean_stop",
            Self::Unreadable => "unreadable",
            Self::QueueFull => "queue_full",
            Self::SpoolFull => "spool_full",
            Self::WriteFailed => "write_failed",
        }
    }
}

impl Serialize for Schema {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(SCHEMA)
    }
}

impl<'de> Deserialize<'de> for Schema {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        let version = text.strip_prefix(NAME).and_then(|version| version.split_once('.'));
        match version.and_then(|(major, minor)| Some((major.parse::<u32>().ok()?, minor.parse::<u32>().ok()?))) {
            Some((MAJOR, _)) => Ok(Self),
            Some(_) => Err(de::Error::custom(format_args!("its schema is {text}; this program reads {NAME}{MAJOR}.x"))),
            None => Err(de::Error::custom(format_args!("{:?} is no version of its schema", clipped(&text)))),
        }
    }
}

fn usd() -> String {
    "USD".to_owned()
}

fn clipped(text: &str) -> String {
    text.chars().take(64).collect()
}

fn clip(text: &mut String, chars: usize) {
    if let Some((end, _)) = text.char_indices().nth(chars) {
        text.truncate(end);
    }
}

#[cfg(test)]
pub(crate) mod tests;
