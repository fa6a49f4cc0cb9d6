//! The one schema in which usage leaves the process: log, metrics and ledger all read this.
//!
//! A record is written by one version of this program and may be read back by another. Members that a reader does not
//! know are ignored; members that a writer did not have are absent, or zero.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use crate::{Nanos, Price, UnixMillis, Usage};

/// How a request ended, seen from the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
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
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
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
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UsageRecord {
    /// The request's id, unique; a ledger that sees it twice counts it once.
    pub id: String,
    /// When the request arrived.
    pub time_unix_ms: UnixMillis,
    /// Milliseconds from arrival to settlement.
    #[serde(default)]
    pub duration_ms: u64,
    /// Milliseconds from arrival to the first content, if any came.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_content_ms: Option<u64>,
    /// `namespace/name` of the ApiToken, if one was identified.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
    /// Which of its keys.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_id: Option<String>,
    /// `namespace/name` of the AIRoute, if one matched.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub route: Option<String>,
    /// The model id as the client wrote it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// The client's operation, such as `chat_completions`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operation: Option<Cow<'static, str>>,
    /// Whether the client wanted a stream.
    #[serde(default)]
    pub stream: bool,
    /// The HTTP status that went to the client; 0 if it left before any.
    #[serde(default)]
    pub status: u16,
    /// How it ended.
    pub outcome: Outcome,
    /// Why, where it did not end well: a code from a closed set, which newer versions add to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<Cow<'static, str>>,
    /// All attempts together.
    #[serde(default)]
    pub usage: Usage,
    /// Where the counts come from: the weakest source among the attempts that used something.
    pub usage_source: UsageSource,
    /// Where its session stays; none if the route has no affinity or the client named no session.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub affinity: Option<Affinity>,
    /// Cost of all attempts together, in nano-dollars.
    #[serde(default)]
    pub cost_nano_usd: Nanos,
    /// Each upstream tried, in order.
    #[serde(default)]
    pub attempts: Vec<AttemptRecord>,
}

/// Where the session of a request stays. The session itself is not recorded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Affinity {
    /// What named the session: a header, or a member of the body.
    pub key: Cow<'static, str>,
    /// The upstream that the session belongs to.
    pub upstream: String,
    /// Whether the last attempt was made there.
    pub kept: bool,
    /// The first bits of a hash of its name and its token, for the ledger alone.
    #[serde(skip)]
    pub session: u64,
}

/// One try at one upstream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttemptRecord {
    /// Its name in the route.
    pub upstream: String,
    /// `namespace/name` of its AIProvider.
    pub provider: String,
    /// The model id sent to it.
    pub model: String,
    /// The status it answered, if it did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// Why it did not serve: a code from a closed set, which newer versions add to; none for the one that did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<Cow<'static, str>>,
    /// Milliseconds it took.
    #[serde(default)]
    pub duration_ms: u64,
    /// What it used.
    #[serde(default)]
    pub usage: Usage,
    /// Where the counts come from.
    pub usage_source: UsageSource,
    /// Its cost, in nano-dollars.
    #[serde(default)]
    pub cost_nano_usd: Nanos,
    /// The price that was used, for the ledger alone: it would make every line of the log longer.
    #[serde(skip)]
    pub price: Option<Price>,
}

#[cfg(test)]
mod tests;
