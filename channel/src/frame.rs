//! The lines of the configuration stream: `POST /v1/config` over HTTP/2 and TLS, one JSON object per line each way.
//!
//! ```text
//! → hello   the revision that the data plane has
//! ← list    only if the operator does not know that revision: which resources is it?
//! → held …  its resources, in parts
//! ← begin   a transaction, with the revision it starts from
//! ← put …   ← del …
//! ← commit  the resulting revision
//! → ack     it is in force            or   → nack   it is in force except for these resources
//! ↔ ping / pong
//! ```
//!
//! A transaction is applied as a whole at `commit`. A resource that cannot be used is reported in a `nack` and its previous
//! version stays in force; the rest of the transaction still applies.
//!
//! Within a connection, differences are computed from what was *sent*, rejected resources included, so that both sides
//! compute the same revision; a `hello` names what is *in force*, so that rejected resources are sent again after a
//! reconnect.
//!
//! No line grows with the configuration: lists are sent in parts, and a resource whose line would be longer than
//! [`MAX_LINE`] is not sent at all (its object's status reports it).
//!
//! Additions after version 1 are features. The operator lists its own in [`FEATURES_HEADER`] of its response, before the
//! data plane sends hello; the data plane lists its own in [`Hello::features`]. Neither side uses what the other does not
//! support: an older data plane lists its resources in its hello and gets no [`Kind::Namespace`] and no selectors; an older
//! operator gets a version 1 hello.
//!
//! In addition, unknown input from a newer version does little harm: a frame with an unknown name is skipped ([`read`]), an
//! unknown member of a frame is ignored, and a resource of an unknown kind, or with an unknown field, is rejected without
//! affecting others. Every form of a line that was ever sent is recorded in `golden/v1`.

use std::{collections::BTreeMap, sync::Arc};

use serde::{
    Deserialize, Serialize,
    de::{DeserializeOwned, IgnoredAny},
};
use serde_json::value::RawValue;

use crate::{
    catalog::{Key, Kind, Revision, Unreadable, Version},
    service_account::ServiceAccountIssuer,
    snapshot::{ObjectId, Secret},
};

/// HTTP path of the stream.
pub const PATH: &str = "/v1/config";

/// The audience that a data plane's ServiceAccount token must have.
pub const AUDIENCE: &str = "routeapi-config";

/// The protocol version in [`Hello::v`]. An operator refuses others.
pub const PROTOCOL: u32 = 1;

/// Maximum length of a line in bytes, in both directions. The largest object that etcd stores has 1.5 MiB, and its references
/// add certificates.
pub const MAX_LINE: usize = 4 << 20;

/// Header of the operator's response with the features it supports, separated by commas.
pub const FEATURES_HEADER: &str = "routeapi-features";

/// Feature of a data plane: [`Kind::Namespace`] and selectors in routes.
pub const FEATURE_NAMESPACES: &str = "namespaces";

/// Feature of both: `hello` may omit `held`, which is then requested with `list`.
pub const FEATURE_LIST: &str = "list";

/// Feature of an operator: a `nack` may be sent in parts.
pub const FEATURE_NACK_PARTS: &str = "nack-parts";

/// Feature of an operator: it accepts [`FromDataPlane::Credentials`].
pub const FEATURE_CREDENTIALS: &str = "credentials";

/// Feature of a data plane: it accepts [`FromOperator::ResponseIdKeys`].
pub const FEATURE_RESPONSE_IDS: &str = "response-ids";

/// Feature of a data plane: it accepts [`FromOperator::ServiceAccountIssuer`].
pub const FEATURE_SERVICE_ACCOUNTS: &str = "service-accounts";

/// Maximum number of entries in one `held`, `nack` or `credentials` line. Keys have at most 317 bytes and messages at most
/// [`MAX_REFUSAL`], so a line stays far below [`MAX_LINE`].
pub const PART: usize = 500;

/// Maximum length of the message of one rejected resource in bytes.
pub const MAX_REFUSAL: usize = 1024;

/// A data plane with more resources than this does not list them, and gets everything again. A list of this many takes the
/// operator about 40 MiB.
pub const MAX_LISTED: usize = 200_000;

/// A line of the stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Line<F> {
    /// A frame that this version knows.
    Frame(F),
    /// A frame of a newer version, by name. It is skipped.
    Unknown(String),
}

/// The frames of one direction.
pub trait Frame: DeserializeOwned {
    /// The names of the frames: the only member of their line.
    const NAMES: &[&str];
}

/// Reads a line.
///
/// # Errors
/// When it is not a frame: not JSON, not an object with exactly one member, or a known name with invalid content.
pub fn read<F: Frame>(line: &[u8]) -> Result<Line<F>, serde_json::Error> {
    let error = match serde_json::from_slice(line) {
        Ok(frame) => return Ok(Line::Frame(frame)),
        Err(error) => error,
    };
    // Only a line that is not a known frame is parsed twice.
    match serde_json::from_slice::<BTreeMap<String, IgnoredAny>>(line) {
        Ok(members) if members.len() == 1 => match members.into_keys().next() {
            Some(name) if !F::NAMES.contains(&name.as_str()) => Ok(Line::Unknown(name)),
            _ => Err(error),
        },
        _ => Err(error),
    }
}

/// Frames from a data plane.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum FromDataPlane {
    /// The first line.
    Hello(Hello),
    /// This state is in force, completely.
    Ack {
        /// The committed state.
        revision: Revision,
    },
    /// This state is in force except for the listed resources.
    Nack {
        /// The committed state.
        revision: Revision,
        /// The rejected resources with the reason, at most [`PART`].
        errors: Vec<Unreadable>,
        /// Whether another part follows.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        more: bool,
    },
    /// Response to `list`.
    Held {
        /// Some of the resources in force, at most [`PART`].
        items: Vec<Held>,
        /// Whether another part follows.
        more: bool,
    },
    /// The providers whose keys are rejected now; replaces the previous list. Sent after the first commit, to an operator that
    /// supports [`FEATURE_CREDENTIALS`], and at most once a second when it changes.
    Credentials {
        /// At most [`PART`].
        rejected: Vec<RejectedKey>,
    },
    /// Response to a ping.
    Pong {},
}

/// A provider whose key the vendor rejects, or whose identity gets no token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RejectedKey {
    /// The provider.
    pub provider: ObjectId,
    /// HTTP status of the rejection. Of the vendor: 401 or 403. Of whoever issues tokens for an identity: any, and 0 if it was
    /// not asked.
    pub status: u16,
    /// Time of the first rejection in seconds since 1970.
    pub since: i64,
    /// The words of whoever issues tokens, if the provider's identity gets none; at most [`MAX_REFUSAL`] bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// Frames from the operator.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum FromOperator {
    /// A transaction starts.
    Begin {
        /// The revision that `commit` will name.
        revision: Revision,
        /// The revision that the changes apply to; none: everything follows.
        base: Option<Revision>,
        /// Number of `put` and `del` lines that follow.
        count: usize,
        /// The highest resourceVersion that this operator has seen, by plural name of the kind. A data plane that has a higher
        /// one from another replica ignores this state for a while, so that a lagging replica cannot bring a revoked token
        /// back.
        #[serde(default)]
        floor: BTreeMap<String, u64>,
    },
    /// A new or changed resource.
    Put {
        /// Kind of the resource.
        t: Kind,
        /// The object it was compiled from.
        id: ObjectId,
        /// Hash of `body`.
        v: Version,
        /// The resource.
        body: Arc<RawValue>,
    },
    /// A removed resource.
    Del {
        /// Kind of the resource.
        t: Kind,
        /// The object it was compiled from.
        id: ObjectId,
    },
    /// The transaction is complete.
    Commit {
        /// The resulting revision.
        revision: Revision,
    },
    /// The number of data planes that share every token's limits, and the rank of this one. Sent after the first commit and
    /// whenever it changes. With `pods` = n, the data plane of rank r enforces ⌊cap/n⌋, plus one if r < cap mod n, so
    /// the shares add up to the cap exactly.
    Fleet {
        /// Connected data planes, this one included; at least 1.
        pods: u32,
        /// From 0; unique among them.
        rank: u32,
    },
    /// The keys that authenticate ids of stored responses, the same for every data plane: ids are issued with the first and
    /// accepted with any. Sent before the first transaction and whenever they change, to a data plane that supports
    /// [`FEATURE_RESPONSE_IDS`].
    ResponseIdKeys {
        /// At least one; never shown or logged.
        keys: Vec<Secret>,
    },
    /// Who issues the cluster's ServiceAccount tokens, which [`crate::snapshot::Token::service_accounts`] call with; replaces
    /// what was sent before. Sent before the first transaction and whenever it changes, to a data plane that supports
    /// [`FEATURE_SERVICE_ACCOUNTS`]. An operator that does not know it sends nothing, and the data plane keeps what it has: it is
    /// no resource, so that an operator that starts without its API server takes nothing away.
    ServiceAccountIssuer(ServiceAccountIssuer),
    /// Requests the resources of the revision in hello, which the operator does not know. Sent before the first transaction,
    /// to a data plane that supports [`FEATURE_LIST`] and omitted the list.
    List {},
    /// Sent every ten seconds.
    Ping {},
}

/// Who connects, and the state it has.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Hello {
    /// Protocol version: [`PROTOCOL`].
    pub v: u32,
    /// Pod name, for messages. The pod is identified by its token, not by this.
    pub pod: String,
    /// Unique for each start of the process.
    pub instance: String,
    /// The revision in force; none at the first start.
    #[serde(default)]
    pub revision: Option<Revision>,
    /// Key and version of each resource in force, so that only differences are sent. Empty if `revision` is none, or if both
    /// sides support [`FEATURE_LIST`].
    #[serde(default)]
    pub held: Vec<Held>,
    /// The features that this data plane supports.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub features: Vec<String>,
    /// `floor` of the transaction that brought the state in force.
    #[serde(default)]
    pub floor: BTreeMap<String, u64>,
}

impl Frame for FromDataPlane {
    const NAMES: &[&str] = &["hello", "ack", "nack", "held", "credentials", "pong"];
}

impl Frame for FromOperator {
    const NAMES: &[&str] =
        &["begin", "put", "del", "commit", "fleet", "responseIdKeys", "serviceAccountIssuer", "list", "ping"];
}

impl Hello {
    /// Whether this data plane supports a feature.
    pub fn knows(&self, feature: &str) -> bool {
        self.features.iter().any(|known| known == feature)
    }
}

/// One resource that a data plane has in force.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Held {
    /// The resource.
    #[serde(flatten)]
    pub key: Key,
    /// Its version.
    pub v: Version,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_body_of_a_put_line_is_not_reformatted() {
        let line = r#"{"put":{"t":"token","id":"shop/checkout","v":"00ff","body":{"b":1.0,"a":9007199254740993}}}"#;
        let frame: FromOperator = serde_json::from_str(line).unwrap();
        assert_eq!(serde_json::to_string(&frame).unwrap(), line);
    }

    #[test]
    fn full_parts_stay_below_the_maximum_line_length() {
        let id = ObjectId::new("n".repeat(63), "o".repeat(253));
        let key = Key { kind: Kind::Namespace, id };
        let body: Arc<RawValue> = RawValue::from_string("{}".to_owned()).unwrap().into();
        let v = crate::Entry::new(body).version;
        let held = Held { key: key.clone(), v: v.clone() };
        let error = Unreadable { key, message: "\u{1}".repeat(MAX_REFUSAL) };
        let nack = FromDataPlane::Nack {
            revision: crate::Catalog::default().revision(),
            errors: vec![error; PART],
            more: true,
        };
        let parts = [FromDataPlane::Held { items: vec![held; PART], more: true }, nack];
        assert!(parts.iter().all(|part| serde_json::to_vec(part).unwrap().len() < MAX_LINE));
    }

    #[test]
    fn a_minimal_hello_is_valid() {
        let line = r#"{"hello":{"v":1,"pod":"p","instance":"i"}}"#;
        let FromDataPlane::Hello(hello) = serde_json::from_str(line).unwrap() else { panic!("not a hello") };
        assert!(hello.revision.is_none() && hello.held.is_empty());
    }
}
