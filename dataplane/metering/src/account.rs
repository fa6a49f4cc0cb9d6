//! What one token may still use: reserve before sending, settle afterwards.
//!
//! A reservation is the most that a request is expected to use. It counts against every limit from the moment it is
//! granted, so requests that arrive together cannot all see the same remainder. The worst overspend is therefore the
//! estimate error of the requests in flight, never their number times a request.

use crate::{Nanos, Period, UnixMillis, Window};

/// At most this much per period.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limit {
    /// Names it in errors and metrics.
    pub name: String,
    /// The period.
    pub period: Period,
    /// What is counted and how much is allowed.
    pub quantity: Quantity,
    /// Whether an answer ends where its reservation does, and requests that may use more than the whole cap are refused.
    pub is_strict: bool,
}

/// What a limit counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quantity {
    /// Requests.
    Requests(u64),
    /// Input and output tokens together.
    Tokens(u64),
    /// Nano-dollars.
    Spend(Nanos),
}

/// Which part of every cap this process enforces: the parts of all ranks add up to the cap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share {
    /// Processes that share the cap, at least 1.
    pub of: u32,
    /// This one's rank, from 0.
    pub rank: u32,
}

/// The most that a request is expected to use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Estimate {
    /// Input and output tokens.
    pub tokens: u64,
    /// Nano-dollars.
    pub spend: Nanos,
    /// Whether one answer is asked for, so that it may exceed a whole cap while nothing of that is used: see
    /// [`Account::reserve`].
    pub is_single: bool,
}

/// What a request did use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Actual {
    /// Input and output tokens.
    pub tokens: u64,
    /// Nano-dollars.
    pub spend: Nanos,
}

/// A granted reservation. Hand it back with [`Account::settle`] or [`Account::release`]; it frees nothing by itself.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "a reservation that is not handed back is held for ever"]
pub struct Ticket {
    estimate: Estimate,
    bounds: Bounds,
}

/// What one request may use of each strict limit: what was reserved for it, wherever that was counted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bounds(Vec<Bound>);

/// What one request may use of a strict limit.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Bound {
    limit: String,
    quantity: Quantity,
    reserved: u64,
}

/// A limit leaves no room.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("limit {limit:?} is reached")]
pub struct Exceeded {
    /// The limit's name; `maxConcurrentRequests` for concurrency.
    pub limit: String,
    /// What it counts.
    pub kind: ExceededKind,
    /// The cap that this process enforces, in the limit's unit.
    pub cap: u64,
    /// What is neither used nor reserved of it.
    pub left: u64,
    /// Milliseconds after which every limit has room for the same request, if nothing else is asked meanwhile; none if that
    /// depends on requests in flight, or there is never room.
    pub retry_after_ms: Option<u64>,
    /// What the request may use, if that is more than the whole cap, so that it is never granted; for an answer that was
    /// cut, what was reserved for it.
    pub requested: Option<u64>,
}

/// What the limit counts that leaves no room.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ExceededKind {
    /// Requests per period.
    Requests,
    /// Tokens per period.
    Tokens,
    /// Money per period.
    Spend,
    /// Requests in flight.
    Concurrency,
}

/// The counters of one token.
#[derive(Debug)]
pub struct Account {
    share: Share,
    max_concurrent: Option<u32>,
    in_flight: u32,
    /// What requests in flight have reserved.
    reserved: Estimate,
    counters: Vec<Counter>,
    histories: [History; 3],
}

#[derive(Debug)]
struct Counter {
    limit: Limit,
    window: Window,
}

/// What was used of one kind, whatever limits there were: a new, renamed or changed limit starts from it.
#[derive(Debug)]
struct History {
    kind: ExceededKind,
    hour: Window,
    day: Window,
    month: Window,
}

// === impl Share ===

impl Default for Share {
    fn default() -> Self {
        Self { of: 1, rank: 0 }
    }
}

impl Share {
    /// This process's part of a cap.
    pub fn of(self, cap: u64) -> u64 {
        let of = u64::from(self.of.max(1));
        cap / of + u64::from(u64::from(self.rank) < cap % of)
    }
}

// === impl Quantity ===

impl Quantity {
    const fn cap(self) -> u64 {
        match self {
            Self::Requests(cap) | Self::Tokens(cap) | Self::Spend(cap) => cap,
        }
    }

    const fn of_estimate(self, estimate: Estimate) -> u64 {
        match self {
            Self::Requests(_) => 1,
            Self::Tokens(_) => estimate.tokens,
            Self::Spend(_) => estimate.spend,
        }
    }

    /// `reserved` is what requests in flight have asked for together.
    const fn of_reserved(self, reserved: Estimate, in_flight: u32) -> u64 {
        match self {
            Self::Requests(_) => in_flight as u64,
            Self::Tokens(_) => reserved.tokens,
            Self::Spend(_) => reserved.spend,
        }
    }

    const fn of_actual(self, actual: Actual) -> u64 {
        match self {
            Self::Requests(_) => 1,
            Self::Tokens(_) => actual.tokens,
            Self::Spend(_) => actual.spend,
        }
    }

    const fn kind(self) -> ExceededKind {
        match self {
            Self::Requests(_) => ExceededKind::Requests,
            Self::Tokens(_) => ExceededKind::Tokens,
            Self::Spend(_) => ExceededKind::Spend,
        }
    }
}

// === impl History ===

impl History {
    fn new(kind: ExceededKind) -> Self {
        let (hour, day, month) = (Window::new(Period::Hour), Window::new(Period::Day), Window::new(Period::Month));
        Self { kind, hour, day, month }
    }

    fn add(&mut self, now: UnixMillis, amount: u64) {
        // Most tokens use nothing of some kind, such as money where nothing has a price.
        if amount == 0 {
            return;
        }
        for window in [&mut self.hour, &mut self.day, &mut self.month] {
            window.add(now, amount);
        }
    }

    /// What was used, as a window of another period. The last second is not kept: a limit per second starts empty.
    fn window(&self, period: Period) -> Window {
        match period {
            Period::Second => Window::new(period),
            Period::Minute => self.hour.shortened(period),
            Period::Hour => self.hour.clone(),
            Period::Day => self.day.clone(),
            Period::Month => self.month.clone(),
        }
    }
}

// === impl Ticket ===

impl Ticket {
    /// What the request may use of each strict limit.
    pub fn bounds(&self) -> &Bounds {
        &self.bounds
    }
}

// === impl Bounds ===

impl Bounds {
    /// Of the strict ones among these limits, for a request that reserves this.
    pub fn new<'a>(limits: impl IntoIterator<Item = &'a Limit>, estimate: Estimate) -> Self {
        let strict = limits.into_iter().filter(|limit| limit.is_strict).map(|limit| Bound {
            limit: limit.name.clone(),
            quantity: limit.quantity,
            reserved: limit.quantity.of_estimate(estimate),
        });
        Self(strict.collect())
    }

    /// Whether no strict limit watches this request's answer.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The strict limit of which a request has used more than it reserved.
    ///
    /// # Errors
    /// That limit.
    pub fn check(&self, used: Actual) -> Result<(), Exceeded> {
        match self.0.iter().find(|bound| bound.quantity.of_actual(used) > bound.reserved) {
            None => Ok(()),
            Some(Bound { limit, quantity, reserved }) => Err(Exceeded {
                limit: limit.clone(),
                kind: quantity.kind(),
                cap: quantity.cap(),
                left: 0,
                retry_after_ms: None,
                requested: Some(*reserved),
            }),
        }
    }
}

// === impl Account ===

impl Account {
    /// An account that has used nothing.
    pub fn new(limits: Vec<Limit>, max_concurrent: Option<u32>, share: Share) -> Self {
        let kinds = [ExceededKind::Requests, ExceededKind::Tokens, ExceededKind::Spend];
        let mut account = Self {
            share,
            max_concurrent,
            in_flight: 0,
            reserved: Estimate::default(),
            counters: Vec::new(),
            histories: kinds.map(History::new),
        };
        account.configure(limits, max_concurrent, share);
        account
    }

    /// Takes on new limits. A limit counts what was used in its period, whatever it was called and whether or not there
    /// was such a limit at the time: nothing that is done to limits forgives anything.
    pub fn configure(&mut self, limits: Vec<Limit>, max_concurrent: Option<u32>, share: Share) {
        let old = std::mem::take(&mut self.counters);
        self.share = share;
        self.max_concurrent = max_concurrent;
        let histories = &self.histories;
        let counters = limits.into_iter().map(|limit| {
            let kind = limit.quantity.kind();
            let same =
                |counter: &&Counter| counter.limit.period == limit.period && counter.limit.quantity.kind() == kind;
            let window = match old.iter().find(same) {
                Some(counter) => counter.window.clone(),
                None => {
                    let history = histories.iter().find(|history| history.kind == kind);
                    history.map_or(Window::new(limit.period), |history| history.window(limit.period))
                }
            };
            Counter { limit, window }
        });
        self.counters = counters.collect();
    }

    /// Grants or refuses a request. A refused one counts nowhere.
    ///
    /// A request for one answer that alone asks for more than a whole cap is granted while nothing of that cap is used or
    /// reserved: refused for ever, it would only teach people to lie about `max_tokens`. Several answers can be asked for
    /// one by one, and a strict cap has no exceptions.
    ///
    /// # Errors
    /// Of the limits that leave no room, the one that does so longest, so that what it says of the time is true; concurrency
    /// first.
    pub fn reserve(&mut self, now: UnixMillis, estimate: Estimate) -> Result<Ticket, Exceeded> {
        if let Some(cap) = self.max_concurrent
            && self.in_flight >= cap
        {
            return Err(Exceeded {
                limit: "maxConcurrentRequests".to_owned(),
                kind: ExceededKind::Concurrency,
                cap: u64::from(cap),
                left: 0,
                retry_after_ms: None,
                requested: None,
            });
        }
        let mut refused: Option<Exceeded> = None;
        for counter in &mut self.counters {
            let reserved = counter.limit.quantity.of_reserved(self.reserved, self.in_flight);
            if let Err(exceeded) = counter.check(now, estimate, reserved, self.share)
                && refused.as_ref().is_none_or(|refused| exceeded.lasts() > refused.lasts())
            {
                refused = Some(exceeded);
            }
        }
        if let Some(exceeded) = refused {
            return Err(exceeded);
        }
        self.in_flight = self.in_flight.saturating_add(1);
        self.reserved.tokens = self.reserved.tokens.saturating_add(estimate.tokens);
        self.reserved.spend = self.reserved.spend.saturating_add(estimate.spend);
        Ok(Ticket { estimate, bounds: Bounds::new(self.counters.iter().map(|counter| &counter.limit), estimate) })
    }

    /// Replaces a reservation by what was really used, which may be more.
    #[expect(clippy::needless_pass_by_value, reason = "a ticket is spent once")]
    pub fn settle(&mut self, now: UnixMillis, ticket: Ticket, actual: Actual) {
        self.give_back(&ticket);
        self.record(now, actual);
    }

    /// Counts a request for which nothing was reserved here.
    pub fn record(&mut self, now: UnixMillis, actual: Actual) {
        for counter in &mut self.counters {
            counter.window.add(now, counter.limit.quantity.of_actual(actual));
        }
        for history in &mut self.histories {
            let amount = match history.kind {
                ExceededKind::Tokens => actual.tokens,
                ExceededKind::Spend => actual.spend,
                ExceededKind::Requests | ExceededKind::Concurrency => 1,
            };
            history.add(now, amount);
        }
    }

    /// Counts what a request has used so far while it goes on. What is reserved for it stays reserved, for what it does
    /// next; the request itself counts when it is settled, with what it has used beyond this.
    ///
    /// # Errors
    /// The limit of tokens or money that has no room for more: one that is used up, or a strict one of which less is left
    /// than is reserved.
    pub fn count(&mut self, now: UnixMillis, actual: Actual) -> Result<(), Exceeded> {
        let (share, reserved, in_flight) = (self.share, self.reserved, self.in_flight);
        for history in &mut self.histories {
            match history.kind {
                ExceededKind::Tokens => history.add(now, actual.tokens),
                ExceededKind::Spend => history.add(now, actual.spend),
                ExceededKind::Requests | ExceededKind::Concurrency => {}
            }
        }
        let mut exceeded: Option<Exceeded> = None;
        for counter in &mut self.counters {
            let quantity = counter.limit.quantity;
            if matches!(quantity, Quantity::Requests(_)) {
                continue;
            }
            counter.window.add(now, quantity.of_actual(actual));
            if let Err(found) = counter.check_more(now, quantity.of_reserved(reserved, in_flight), share)
                && exceeded.as_ref().is_none_or(|exceeded| found.lasts() > exceeded.lasts())
            {
                exceeded = Some(found);
            }
        }
        exceeded.map_or(Ok(()), Err)
    }

    /// Gives a reservation back unused: the request never left this process.
    #[expect(clippy::needless_pass_by_value, reason = "a ticket is spent once")]
    pub fn release(&mut self, ticket: Ticket) {
        self.give_back(&ticket);
    }

    /// What is left per limit in this process's share, for headers: (limit, cap, remaining).
    pub fn remaining(&mut self, now: UnixMillis) -> Vec<(&Limit, u64, u64)> {
        let (share, reserved, in_flight) = (self.share, self.reserved, self.in_flight);
        self.counters
            .iter_mut()
            .map(|counter| {
                let cap = share.of(counter.limit.quantity.cap());
                let reserved = counter.limit.quantity.of_reserved(reserved, in_flight);
                let taken = counter.window.used(now).saturating_add(reserved);
                (&counter.limit, cap, cap.saturating_sub(taken))
            })
            .collect()
    }

    /// Requests in flight.
    pub fn in_flight(&self) -> u32 {
        self.in_flight
    }

    fn give_back(&mut self, ticket: &Ticket) {
        self.in_flight = self.in_flight.saturating_sub(1);
        self.reserved.tokens = self.reserved.tokens.saturating_sub(ticket.estimate.tokens);
        self.reserved.spend = self.reserved.spend.saturating_sub(ticket.estimate.spend);
    }
}

// === impl Exceeded ===

impl Exceeded {
    /// Orders limits by how long they leave no room: so many milliseconds, until other requests end, for ever.
    fn lasts(&self) -> (u8, u64) {
        match self.retry_after_ms {
            None if self.requested.is_some() || self.cap == 0 => (2, 0),
            None => (1, 0),
            Some(millis) => (0, millis),
        }
    }
}

// === impl Counter ===

impl Counter {
    /// Whether what goes on may go on: `reserved` is what it may use next, with all else that is in flight.
    fn check_more(&mut self, now: UnixMillis, reserved: u64, share: Share) -> Result<(), Exceeded> {
        let cap = share.of(self.limit.quantity.cap());
        let used = self.window.used(now);
        let is_full = used >= cap || (self.limit.is_strict && used.saturating_add(reserved) > cap);
        if !is_full {
            return Ok(());
        }
        let missing = used.saturating_add(1).saturating_sub(cap).max(1);
        Err(Exceeded {
            limit: self.limit.name.clone(),
            kind: self.limit.quantity.kind(),
            cap,
            left: cap.saturating_sub(used),
            retry_after_ms: (cap > 0 && used >= missing).then(|| self.window.until_free(now, missing)),
            requested: None,
        })
    }

    fn check(&mut self, now: UnixMillis, estimate: Estimate, reserved: u64, share: Share) -> Result<(), Exceeded> {
        let cap = share.of(self.limit.quantity.cap());
        let used = self.window.used(now);
        let requested = self.limit.quantity.of_estimate(estimate);
        let never = requested > cap && (self.limit.is_strict || !estimate.is_single);
        let taken = used.saturating_add(reserved);
        let wanted = taken.saturating_add(requested.min(cap));
        // A spend or token cap that is used up to the last unit refuses even requests that ask for nothing.
        let exhausted = taken >= cap;
        if wanted <= cap && !exhausted && !never {
            return Ok(());
        }
        // Of a cap that is used up, one unit has to come free at least.
        let missing = wanted.saturating_sub(cap).max(taken.saturating_add(1).saturating_sub(cap)).max(1);
        // Unless the used part alone frees enough, waiting for time does not help: requests in flight must end first.
        let in_time = cap > 0 && used >= missing && !never;
        Err(Exceeded {
            limit: self.limit.name.clone(),
            kind: self.limit.quantity.kind(),
            cap,
            left: cap.saturating_sub(taken),
            retry_after_ms: in_time.then(|| self.window.until_free(now, missing)),
            requested: never.then_some(requested),
        })
    }
}

#[cfg(test)]
mod tests;
