//! In which order upstreams are tried: priorities first, weights within one, and those left out for now last.

use std::{sync::Arc, time::Instant};

use crate::{config::runtime::Upstream, live::Availability};

/// Orders candidates for one request. `random(n)` gives a number below n. An upstream with weight 0 takes no part; one
/// that is evicted for this tenant or cooling down comes after all that are ready, the one that is back soonest first.
pub fn order(
    candidates: &[Arc<Upstream>],
    now: Instant,
    tenant: &str,
    mut random: impl FnMut(u64) -> u64,
) -> Vec<Arc<Upstream>> {
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
        shuffle(group, &mut random, &mut ordered);
    }
    ordered.extend(out_until.into_iter().map(|(_, upstream)| Arc::clone(upstream)));
    ordered
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
