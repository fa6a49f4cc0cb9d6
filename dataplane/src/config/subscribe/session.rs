//! One data plane's side of the configuration stream as a state machine: frames and times in, effects out. No I/O.
//!
//! Keeps two states apart: what the operator *told*, by which its differences are counted, and what is *in force* here,
//! which lacks what had to be refused. A new connection starts from what is in force, so that refused resources come
//! again and are refused again, where someone can see it.
//!
//! No frame grows with the configuration: what is held is listed on request and in parts, and so are refusals. An operator
//! of the first version knows neither: it gets the list in the hello if that fits into a line, and is otherwise told that
//! nothing is held, so that everything comes again.
//!
//! Floor rule: a state whose floor (highest resourceVersion seen, by kind) is below the floor in force may come from an
//! operator replica that lags behind and would bring back a revoked token. It waits for
//! [`STALE_STATE_TIMEOUT`]; if nothing newer has come by then, it is taken (a restored etcd looks like that for good).

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use routeapi_channel::{
    Catalog, Entry, Key, Revision, ServiceAccountIssuer,
    catalog::Unreadable,
    frame::{
        FEATURE_LIST, FEATURE_NAMESPACES, FEATURE_RESPONSE_IDS, FEATURE_SERVICE_ACCOUNTS, FromDataPlane, FromOperator,
        Held, Hello, MAX_LINE, MAX_LISTED, MAX_REFUSAL, PART, PROTOCOL,
    },
    snapshot::Secret,
};
use routeapi_crds::condition;
use routeapi_metering::Share;

/// What a hello takes besides the list of what is held, at most.
const HELLO_BYTES: usize = 16 << 10;

/// How long a state below the floor has to wait.
pub const STALE_STATE_TIMEOUT: Duration = Duration::from_secs(30);

/// What an operator knows beyond the first version.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Features {
    /// It asks for the list of what is held, if it needs it.
    pub list: bool,
    /// It takes refusals in parts.
    pub nack_parts: bool,
    /// It is told of keys that are rejected.
    pub credentials: bool,
}

/// A frame that makes no sense where it came. The connection is of no more use.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProtocolError {
    /// `begin` inside a transaction.
    #[error("begin came before the commit of the transaction before")]
    Nested,
    /// `put`, `del` or `commit` outside.
    #[error("{0} came outside a transaction")]
    Outside(&'static str),
    /// Something that has no place in a transaction.
    #[error("{0} came inside a transaction")]
    Inside(&'static str),
    /// The transaction starts from a state that is not held.
    #[error("the transaction starts from state {0}, which is not held")]
    Base(String),
    /// A body does not have the version it was sent with.
    #[error("{0} {1} does not have the version it was sent with")]
    Version(&'static str, String),
    /// Lines were lost.
    #[error("{announced} changes were announced and {came} came")]
    Count {
        /// By `begin`.
        announced: usize,
        /// Until `commit`.
        came: usize,
    },
    /// The result is not the state that was announced.
    #[error("the transaction results in state {0} and was announced as {1}")]
    Revision(String, String),
    /// A fleet without pods, or a rank outside it.
    #[error("rank {rank} of {pods} data planes makes no sense")]
    Fleet {
        /// As sent.
        pods: u32,
        /// As sent.
        rank: u32,
    },
}

/// What a frame leads to.
#[derive(Debug)]
pub enum Effect {
    /// Nothing to do.
    None,
    /// Say this.
    Send(Vec<FromDataPlane>),
    /// Put this in force, then call [`Session::installed`] and say what it returns.
    Install(Target),
    /// Use this part of limits.
    Share(Share),
    /// Use these keys for ids of stored responses.
    ResponseIdKeys(Vec<Secret>),
    /// Verify ServiceAccount tokens with this.
    ServiceAccountIssuer(ServiceAccountIssuer),
    /// This state waits until then; call [`Session::due`].
    Deferred(Instant),
}

/// A state to put in force.
#[derive(Clone, Debug)]
pub struct Target {
    /// Its resources.
    pub catalog: Arc<Catalog>,
    /// Its name.
    pub revision: Revision,
    floor: Floor,
}

/// The highest resourceVersion seen, by kind.
pub type Floor = BTreeMap<String, u64>;

/// The state of a data plane's configuration, across connections.
#[derive(Debug, Default)]
pub struct Session {
    synced: Arc<Catalog>,
    /// Whether anything is in force.
    holds: bool,
    in_force: Arc<Catalog>,
    floor: Floor,
    transaction: Option<Transaction>,
    waiting: Option<Target>,
    below_since: Option<Instant>,
    features: Features,
}

#[derive(Debug)]
struct Transaction {
    revision: Revision,
    catalog: Catalog,
    announced: usize,
    came: usize,
    floor: Floor,
}

impl Session {
    /// Starts from what was in force before a restart.
    pub fn resume(catalog: Arc<Catalog>, floor: Floor) -> Self {
        Self { synced: Arc::clone(&catalog), holds: true, in_force: catalog, floor, ..Self::default() }
    }

    /// The first line of a connection to an operator that knows these features.
    pub fn hello(&mut self, pod: &str, instance: &str, features: Features) -> FromDataPlane {
        self.synced = Arc::clone(&self.in_force);
        self.transaction = None;
        self.waiting = None;
        self.features = features;
        let (listable, held) = match features.list {
            true => (self.in_force.len() <= MAX_LISTED, Vec::new()),
            false => {
                let fits = self.in_force.iter().map(|(key, _)| line_bytes(key)).sum::<usize>() < MAX_LINE - HELLO_BYTES;
                (fits, if fits { self.held().collect() } else { Vec::new() })
            }
        };
        FromDataPlane::Hello(Hello {
            v: PROTOCOL,
            pod: pod.to_owned(),
            instance: instance.to_owned(),
            revision: (self.holds && listable).then(|| self.in_force.revision()),
            held,
            features: [FEATURE_LIST, FEATURE_NAMESPACES, FEATURE_RESPONSE_IDS, FEATURE_SERVICE_ACCOUNTS]
                .map(str::to_owned)
                .to_vec(),
            floor: self.floor.clone(),
        })
    }

    fn held(&self) -> impl Iterator<Item = Held> {
        self.in_force.iter().map(|(key, entry)| Held { key: key.clone(), v: entry.version.clone() })
    }

    /// What is held, in parts; a last one that may be empty.
    fn list(&self) -> Vec<FromDataPlane> {
        let mut held = self.held().peekable();
        let mut parts = Vec::new();
        loop {
            let items: Vec<_> = held.by_ref().take(PART).collect();
            let more = held.peek().is_some();
            parts.push(FromDataPlane::Held { items, more });
            if !more {
                return parts;
            }
        }
    }

    /// Takes in a line.
    ///
    /// # Errors
    /// When it makes no sense here; then the connection has to be made anew.
    pub fn receive(&mut self, frame: FromOperator, now: Instant) -> Result<Effect, ProtocolError> {
        match frame {
            FromOperator::Begin { revision, base, count, floor } => {
                self.begin(revision, base.as_ref(), count, floor)?;
            }
            FromOperator::Put { t, id, v, body } => {
                let entry = Entry::new(body);
                let transaction = self.open("put")?;
                if entry.version != v {
                    return Err(ProtocolError::Version("resource", id.to_string()));
                }
                transaction.came += 1;
                transaction.catalog.insert(Key { kind: t, id }, entry);
            }
            FromOperator::Del { t, id } => {
                let transaction = self.open("del")?;
                transaction.came += 1;
                transaction.catalog.remove(&Key { kind: t, id });
            }
            FromOperator::Commit { revision } => return self.commit(revision, now),
            FromOperator::Fleet { pods, rank } if rank < pods => return Ok(Effect::Share(Share { of: pods, rank })),
            FromOperator::Fleet { pods, rank } => return Err(ProtocolError::Fleet { pods, rank }),
            FromOperator::ResponseIdKeys { .. } if self.transaction.is_some() => {
                return Err(ProtocolError::Inside("responseIdKeys"));
            }
            FromOperator::ResponseIdKeys { keys } => return Ok(Effect::ResponseIdKeys(keys)),
            FromOperator::ServiceAccountIssuer(_) if self.transaction.is_some() => {
                return Err(ProtocolError::Inside("serviceAccountIssuer"));
            }
            FromOperator::ServiceAccountIssuer(issuer) => return Ok(Effect::ServiceAccountIssuer(issuer)),
            FromOperator::List {} if self.transaction.is_some() => return Err(ProtocolError::Inside("list")),
            FromOperator::List {} => return Ok(Effect::Send(self.list())),
            FromOperator::Ping {} => return Ok(Effect::Send(vec![FromDataPlane::Pong {}])),
        }
        Ok(Effect::None)
    }

    /// When the state that waits is to be taken, if one does.
    pub fn deadline(&self) -> Option<Instant> {
        self.waiting.as_ref().and(self.below_since).map(|since| since + STALE_STATE_TIMEOUT)
    }

    /// The state that has waited long enough.
    pub fn due(&mut self, now: Instant) -> Option<Target> {
        if self.deadline().is_some_and(|deadline| deadline <= now) { self.waiting.take() } else { None }
    }

    /// Tells what came of a target: the resources in force now, and what was refused.
    pub fn installed(&mut self, target: Target, in_force: Arc<Catalog>, refused: &[Unreadable]) -> Vec<FromDataPlane> {
        self.in_force = in_force;
        self.holds = true;
        self.floor = target.floor;
        self.below_since = None;
        if refused.is_empty() {
            return vec![FromDataPlane::Ack { revision: target.revision }];
        }
        let shorten =
            |it: &Unreadable| Unreadable { key: it.key.clone(), message: condition::shorten(&it.message, MAX_REFUSAL) };
        // An operator of the first version takes one line, and learns of no more than fits into it.
        let parts = if self.features.nack_parts { refused.len().div_ceil(PART) } else { 1 };
        let part = |(at, errors): (usize, &[Unreadable])| FromDataPlane::Nack {
            revision: target.revision.clone(),
            errors: errors.iter().map(shorten).collect(),
            more: at + 1 < parts,
        };
        refused.chunks(PART).take(parts).enumerate().map(part).collect()
    }

    /// The floor in force.
    pub fn floor(&self) -> &Floor {
        &self.floor
    }

    fn open(&mut self, frame: &'static str) -> Result<&mut Transaction, ProtocolError> {
        self.transaction.as_mut().ok_or(ProtocolError::Outside(frame))
    }

    fn begin(
        &mut self,
        revision: Revision,
        base: Option<&Revision>,
        announced: usize,
        floor: Floor,
    ) -> Result<(), ProtocolError> {
        if self.transaction.is_some() {
            return Err(ProtocolError::Nested);
        }
        let catalog = match base {
            None => Catalog::default(),
            Some(base) if *base == self.synced.revision() => Catalog::clone(&self.synced),
            Some(base) => return Err(ProtocolError::Base(base.to_string())),
        };
        self.transaction = Some(Transaction { revision, catalog, announced, came: 0, floor });
        Ok(())
    }

    fn commit(&mut self, revision: Revision, now: Instant) -> Result<Effect, ProtocolError> {
        let transaction = self.transaction.take().ok_or(ProtocolError::Outside("commit"))?;
        let Transaction { announced, came, .. } = transaction;
        if announced != came {
            return Err(ProtocolError::Count { announced, came });
        }
        let result = transaction.catalog.revision();
        if result != revision || result != transaction.revision {
            return Err(ProtocolError::Revision(result.to_string(), revision.to_string()));
        }
        self.synced = Arc::new(transaction.catalog);
        let target = Target { catalog: Arc::clone(&self.synced), revision, floor: transaction.floor };
        self.waiting = None;
        let unchanged = self.holds && target.revision == self.in_force.revision();
        if unchanged || !self.is_below(&target.floor) {
            return Ok(Effect::Install(target));
        }
        let deadline = *self.below_since.get_or_insert(now) + STALE_STATE_TIMEOUT;
        if deadline <= now {
            return Ok(Effect::Install(target));
        }
        self.waiting = Some(target);
        Ok(Effect::Deferred(deadline))
    }

    fn is_below(&self, floor: &Floor) -> bool {
        // A kind that the other side says nothing about is not behind.
        self.floor.iter().any(|(kind, ours)| floor.get(kind).is_some_and(|theirs| theirs < ours))
    }
}

/// What a resource takes in a hello, at most: its name, version, kind and the words around them.
fn line_bytes(key: &Key) -> usize {
    key.id.namespace().len() + key.id.name().len() + 64
}

#[cfg(test)]
mod tests;
