//! The lines of the configuration stream: `POST /v1/config` over HTTP/2 and TLS, one JSON object per line each way.
//!
//! ```text
//! → hello   what the data plane holds
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
//! the same revision; a `hello` lists what is *in force*, so that after a reconnect refused resources come again.

use std::{collections::BTreeMap, sync::Arc};

use serde::{Deserialize, Serialize};
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
        /// What was refused and why.
        errors: Vec<Unreadable>,
    },
    /// Answer to a ping.
    Pong {},
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
    /// Key and version of each resource held, so that only differences need to come. Empty if `revision` is none.
    #[serde(default)]
    pub held: Vec<Held>,
    /// The floors the state in force came with.
    #[serde(default)]
    pub floor: BTreeMap<String, u64>,
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
    fn a_hello_of_a_first_start_may_leave_out_what_it_does_not_have() {
        let line = r#"{"hello":{"v":1,"pod":"p","instance":"i"}}"#;
        let FromDataPlane::Hello(hello) = serde_json::from_str(line).unwrap() else { panic!("not a hello") };
        assert!(hello.revision.is_none() && hello.held.is_empty());
    }
}
