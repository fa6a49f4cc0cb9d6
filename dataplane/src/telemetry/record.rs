//! One request as it is told to the outside: its usage record, and the HTTP facts around it.
//!
//! Field names are an interface: logs are queried by them. Nothing here holds a prompt, an answer or a secret; the path
//! comes without its query.

use std::sync::Arc;

use routeapi_metering::UsageRecord;
use serde::Serialize;

/// A finished request.
#[derive(Clone, Debug, Serialize)]
pub struct RequestRecord {
    /// What it used and how it ended.
    #[serde(flatten)]
    pub usage: UsageRecord,
    /// Address of whoever connected, or what its PROXY header says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peer: Option<String>,
    /// The client's address, behind trusted proxies the one that they forward (OpenTelemetry's `client.address`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_address: Option<String>,
    /// `User-Agent` (OpenTelemetry's `user_agent.original`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_agent_original: Option<Box<str>>,
    /// The person that the app says it acts for (OpenTelemetry's `enduser.id`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enduser_id: Option<Box<str>>,
    /// The pod that called with its ServiceAccount token (OpenTelemetry's `k8s.pod.name`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub k8s_pod_name: Option<Box<str>>,
    /// HTTP method.
    pub method: String,
    /// Path without query.
    pub path: String,
    /// The trace it belongs to, if the client was in one (W3C Trace Context).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trace_id: Option<String>,
    /// Our span in that trace.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub span_id: Option<String>,
    /// Bytes of answer body handed over.
    pub response_bytes: u64,
    /// Request fields that were changed or dropped, as in `x-routeapi-warnings`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    /// What went wrong, in the gateway's words: an upstream's own can quote a prompt.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// Members were left out or cut, because the whole would be too long for a log line.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub truncated: bool,
}

/// Takes finished requests. Called once per request on the request's own task, so it must neither block nor fail.
pub trait RecordSink: Send + Sync {
    /// Takes one.
    fn record(&self, record: &Arc<RequestRecord>);

    /// Whether requests have to be refused, because their records could not be kept.
    fn is_refusing(&self) -> bool {
        false
    }
}

/// The error of requests that were refused because of [`RecordSink::is_refusing`].
pub const LEDGER_FULL: &str = "ledger_full";

/// Every sink in turn.
impl RecordSink for Vec<Arc<dyn RecordSink>> {
    fn record(&self, record: &Arc<RequestRecord>) {
        for sink in self {
            sink.record(record);
        }
    }

    fn is_refusing(&self) -> bool {
        self.iter().any(|sink| sink.is_refusing())
    }
}
