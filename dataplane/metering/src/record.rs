//! The one schema in which usage leaves the process: log, metrics and ledger all read this.

use serde::Serialize;

use crate::{Nanos, UnixMillis, Usage};

/// How a request ended, seen from the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The whole answer was handed over, be it a success or an upstream's refusal.
    Completed,
    /// The client went away first.
    ClientCancelled,
    /// No upstream could answer, or the answer broke off.
    UpstreamFailed,
    /// A limit, a revoked or an expired token ended it.
    LimitStopped,
    /// The gateway ended it: shutdown, timeout of the whole request, or a fault of its own.
    GatewayStopped,
}

/// Where the token counts come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum UsageSource {
    /// The upstream said so, as far as its answer went.
    Reported,
    /// Counted from what was delivered, because the upstream's report did not come.
    Counted,
    /// Guessed from sizes, because nothing better is known.
    Estimated,
    /// Nothing was used.
    None,
}

/// One request, whatever became of it.
#[derive(Clone, Debug, Serialize)]
pub struct UsageRecord {
    /// The request's id, unique; a ledger that sees it twice counts it once.
    pub id: String,
    /// When the request arrived.
    pub time_unix_ms: UnixMillis,
    /// Milliseconds from arrival to settlement.
    pub duration_ms: u64,
    /// Milliseconds from arrival to the first content, if any came.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_content_ms: Option<u64>,
    /// `namespace/name` of the ApiToken, if one was identified.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
    /// Which of its keys.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key_id: Option<String>,
    /// `namespace/name` of the AIRoute, if one matched.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub route: Option<String>,
    /// The model id as the client wrote it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// The client's operation, such as `chat_completions`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub operation: Option<&'static str>,
    /// Whether the client wanted a stream.
    pub stream: bool,
    /// The HTTP status that went to the client; 0 if it left before any.
    pub status: u16,
    /// How it ended.
    pub outcome: Outcome,
    /// Why, where it did not end well: a word from a closed set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<&'static str>,
    /// All attempts together.
    pub usage: Usage,
    /// Where the counts come from: the weakest source among the attempts that used something.
    pub usage_source: UsageSource,
    /// Cost of all attempts together, in nano-dollars.
    pub cost_nano_usd: Nanos,
    /// Each upstream tried, in order.
    pub attempts: Vec<AttemptRecord>,
}

/// One try at one upstream.
#[derive(Clone, Debug, Serialize)]
pub struct AttemptRecord {
    /// Its name in the route.
    pub upstream: String,
    /// `namespace/name` of its AIProvider.
    pub provider: String,
    /// The model id sent to it.
    pub model: String,
    /// The status it answered, if it did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// Why it did not serve: a word from a closed set; none for the one that did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<&'static str>,
    /// Milliseconds it took.
    pub duration_ms: u64,
    /// What it used.
    pub usage: Usage,
    /// Where the counts come from.
    pub usage_source: UsageSource,
    /// Its cost, in nano-dollars.
    pub cost_nano_usd: Nanos,
}
