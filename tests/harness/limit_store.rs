//! A limit store in memory: exact for all gateways that share it, as one over the network would be, and away when a test
//! says so.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Mutex,
};

use futures_util::future::BoxFuture;
use routeapi_channel::ObjectId;
use routeapi_dataplane::limits::{Headroom, LimitStore, Refused, Settlement, StoreUnavailable};
use routeapi_metering::{Account, Estimate, Limit, Share, Ticket, UnixMillis};
use tokio::sync::watch;

/// How a store can be reached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Connection {
    /// It answers.
    #[default]
    Up,
    /// Connections to it are refused.
    Refused,
    /// It takes requests and never answers.
    Hangs,
    /// It does what it is asked for, and its answers are lost.
    LosesAnswers,
}

/// A store. It counts by the same arithmetic as a gateway that counts for itself.
#[derive(Debug, Default)]
pub struct MemoryLimitStore {
    counts: Mutex<Counts>,
    connection: watch::Sender<Connection>,
}

#[derive(Debug, Default)]
struct Counts {
    tokens: HashMap<ObjectId, Account>,
    leases: BTreeMap<u128, Ticket>,
    ended: BTreeSet<u128>,
    granted: usize,
    settled: usize,
}

impl MemoryLimitStore {
    /// From now on it can be reached like this.
    pub fn set(&self, connection: Connection) {
        self.connection.send_replace(connection);
    }

    /// Reservations that were granted so far.
    pub fn granted(&self) -> usize {
        self.counts.lock().unwrap().granted
    }

    /// Reservations that are not settled.
    pub fn open(&self) -> usize {
        self.counts.lock().unwrap().leases.len()
    }

    /// Settlements that counted.
    pub fn settled(&self) -> usize {
        self.counts.lock().unwrap().settled
    }

    /// What is left of each limit of a token.
    pub fn left(&self, token: &ObjectId, now: UnixMillis) -> BTreeMap<String, u64> {
        let mut counts = self.counts.lock().unwrap();
        let account = counts.tokens.get_mut(token).expect("the token has asked");
        account.remaining(now).into_iter().map(|(limit, _, left)| (limit.name.clone(), left)).collect()
    }

    async fn reached(&self) -> Result<(), StoreUnavailable> {
        let connection = *self.connection.borrow();
        match connection {
            Connection::Up | Connection::LosesAnswers => Ok(()),
            Connection::Refused => Err(StoreUnavailable::unasked("connection refused")),
            Connection::Hangs => std::future::pending().await,
        }
    }

    fn answer<T>(&self, answer: T) -> Result<T, StoreUnavailable> {
        let is_lost = *self.connection.borrow() == Connection::LosesAnswers;
        if is_lost { Err(StoreUnavailable::unanswered("connection reset")) } else { Ok(answer) }
    }
}

impl Counts {
    fn settle(&mut self, token: &ObjectId, settlement: &Settlement) {
        let Settlement { lease, limits, estimate: _, used } = settlement;
        if !self.ended.insert(*lease) {
            return;
        }
        self.settled += 1;
        let new = || Account::new(limits.to_vec(), None, Share::default());
        let account = self.tokens.entry(token.clone()).or_insert_with(new);
        match (self.leases.remove(lease), used) {
            (Some(ticket), Some((now, actual))) => account.settle(*now, ticket, *actual),
            (Some(ticket), None) => account.release(ticket),
            // Not known here: nothing was reserved, and what was used counts.
            (None, Some((now, actual))) => account.record(*now, *actual),
            (None, None) => {}
        }
    }
}

impl LimitStore for MemoryLimitStore {
    fn reserve<'a>(
        &'a self,
        token: &'a ObjectId,
        lease: u128,
        limits: &'a [Limit],
        now: UnixMillis,
        estimate: Estimate,
    ) -> BoxFuture<'a, Result<Headroom, Refused>> {
        Box::pin(async move {
            self.reached().await?;
            let headroom = {
                let mut counts = self.counts.lock().unwrap();
                if counts.ended.contains(&lease) {
                    return Err(StoreUnavailable::unasked("too late").into());
                }
                let new = || Account::new(Vec::new(), None, Share::default());
                let account = counts.tokens.entry(token.clone()).or_insert_with(new);
                account.configure(limits.to_vec(), None, Share::default());
                let ticket = account.reserve(now, estimate)?;
                let headroom = Headroom::of(&account.remaining(now));
                counts.granted += 1;
                counts.leases.insert(lease, ticket);
                headroom
            };
            Ok(self.answer(headroom)?)
        })
    }

    fn settle<'a>(
        &'a self,
        token: &'a ObjectId,
        settlement: &'a Settlement,
    ) -> BoxFuture<'a, Result<(), StoreUnavailable>> {
        Box::pin(async move {
            self.reached().await?;
            {
                let mut counts = self.counts.lock().unwrap();
                counts.settle(token, settlement);
            }
            self.answer(())
        })
    }
}
