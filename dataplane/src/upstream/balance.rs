//! In which order upstreams are tried: priorities first, weights within one, and those left out for now last.
//!
//! Where a route asks for it, the better of the first two that were drawn comes first: with fewer requests in flight, or
//! sooner to answer. Two drawn at random and compared spread load nearly as well as comparing all (the power of two
//! choices), and the pods, of which each knows only its own requests, do not all run to the same upstream.
//!
//! Where a request belongs to a session, that decides within a priority instead ([`super::affinity`]): the session's own
//! upstream comes first, and the one that it would have without that next.

use std::{cmp::Ordering, sync::Arc, time::Instant};

use routeapi_crds::value::LoadBalancing;

use super::affinity::Session;
use crate::{config::runtime::Upstream, state::Availability};

/// For whom and when an order is wanted, and by which rule.
#[derive(Clone, Copy, Debug)]
pub struct Selection<'a> {
    /// The route's rule among upstreams of one priority.
    pub strategy: LoadBalancing,
    /// The moment that health and load are looked at.
    pub now: Instant,
    /// Whose request it is.
    pub tenant: &'a str,
    /// The session that it belongs to, if the route keeps sessions on one upstream.
    pub session: Option<Session>,
}

/// Orders candidates for one request. `random(n)` gives a number below n. An upstream with weight 0 takes no part; one
/// that is evicted for this tenant or cooling down comes after all that are ready, the one that is back soonest first.
pub fn order(
    candidates: &[Arc<Upstream>],
    Selection { strategy, now, tenant, session }: Selection<'_>,
    mut random: impl FnMut(u64) -> u64,
) -> Vec<Arc<Upstream>> {
    if let [only] = candidates {
        return if only.weight > 0 { vec![Arc::clone(only)] } else { Vec::new() };
    }
    let mut ready: Vec<&Arc<Upstream>> = Vec::with_capacity(candidates.len());
    let mut out_until: Vec<(Instant, &Arc<Upstream>)> = Vec::new();
    for upstream in candidates.iter().filter(|upstream| upstream.weight > 0) {
        match upstream.health.availability(now, tenant) {
            Availability::Ready => ready.push(upstream),
            Availability::CoolingDown(until) | Availability::Evicted(until) => out_until.push((until, upstream)),
        }
    }
    ready.sort_by_key(|upstream| upstream.priority);
    out_until.sort_by_key(|(until, _)| *until);
    let mut ordered = Vec::with_capacity(candidates.len());
    for group in ready.chunk_by(|a, b| a.priority == b.priority) {
        let begin = ordered.len();
        if let Some(session) = session {
            ordered.extend(group.iter().map(|upstream| Arc::clone(upstream)));
            ordered.get_mut(begin..).unwrap_or_default().sort_by(|one, other| nearer(session, one, other));
        } else {
            shuffle(group, &mut random, &mut ordered);
            compare(strategy, now, ordered.get_mut(begin..).unwrap_or_default());
        }
    }
    ordered.extend(out_until.into_iter().map(|(_, upstream)| Arc::clone(upstream)));
    ordered
}

/// The upstream that a session stays on while it is ready: of those with a weight and the lowest priority.
pub fn home(candidates: &[Arc<Upstream>], session: Session) -> Option<&Arc<Upstream>> {
    let first = |one: &Upstream, other: &Upstream| one.priority.cmp(&other.priority);
    let taking = candidates.iter().filter(|upstream| upstream.weight > 0);
    taking.min_by(|one, other| first(one, other).then_with(|| nearer(session, one, other)))
}

/// Which of two upstreams of one priority comes first for a session.
fn nearer(session: Session, one: &Upstream, other: &Upstream) -> Ordering {
    let rank = |upstream: &Upstream| session.rank(&upstream.name, upstream.weight);
    rank(one).compare(rank(other)).then_with(|| one.name.cmp(&other.name))
}

/// Draws without replacement, each draw weighted.
fn shuffle(group: &[&Arc<Upstream>], random: &mut impl FnMut(u64) -> u64, ordered: &mut Vec<Arc<Upstream>>) {
    let mut left = group.to_vec();
    while !left.is_empty() {
        let total: u64 = left.iter().map(|upstream| u64::from(upstream.weight)).sum();
        let mut ticket = if left.len() == 1 { 0 } else { random(total) };
        let drawn = left.iter().position(|upstream| {
            let weight = u64::from(upstream.weight);
            let hit = ticket < weight;
            ticket = ticket.saturating_sub(weight);
            hit
        });
        ordered.push(Arc::clone(left.swap_remove(drawn.unwrap_or(0))));
    }
}

/// Puts the better of the first two first.
fn compare(strategy: LoadBalancing, now: Instant, drawn: &mut [Arc<Upstream>]) {
    let [first, second, ..] = drawn else { return };
    let second_is_better = match strategy {
        LoadBalancing::Weighted => false,
        // In flight for each unit of weight, without dividing; with nothing in flight the weights have decided.
        LoadBalancing::LeastRequest => {
            let share = |one: &Upstream, other: &Upstream| u64::from(one.load.in_flight()) * u64::from(other.weight);
            share(second, first) < share(first, second)
        }
        LoadBalancing::LowestLatency => second.load.cost(now) < first.load.cost(now),
    };
    if second_is_better {
        std::mem::swap(first, second);
    }
}

#[cfg(test)]
mod tests;
