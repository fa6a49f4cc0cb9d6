//! The scripts' arguments and answers.

use std::time::Duration;

use redis::{Script, ScriptInvocation};
use routeapi_metering::{Estimate, Exceeded, ExceededKind, Limit, Period, Quantity, UnixMillis};

use super::keys::Keys;
use crate::limits::{
    headroom::Headroom,
    store::{Refused, Settlement, StoreUnavailable},
};

/// What every script is told.
pub(super) struct Head {
    /// Where the token is counted.
    pub keys: Keys,
    /// The time; none for the server's.
    pub clock: Option<UnixMillis>,
    /// How long a lease lives that nobody renews.
    pub lease: Duration,
}

/// All scripts. The server keeps them by their SHA-1; one that it has lost is loaded again.
pub(super) struct Scripts {
    reserve: Script,
    settle: Script,
    renew: Script,
}

// === impl Scripts ===

impl Scripts {
    pub(super) fn new() -> Self {
        let script = |step: &str| Script::new(&[include_str!("common.lua"), step].concat());
        Self {
            reserve: script(include_str!("reserve.lua")),
            settle: script(include_str!("settle.lua")),
            renew: script(include_str!("renew.lua")),
        }
    }

    /// All of them, to be loaded.
    pub(super) fn all(&self) -> [&Script; 3] {
        [&self.reserve, &self.settle, &self.renew]
    }

    pub(super) fn reserve(
        &self,
        head: &Head,
        lease: u128,
        limits: &[Limit],
        estimate: Estimate,
    ) -> ScriptInvocation<'_> {
        let mut call = begin(&self.reserve, head);
        call.arg(format!("{lease:x}")).arg(estimate.tokens).arg(estimate.spend).arg(u8::from(estimate.is_single));
        for limit in limits {
            let (kind, cap) = match limit.quantity {
                Quantity::Requests(cap) => (1, cap),
                Quantity::Tokens(cap) => (2, cap),
                Quantity::Spend(cap) => (3, cap),
            };
            call.arg(letter(limit.period)).arg(kind).arg(cap).arg(u8::from(limit.is_strict));
        }
        call
    }

    pub(super) fn settle(&self, head: &Head, settlement: &Settlement) -> ScriptInvocation<'_> {
        let Settlement { lease, limits, estimate, used } = settlement;
        let mut call = begin(&self.settle, head);
        call.arg(format!("{lease:x}")).arg(estimate.tokens).arg(estimate.spend);
        let actual = used.map(|(_, actual)| actual).unwrap_or_default();
        call.arg(u8::from(used.is_some())).arg(actual.tokens).arg(actual.spend);
        call.arg(u8::from(limits.iter().any(|limit| limit.period == Period::Second)));
        call
    }

    pub(super) fn renew(&self, head: &Head, members: &[String]) -> ScriptInvocation<'_> {
        let mut call = begin(&self.renew, head);
        call.arg(members);
        call
    }
}

fn begin<'a>(script: &'a Script, head: &Head) -> ScriptInvocation<'a> {
    let Head { keys, clock, lease } = head;
    let mut call = script.key(&keys.usage);
    call.key(&keys.leases);
    match clock {
        Some(millis) => call.arg(*millis),
        None => call.arg(""),
    };
    call.arg(u64::try_from(lease.as_millis()).unwrap_or(u64::MAX));
    call
}

/// A lease as the scripts keep it.
pub(super) fn member(lease: u128, estimate: Estimate) -> String {
    format!("{lease:x}:{}:{}", estimate.tokens, estimate.spend)
}

const fn letter(period: Period) -> &'static str {
    match period {
        Period::Second => "S",
        Period::Minute => "M",
        Period::Hour => "H",
        Period::Day => "D",
        Period::Month => "Y",
    }
}

/// What a reservation was answered.
pub(super) fn granted(reply: &[String], limits: &[Limit], estimate: Estimate) -> Result<Headroom, Refused> {
    let unreadable = || Refused::from(StoreUnavailable::unanswered(format!("unexpected answer {reply:?}")));
    let (word, rest) = reply.split_first().ok_or_else(unreadable)?;
    match word.as_str() {
        "1" if rest.len() == limits.len() => {
            let left = rest.iter().map(|text| whole(text)).collect::<Option<Vec<_>>>().ok_or_else(unreadable)?;
            let rooms: Vec<_> =
                limits.iter().zip(left).map(|(limit, left)| (limit, cap(limit.quantity), left)).collect();
            Ok(Headroom::of(&rooms))
        }
        "0" => Err(exceeded(rest, limits, estimate).map_or_else(unreadable, Refused::Exceeded)),
        // Only a call that was given up can find its lease ended.
        "2" => Err(StoreUnavailable::unasked("the reservation came too late").into()),
        _ => Err(unreadable()),
    }
}

fn exceeded(rest: &[String], limits: &[Limit], estimate: Estimate) -> Option<Exceeded> {
    let [index, left, retry, never] = rest else { return None };
    let limit = limits.get(index.parse::<usize>().ok()?)?;
    let (kind, requested) = match limit.quantity {
        Quantity::Requests(_) => (ExceededKind::Requests, 1),
        Quantity::Tokens(_) => (ExceededKind::Tokens, estimate.tokens),
        Quantity::Spend(_) => (ExceededKind::Spend, estimate.spend),
    };
    Some(Exceeded {
        limit: limit.name.clone(),
        kind,
        cap: cap(limit.quantity),
        left: whole(left)?,
        retry_after_ms: retry.parse().ok(),
        requested: (never == "1").then_some(requested),
    })
}

const fn cap(quantity: Quantity) -> u64 {
    match quantity {
        Quantity::Requests(cap) | Quantity::Tokens(cap) | Quantity::Spend(cap) => cap,
    }
}

/// The scripts calculate with doubles, which round the largest numbers up.
fn whole(text: &str) -> Option<u64> {
    text.parse::<u128>().ok().map(|number| u64::try_from(number).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limit(quantity: Quantity) -> Limit {
        Limit { name: "it".to_owned(), period: Period::Day, quantity, is_strict: false }
    }

    fn read(reply: &[&str]) -> Result<Headroom, Refused> {
        let reply: Vec<_> = reply.iter().map(|text| (*text).to_owned()).collect();
        let estimate = Estimate { tokens: 7, spend: 8, is_single: false };
        granted(&reply, &[limit(Quantity::Tokens(5))], estimate)
    }

    #[test]
    fn answers_are_read() {
        assert_eq!(read(&["1", "4"]).unwrap().tokens.unwrap().left, 4);
        assert_eq!(read(&["1", "18446744073709551616"]).unwrap().tokens.unwrap().left, u64::MAX);
        let Err(Refused::Exceeded(exceeded)) = read(&["0", "0", "3", "-1", "1"]) else { panic!("not refused") };
        assert_eq!((exceeded.left, exceeded.retry_after_ms, exceeded.requested), (3, None, Some(7)));
    }

    #[test]
    fn what_is_no_answer_decides_nothing() {
        for reply in [&[][..], &["1"], &["1", "x"], &["0", "9", "3", "5", "0"], &["0", "0"], &["2"], &["OK"]] {
            assert!(matches!(read(reply), Err(Refused::StoreUnavailable(_))), "{reply:?}");
        }
    }
}
