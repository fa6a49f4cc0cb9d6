//! Times as messages say them.

use std::fmt;

/// Seconds since 1970; displays as RFC 3339.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Moment(pub i64);

impl fmt::Display for Moment {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_second(self.0) {
            Ok(moment) => write!(out, "{moment}"),
            Err(_) => write!(out, "{} s after 1970", self.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_in_utc_and_never_fail() {
        assert_eq!(Moment(1_700_000_000).to_string(), "2023-11-14T22:13:20Z");
        assert_eq!(Moment(i64::MAX).to_string(), "9223372036854775807 s after 1970");
    }
}
