//! The lines of the configuration stream: `POST /v1/config` over HTTP/2 and TLS, one JSON object per line each way.
//!
//! ```text
//! → hello   the name of the state that the data plane holds
//! ← list    only if the operator does not know that state: what is in it?
//! → held …  its resources, in parts
//! ← begin   a transaction, with the state it starts from
//! ← put …   ← del …
//! ← commit  the name of the state that results
//! → ack     it is in force            or   → nack   it is in force but for these resources
//! ↔ ping / pong
//! ```
//!
//! A transaction is applied whole at `commit`. A resource that cannot be used is reported in a `nack` and its previous
//! version stays in force; everything else of the transaction still applies.
//!
//! Within a connection, differences count from what was *told*, refused resources included, so that both sides compute
//! the same revision; a `hello` names what is *in force*, so that after a reconnect refused resources come again.
//!
//! No line grows with the configuration: lists travel in parts, and a resource whose line would be longer than
//! [`MAX_LINE`] is not sent at all (its object says so).
//!
//! What was added after version 1 is a feature. The operator lists its own in [`FEATURES_HEADER`] of its answer, before
//! the data plane says hello; the data plane lists its own in [`Hello::features`]. Neither says what the other does not
//! know: an older data plane lists what it holds in its hello, gets no [`Kind::Namespace`] and no selectors, an older
//! operator gets a hello as it knows it.
//!
//! Beyond that, what a newer program says too much costs little: a frame of an unknown name is passed over ([`read`]), an
//! unknown member of a frame is ignored, and a resource of an unknown kind, or with a field that is not known, is refused
//! by itself. Every line that was ever sent stands in `golden/v1`.

use std::{collections::BTreeMap, sync::Arc};

use serde::{
    Deserialize, Serialize,
    de::{DeserializeOwned, IgnoredAny},
};
use serde_json::value::RawValue;

use crate::{
    catalog::{Key, Kind, Revision, Unreadable, Version},
    snapshot::ObjectId,
};

/// The path of the stream.
pub const PATH: &str = "/v1/config";

/// The audience that a data plane's ServiceAccount token must be issued for.
pub const AUDIENCE: &str = "routeapi-config";

/// The protocol version of [`Hello::v`]. A server refuses others.
pub const PROTOCOL: u32 = 1;

/// The longest line either side accepts, in bytes.
pub const MAX_LINE: usize = 4 << 20;

/// Header of the operator's answer: the features it knows, separated by commas.
pub const FEATURES_HEADER: &str = "routeapi-features";

/// Of a data plane: it knows [`Kind::Namespace`] and selectors in routes.
pub const FEATURE_NAMESPACES: &str = "namespaces";

/// Of both: `held` may be left out of `hello`, to be asked for with `list`.
pub const FEATURE_LIST: &str = "list";

/// Of an operator: a `nack` may come in parts.
pub const FEATURE_NACK_PARTS: &str = "nack-parts";

/// Of an operator: it takes [`FromDataPlane::Credentials`].
pub const FEATURE_CREDENTIALS: &str = "credentials";

/// Resources or refusals in one `held` or `nack` line at most. Names have at most 317 bytes and messages at most
/// [`MAX_REFUSAL`], so a line stays far below [`MAX_LINE`].
pub const PART: usize = 500;

/// The longest text of one refusal, in bytes.
pub const MAX_REFUSAL: usize = 1024;

/// A data plane that holds more resources than this does not list them: everything is sent to it again.
pub const MAX_LISTED: usize = 200_000;

/// A line of the stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Line<F> {
    /// One that this version knows.
    Frame(F),
    /// One of this name, which a newer version says. It is passed over.
    Unknown(String),
}

/// What one side says.
pub trait Frame: DeserializeOwned {
    /// The names of its frames.
    const NAMES: &[&str];
}

/// Reads a line.
///
/// # Errors
/// When it is no frame: not JSON, no object with one member, or a known name with members that do not fit.
pub fn read<F: Frame>(line: &[u8]) -> Result<Line<F>, serde_json::Error> {
    let error = match serde_json::from_slice(line) {
        Ok(frame) => return Ok(Line::Frame(frame)),
        Err(error) => error,
    };
    // Only a line that is no frame of ours is looked at twice.
    match serde_json::from_slice::<BTreeMap<String, IgnoredAny>>(line) {
        Ok(members) if members.len() == 1 => match members.into_keys().next() {
            Some(name) if !F::NAMES.contains(&name.as_str()) => Ok(Line::Unknown(name)),
            _ => Err(error),
        },
        _ => Err(error),
    }
}

/// What a data plane says.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum FromDataPlane {
    /// First line.
    Hello(Hello),
    /// This state is in force, complete.
    Ack {
        /// The committed state.
        revision: Revision,
    },
    /// This state is in force but for the resources listed.
    Nack {
        /// The committed state.
        revision: Revision,
        /// What was refused and why, [`PART`] at most.
        errors: Vec<Unreadable>,
        /// Whether another part follows.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        more: bool,
    },
    /// Answer to a `list`.
    Held {
        /// Some of what is held, [`PART`] at most.
        items: Vec<Held>,
        /// Whether another part follows.
        more: bool,
    },
    /// Which providers' keys are rejected now, in the place of what was said before. Said after the first commit, to an
    /// operator that knows [`FEATURE_CREDENTIALS`], and at most once a second when it changes.
    Credentials {
        /// [`PART`] at most.
        rejected: Vec<RejectedKey>,
    },
    /// Answer to a ping.
    Pong {},
}

/// A provider whose key its vendor rejects.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RejectedKey {
    /// The provider.
    pub provider: ObjectId,
    /// The status of the answer that rejected it: 401 or 403.
    pub status: u16,
    /// Since when, in seconds since 1970.
    pub since: i64,
}

/// What the operator says.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum FromOperator {
    /// A transaction starts.
    Begin {
        /// The state that `commit` will name.
        revision: Revision,
        /// The state the changes apply to; none means to nothing: everything follows.
        base: Option<Revision>,
        /// How many `put` and `del` lines follow.
        count: usize,
        /// The highest resourceVersion seen per kind by this operator. A data plane that has seen a higher one from
        /// another replica ignores this state for a while, so that a lagging replica cannot bring a revoked token back.
        #[serde(default)]
        floor: BTreeMap<String, u64>,
    },
    /// A new or changed resource.
    Put {
        /// Its kind.
        t: Kind,
        /// Its object.
        id: ObjectId,
        /// Hash of its body.
        v: Version,
        /// The resource.
        body: Arc<RawValue>,
    },
    /// A resource is gone.
    Del {
        /// Its kind.
        t: Kind,
        /// Its object.
        id: ObjectId,
    },
    /// The transaction is complete.
    Commit {
        /// The state that now holds.
        revision: Revision,
    },
    /// How many data planes share every token's limits, and which of them this one is. Sent after the first commit and
    /// whenever it changes. With `pods` = n, the data plane of rank r enforces ⌊cap/n⌋, plus one if r < cap mod n, so
    /// the shares add up to the cap exactly.
    Fleet {
        /// Connected data planes, this one included; at least 1.
        pods: u32,
        /// From 0, different for each.
        rank: u32,
    },
    /// The state that hello named is not known here: what is in it? Sent before the first transaction, to a data plane
    /// that knows [`FEATURE_LIST`] and left the list out.
    List {},
    /// Sent every ten seconds.
    Ping {},
}

/// Who connects and what it holds.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Hello {
    /// [`PROTOCOL`].
    pub v: u32,
    /// Pod name, for messages; the identity that counts is the token's.
    pub pod: String,
    /// Differs for each start of the process.
    pub instance: String,
    /// The state in force, none at first start.
    #[serde(default)]
    pub revision: Option<Revision>,
    /// Key and version of each resource held, so that only differences need to come. Empty if `revision` is none, or if
    /// both sides know [`FEATURE_LIST`].
    #[serde(default)]
    pub held: Vec<Held>,
    /// What this data plane knows beyond version 1.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub features: Vec<String>,
    /// The floors the state in force came with.
    #[serde(default)]
    pub floor: BTreeMap<String, u64>,
}

impl Frame for FromDataPlane {
    const NAMES: &[&str] = &["hello", "ack", "nack", "held", "credentials", "pong"];
}

impl Frame for FromOperator {
    const NAMES: &[&str] = &["begin", "put", "del", "commit", "fleet", "list", "ping"];
}

impl Hello {
    /// Whether this data plane knows a feature.
    pub fn knows(&self, feature: &str) -> bool {
        self.features.iter().any(|known| known == feature)
    }
}

/// One resource that a data plane holds.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Held {
    /// Which.
    #[serde(flatten)]
    pub key: Key,
    /// Hash of its body.
    pub v: Version,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_put_line_survives_the_wire_with_its_body_untouched() {
        let line = r#"{"put":{"t":"token","id":"shop/checkout","v":"00ff","body":{"b":1.0,"a":9007199254740993}}}"#;
        let frame: FromOperator = serde_json::from_str(line).unwrap();
        assert_eq!(serde_json::to_string(&frame).unwrap(), line);
    }

    #[test]
    fn parts_stay_below_the_longest_line() {
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
    fn a_hello_of_a_first_start_may_leave_out_what_it_does_not_have() {
        let line = r#"{"hello":{"v":1,"pod":"p","instance":"i"}}"#;
        let FromDataPlane::Hello(hello) = serde_json::from_str(line).unwrap() else { panic!("not a hello") };
        assert!(hello.revision.is_none() && hello.held.is_empty());
    }
}
