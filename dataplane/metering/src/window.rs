//! How much was used in a period, with the time as an argument.
//!
//! Short periods slide: any period of that length holds at most the cap. They are cut into slices, and a slice counts
//! until its last moment is a full period old, so the count errs toward too much by at most one slice, never toward too
//! little. Day and month are calendar periods in UTC and start at zero.

use jiff::{Timestamp, ToSpan, tz::TimeZone};

use crate::UnixMillis;

/// The period a limit counts over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Period {
    /// Any one second.
    Second,
    /// Any 60 seconds.
    Minute,
    /// Any 60 minutes.
    Hour,
    /// 00:00 to 24:00 UTC.
    Day,
    /// The first of the month to the last, UTC.
    Month,
}

/// What was used in one period. The clock may jump back: then nothing is forgotten before its time.
#[derive(Clone, Debug)]
pub struct Window {
    period: Period,
    /// (start of the slice, amount), oldest first. A calendar period is one slice.
    slices: Vec<(UnixMillis, u64)>,
}

const SLICES: i64 = 60;

impl Period {
    /// Length in milliseconds of the sliding periods.
    const fn sliding_millis(self) -> Option<i64> {
        match self {
            Self::Second => Some(1_000),
            Self::Minute => Some(60_000),
            Self::Hour => Some(3_600_000),
            Self::Day | Self::Month => None,
        }
    }

    fn slice_start(self, now: UnixMillis) -> UnixMillis {
        match self.sliding_millis() {
            Some(length) => now - now.rem_euclid((length / SLICES).max(1)),
            None => self.calendar_bounds(now).0,
        }
    }

    /// Start and end of the calendar day or month around a moment.
    fn calendar_bounds(self, now: UnixMillis) -> (UnixMillis, UnixMillis) {
        const DAY: i64 = 86_400_000;
        let day = now - now.rem_euclid(DAY);
        if self != Self::Month {
            return (day, day + DAY);
        }
        let month = || {
            let date = Timestamp::from_millisecond(now).ok()?.to_zoned(TimeZone::UTC).date().first_of_month();
            let start = date.to_zoned(TimeZone::UTC).ok()?;
            let end = start.checked_add(1.month()).ok()?;
            Some((start.timestamp().as_millisecond(), end.timestamp().as_millisecond()))
        };
        // Only a time outside of years -9999 to 9999 has no month; it counts as a period of its own.
        month().unwrap_or((now, now + DAY))
    }
}

impl Window {
    /// An empty window.
    pub const fn new(period: Period) -> Self {
        Self { period, slices: Vec::new() }
    }

    /// The same as a window of a shorter sliding period. What was used in a slice is taken to be used at its end, so it is
    /// counted too long by up to one slice of this window, never too short.
    pub(crate) fn shortened(&self, period: Period) -> Self {
        let length = |period: Period| period.sliding_millis().map_or(1, |length| (length / SLICES).max(1));
        let late = length(self.period).saturating_sub(length(period)).max(0);
        let slices =
            self.slices.iter().map(|(start, amount)| (period.slice_start(start.saturating_add(late)), *amount));
        Self { period, slices: slices.collect() }
    }

    /// What was used in the period that ends now.
    pub fn used(&mut self, now: UnixMillis) -> u64 {
        self.forget(now);
        self.slices.iter().fold(0u64, |sum, (_, amount)| sum.saturating_add(*amount))
    }

    /// Adds to the current slice.
    pub fn add(&mut self, now: UnixMillis, amount: u64) {
        self.forget(now);
        let start = self.period.slice_start(now);
        match self.slices.last_mut() {
            // After a clock jump back the newest slice takes it: it is forgotten later, never earlier, than it should be.
            Some((newest, sum)) if *newest >= start => *sum = sum.saturating_add(amount),
            _ => self.slices.push((start, amount)),
        }
    }

    /// Milliseconds until at least `amount` of what is counted now has been forgotten.
    pub fn until_free(&mut self, now: UnixMillis, amount: u64) -> u64 {
        self.forget(now);
        let mut freed = 0u64;
        let mut wait = 0;
        for (start, used) in &self.slices {
            if freed >= amount {
                break;
            }
            freed = freed.saturating_add(*used);
            wait = self.forgotten_at(*start) - now;
        }
        u64::try_from(wait.max(1)).unwrap_or(1)
    }

    fn forgotten_at(&self, start: UnixMillis) -> UnixMillis {
        match self.period.sliding_millis() {
            Some(length) => start + length + (length / SLICES).max(1),
            None => self.period.calendar_bounds(start).1,
        }
    }

    fn forget(&mut self, now: UnixMillis) {
        let gone = self.slices.iter().take_while(|(start, _)| self.forgotten_at(*start) <= now).count();
        self.slices.drain(..gone);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> UnixMillis {
        text.parse::<Timestamp>().unwrap().as_millisecond()
    }

    #[test]
    fn minute_window_slides() {
        let mut window = Window::new(Period::Minute);
        window.add(0, 5);
        window.add(30_000, 7);
        assert_eq!(window.used(60_000), 12, "the first slice ends at one second, so it is not yet a minute old");
        assert_eq!(window.used(61_000), 7);
        assert_eq!(window.until_free(61_000, 1), 30_000);
        assert_eq!(window.used(91_000), 0);
    }

    #[test]
    fn day_and_month_start_at_midnight_utc() {
        let mut day = Window::new(Period::Day);
        day.add(at("2026-11-23T23:59:59.999Z"), 3);
        assert_eq!(day.until_free(at("2026-11-23T23:59:59.999Z"), 1), 1);
        assert_eq!(day.used(at("2026-11-24T00:00:00Z")), 0);

        let mut month = Window::new(Period::Month);
        month.add(at("2026-02-28T23:59:59Z"), 3);
        assert_eq!(month.used(at("2026-02-28T23:59:59.5Z")), 3);
        assert_eq!(month.used(at("2026-03-01T00:00:00Z")), 0);
    }

    #[test]
    fn clock_jumping_back_gives_no_second_allowance() {
        for period in [Period::Second, Period::Minute, Period::Hour, Period::Day, Period::Month] {
            let mut window = Window::new(period);
            let now = at("2026-11-23T12:00:00Z");
            window.add(now, 10);
            assert_eq!(window.used(now - 3_600_000 * 24 * 40), 10, "{period:?}");
            window.add(now - 3_600_000 * 24 * 40, 1);
            assert_eq!(window.used(now), 11, "{period:?}");
        }
    }
}
