//! Every way in which a request can end before an answer, as facts with their words. Which status and shape the client
//! gets is decided in `respond`.

use std::{fmt, time::Duration};

use routeapi_metering::{Exceeded, ExceededKind};
use routeapi_protocol::{
    codec::Malformed, dialect::Operation, inbound::Unserved, report::Refusal as Field, stored::StoredKind,
};

use super::failure::Failure;
use crate::{
    limits::{Refused, StoreUnavailable},
    moment::Moment,
    service_accounts::InvalidToken,
};

/// What a client is told when no more bytes may be held.
pub(super) const BUFFERS_FULL: &str = "the gateway's buffer limit is reached; try again in a moment";

/// How every 401 begins: clients look for these words to tell their user about the key.
const INVALID_KEY: &str = "invalid API key";

/// Why there is no answer. Its text is what the client reads: for a person, without secrets and prompts.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refusal {
    /// Nothing is served at this path.
    #[error("{}", NoPath(*.meant))]
    NoSuchPath {
        /// What was most likely meant.
        meant: Option<&'static str>,
    },
    /// The client wants to leave HTTP where only HTTP is spoken.
    #[error("no WebSocket is served at this path; send an ordinary HTTP request")]
    NoWebSocket,
    /// Only a WebSocket is served at this path.
    #[error("only a WebSocket is served at this path: send an upgrade handshake (RFC 6455, version 13) over HTTP/1.1")]
    UpgradeRequired,
    /// The vendor has it, and this gateway does not.
    #[error("{} not served by this gateway: {}", .0.what, .0.why)]
    NotServed(Unserved),
    /// The path exists for other methods.
    #[error("method not allowed; use {allow}")]
    MethodNotAllowed {
        /// For the `Allow` header.
        allow: &'static str,
    },
    /// This process has no configuration yet.
    #[error("the gateway has no configuration yet; try again in a moment")]
    NotConfigured,
    /// No credential was sent.
    #[error("{INVALID_KEY}: none was sent; use Authorization: Bearer, x-api-key, x-goog-api-key or ?key=")]
    NoToken,
    /// The upstream wants the caller's own credential at the vendor, and none came.
    #[error(
        "{INVALID_KEY}: AIProvider {provider} is called with your own credential; send it in {headers}, and the gateway's \
         key in x-routeapi-key"
    )]
    NoClientCredential {
        /// `namespace/name`
        provider: String,
        /// The headers that it may stand in.
        headers: String,
    },
    /// It is not a token that this gateway knows.
    #[error("{INVALID_KEY}: it is not known to this gateway; it may have been deleted or belong to another one")]
    UnknownToken,
    /// It looks like a minted token, but its checksum does not fit.
    #[error("{INVALID_KEY}: it is damaged; its checksum does not match, so a character was lost or changed in copying")]
    MistypedToken,
    /// A ServiceAccount token that does not count.
    #[error("{}", NotVerified(*.0))]
    ServiceAccountToken(InvalidToken),
    /// A ServiceAccount that no ApiToken names.
    #[error("no ApiToken in its namespace lists ServiceAccount {account} in spec.subjects")]
    NoTokenForServiceAccount {
        /// `namespace/name`
        account: String,
    },
    /// The ApiToken's time is over.
    #[error("{INVALID_KEY}: ApiToken {token} expired at {}", Moment(*since))]
    TokenExpired {
        /// `namespace/name`
        token: String,
        /// Seconds since 1970.
        since: i64,
    },
    /// This value was replaced by a rotation and its overlap is over.
    #[error(
        "{INVALID_KEY}: this key of ApiToken {token} was replaced by a newer one; read it again from the token's Secret"
    )]
    KeyRotatedOut {
        /// `namespace/name`
        token: String,
    },
    /// Switched off by whoever owns it.
    #[error("ApiToken {token} is suspended")]
    TokenSuspended {
        /// `namespace/name`
        token: String,
    },
    /// More bytes than allowed, before or after decompression.
    #[error("the request body is larger than {limit} bytes")]
    BodyTooLarge {
        /// Allowed bytes.
        limit: usize,
    },
    /// The client stopped sending.
    #[error("no part of the request body came for {after:?}")]
    BodyStalled {
        /// How long it was waited for.
        after: Duration,
    },
    /// The body took too long in all.
    #[error("the request body was not complete after {within:?}")]
    BodySlow {
        /// How long it may take.
        within: Duration,
    },
    /// The connection broke while the body was read.
    #[error("the connection broke while the request body was read")]
    BodyBroken,
    /// A content encoding that is not undone here.
    #[error("content-encoding {encoding:?} is not supported: send gzip, zstd, br or none")]
    UnknownEncoding {
        /// As sent.
        encoding: String,
    },
    /// The body is no JSON, and says so.
    #[error("content-type {content_type:?} is not supported here: send application/json")]
    UnknownContentType {
        /// As sent, without parameters.
        content_type: String,
    },
    /// The body is not what its content encoding says.
    #[error("the request body is not valid {expected}, though content-encoding says so")]
    BadEncoding {
        /// What content-encoding makes it.
        expected: &'static str,
    },
    /// Not legal in the client's dialect.
    #[error("{}", Placed(.0))]
    Malformed(Malformed),
    /// No route has this model, or none that this token may see.
    #[error("the model {model:?} does not exist or you do not have access to it; GET /v1/models lists yours")]
    UnknownModel {
        /// As the client wrote it.
        model: String,
    },
    /// It names a stored response or conversation that was not issued to this token by an upstream of the model's route.
    #[error("{}", NothingStored { kind: *kind, id, is_subject: *is_subject })]
    UnknownStored {
        /// Which of them.
        kind: StoredKind,
        /// As the client wrote it, clipped.
        id: String,
        /// Whether the call is about it; otherwise it is a request that goes on from it.
        is_subject: bool,
    },
    /// The token's list does not hold this model.
    #[error("ApiToken {token} may not use the model {model:?}: its models list does not hold it")]
    ModelNotAllowed {
        /// As the client wrote it.
        model: String,
        /// `namespace/name`
        token: String,
    },
    /// None of the providers offers the model to this route.
    #[error(
        "the model {model:?} is not offered to AIRoute {route}: the models list of its AIProvider does not hold it"
    )]
    ModelNotOffered {
        /// `namespace/name`
        route: String,
        /// As the client wrote it.
        model: String,
    },
    /// The token has a spend limit, and what the model costs is not known.
    #[error(
        "ApiToken {token} may not use the model {model:?}: no price is known of it, so its spend limit would not hold; \
         set a price in the AIProvider's models, or unpricedModels: Allow in the ApiToken"
    )]
    Unpriced {
        /// `namespace/name`
        token: String,
        /// As the client wrote it.
        model: String,
    },
    /// A limit leaves no room.
    #[error("{}", Limit(.0))]
    LimitReached(Exceeded),
    /// It cannot be told whether the limits leave room.
    #[error("the gateway cannot check the limits of this token at the moment; try again")]
    LimitStoreUnavailable(StoreUnavailable),
    /// The route has no upstream to ask, until somebody corrects an object.
    #[error("AIRoute {route} is not ready: {why}")]
    RouteBroken {
        /// `namespace/name`
        route: String,
        /// In general words: details are for whoever may read the object, not for every client.
        why: &'static str,
    },
    /// No upstream has what the request needs.
    #[error("no upstream of AIRoute {route} can do what this request needs: {needs}")]
    NotCapable {
        /// `namespace/name`
        route: String,
        /// What is needed.
        needs: String,
    },
    /// No upstream can be reached from this API.
    #[error("{} not available for this model ({})", operation.called(), upstreams.join("; "))]
    NoLane {
        /// The client's API.
        operation: Operation,
        /// Each upstream and why not.
        upstreams: Vec<String>,
    },
    /// A field that no usable upstream can express.
    #[error("{field} (upstream {upstream})")]
    FieldRefused {
        /// Which and why.
        field: Field,
        /// The upstream that cannot.
        upstream: String,
    },
    /// Every upstream asked to be left alone for a while.
    #[error("all upstreams of AIRoute {route} are rate-limiting; try again in {} s", wait.as_secs_f64().ceil())]
    CoolingDown {
        /// `namespace/name`
        route: String,
        /// Until the first may be asked again.
        wait: Duration,
    },
    /// An upstream failed, and no other could take over.
    #[error("{}", .0.problem.message)]
    Upstream(Box<Failure>),
    /// The process holds as many bytes as it may.
    #[error("{BUFFERS_FULL}")]
    BuffersFull,
    /// What the request uses could not be recorded, and the gateway was told to refuse it then.
    #[error("the gateway cannot record usage at the moment; try again")]
    LedgerFull,
    /// No thread was free to read a large request in time.
    #[error("the gateway is busy with other large requests; try again in a moment")]
    Busy,
    /// The process ends.
    #[error("the gateway is shutting down; try again")]
    ShuttingDown,
    /// The request's own task panicked.
    #[error("the gateway failed on this request; the other requests are not affected")]
    Panicked,
}

impl Refusal {
    /// What a log may say of it: nothing that could quote a prompt.
    pub(super) fn log_message(&self) -> String {
        match self {
            Self::Malformed(malformed) => match &malformed.field {
                Some(field) => format!("the request body is not legal at {field}"),
                None => "the request body is not legal".to_owned(),
            },
            Self::Upstream(failure) => failure.log_message(),
            Self::LimitStoreUnavailable(unavailable) => unavailable.to_string(),
            other => other.to_string(),
        }
    }
}

impl From<Refused> for Refusal {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Exceeded(exceeded) => Self::LimitReached(exceeded),
            Refused::StoreUnavailable(unavailable) => Self::LimitStoreUnavailable(unavailable),
        }
    }
}

/// Why a ServiceAccount token does not count, with the words of every 401 unless it may count later.
struct NotVerified(InvalidToken);

impl fmt::Display for NotVerified {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            InvalidToken::IssuerUnknown => write!(out, "{}", self.0),
            why => write!(out, "{INVALID_KEY}: {why}"),
        }
    }
}

/// What is wrong with a body, with the place in front: not every dialect has a member of its own for it.
struct Placed<'a>(&'a Malformed);

impl fmt::Display for Placed<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Malformed { field, message } = self.0;
        match field.as_deref().filter(|field| !message.contains(field)) {
            Some(field) => write!(out, "{field}: {message}"),
            None => out.write_str(message),
        }
    }
}

/// A path without anything behind it, in words.
struct NoPath(Option<&'static str>);

impl fmt::Display for NoPath {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(meant) => write!(out, "there is nothing at this path; {meant} is served: check the client's base URL"),
            None => out.write_str("there is nothing at this path; GET /v1/models lists the models this gateway serves"),
        }
    }
}

/// Something stored that is not there, as OpenAI says it: clients look for these words.
struct NothingStored<'a> {
    kind: StoredKind,
    id: &'a str,
    is_subject: bool,
}

impl fmt::Display for NothingStored<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match (self.kind, self.is_subject) {
            (StoredKind::Conversation, _) => "Conversation",
            (StoredKind::Response, true) => "Response",
            (StoredKind::Response, false) => "Previous response",
        };
        write!(
            out,
            "{what} with id '{}' not found. An id holds for the API key that it was issued to, and only while its \
             upstream serves the model",
            self.id
        )
    }
}

/// A limit that leaves no room, in words.
struct Limit<'a>(&'a Exceeded);

impl fmt::Display for Limit<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Exceeded { limit, kind, cap, retry_after_ms, requested, .. } = self.0;
        match kind {
            ExceededKind::Concurrency => write!(out, "{cap} requests of this token are in flight already ({limit})")?,
            ExceededKind::Requests => write!(out, "limit {limit:?} of this token is reached: {cap} requests")?,
            ExceededKind::Tokens => write!(out, "limit {limit:?} of this token is reached: {cap} tokens")?,
            ExceededKind::Spend => {
                let (dollars, nanos) = (cap / 1_000_000_000, cap % 1_000_000_000);
                write!(out, "limit {limit:?} of this token is reached: {dollars}.{nanos:09} USD")?;
            }
        }
        if let Some(requested) = requested {
            let unit = if *kind == ExceededKind::Spend { "billionths of a US dollar" } else { "tokens" };
            return write!(out, "; this request may use {requested} {unit}: ask for fewer or shorter answers");
        }
        match retry_after_ms {
            None if *cap == 0 => out.write_str("; it has room for no request"),
            Some(millis) => write!(out, "; there is room again in {} s", millis.div_ceil(1_000)),
            None => write!(out, "; there is room again when requests in flight have ended"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusal_messages_are_readable() {
        let spend = Exceeded {
            limit: "daily".into(),
            kind: ExceededKind::Spend,
            cap: 2_500_000_000,
            left: 0,
            retry_after_ms: None,
            requested: None,
        };
        let text = Refusal::LimitReached(spend).to_string();
        assert!(text.contains("\"daily\"") && text.contains("2.500000000 USD"), "{text}");
        let expired = Refusal::TokenExpired { token: "a/b".into(), since: 0 }.to_string();
        assert_eq!(expired, "invalid API key: ApiToken a/b expired at 1970-01-01T00:00:00Z");
        let pause = Refusal::CoolingDown { route: "a/r".into(), wait: Duration::from_millis(1_200) }.to_string();
        assert!(pause.ends_with("try again in 2 s"), "{pause}");
    }

    #[test]
    fn missing_api_is_called_what_its_vendor_calls_it() {
        let counting =
            Refusal::NoLane { operation: Operation::MessagesCountTokens, upstreams: vec!["vllm: why".into()] };
        assert_eq!(counting.to_string(), "token counting is not available for this model (vllm: why)");
        let embeddings = Refusal::NoLane { operation: Operation::EmbedContent, upstreams: vec!["u: why".into()] };
        assert_eq!(embeddings.to_string(), "embeddings are not available for this model (u: why)");
    }

    #[test]
    fn malformed_body_error_names_the_field() {
        let at = |field: Option<&str>, message: &str| {
            let field = field.map(str::to_owned);
            Refusal::Malformed(Malformed { field, message: message.to_owned() }).to_string()
        };
        assert_eq!(at(Some("messages[0].role"), "is required"), "messages[0].role: is required");
        assert_eq!(at(Some("model"), "`model` is empty"), "`model` is empty");
        assert_eq!(at(None, "not JSON"), "not JSON");
    }
}
