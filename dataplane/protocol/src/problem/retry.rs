//! When a retry makes sense, from what vendors say in headers, details and words (hard case 139).
//!
//! An explicit wait (`retry-after-ms`, `retry-after`) wins over a reset of a limit, which counts only for limits that
//! are used up. Points in time become waits; a past one is no wait at all.

/// Headers of an error answer that say when to come back.
#[derive(Clone, Copy)]
pub struct RetryHints<'a> {
    /// Looks a header up by its lower-case name.
    pub header: &'a dyn Fn(&str) -> Option<&'a str>,
    /// Milliseconds since 1970, now; vendors name points in time.
    pub now_ms: u64,
}

/// OpenAI's limits: `x-ratelimit-{remaining,reset}-…`, the reset a duration.
const OPENAI_LIMITS: [&str; 2] = ["requests", "tokens"];

/// Anthropic's: `anthropic-ratelimit-…-{remaining,reset}`, the reset a time.
const ANTHROPIC_LIMITS: [&str; 4] = ["requests", "tokens", "input-tokens", "output-tokens"];

/// Milliseconds to wait, as far as headers say.
pub(super) fn after(hints: RetryHints<'_>) -> Option<u64> {
    let header = hints.header;
    if let Some(ms) = header("retry-after-ms").and_then(|value| value.trim().parse::<f64>().ok()) {
        return millis(ms);
    }
    if let Some(value) = header("retry-after") {
        let value = value.trim();
        if let Ok(seconds) = value.parse::<f64>() {
            return millis(seconds * 1_000.0);
        }
        if let Ok(time) = jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(value) {
            return Some(until(time, hints.now_ms));
        }
    }
    let used_up = |name: String| header(&name).is_none_or(|remaining| remaining.trim() == "0");
    let openai = OPENAI_LIMITS.iter().filter(|limit| used_up(format!("x-ratelimit-remaining-{limit}")));
    let openai = openai.filter_map(|limit| duration(header(&format!("x-ratelimit-reset-{limit}"))?));
    let anthropic = ANTHROPIC_LIMITS.iter().filter(|limit| used_up(format!("anthropic-ratelimit-{limit}-remaining")));
    let anthropic = anthropic.filter_map(|limit| {
        let time = header(&format!("anthropic-ratelimit-{limit}-reset"))?.trim().parse().ok()?;
        Some(until(time, hints.now_ms))
    });
    openai.chain(anthropic).max()
}

/// Reads `34.5s`, `6m0s`, `120ms`, `1h2m`, or plain seconds; as milliseconds.
pub(super) fn duration(text: &str) -> Option<u64> {
    let mut rest = text.trim();
    if let Ok(seconds) = rest.parse::<f64>() {
        return millis(seconds * 1_000.0);
    }
    let mut total = 0.0;
    while !rest.is_empty() {
        let digits = rest.find(|letter: char| !(letter.is_ascii_digit() || letter == '.'))?;
        let (number, tail) = rest.split_at(digits);
        let letters = tail.find(|letter: char| letter.is_ascii_digit()).unwrap_or(tail.len());
        let (unit, after) = tail.split_at(letters);
        let scale = match unit {
            "ms" => 1.0,
            "s" => 1_000.0,
            "m" => 60_000.0,
            "h" => 3_600_000.0,
            "d" => 86_400_000.0,
            _ => return None,
        };
        total += number.parse::<f64>().ok()? * scale;
        rest = after;
    }
    millis(total)
}

/// Finds `try again in 20s` and `retry in 34.07s` in a message.
pub(super) fn in_words(message: &str) -> Option<u64> {
    let tail = ["try again in ", "retry in "].iter().find_map(|phrase| Some(message.split_once(phrase)?.1))?;
    let end = tail.find(|letter: char| !(letter.is_ascii_alphanumeric() || letter == '.')).unwrap_or(tail.len());
    let (word, rest) = tail.split_at(end);
    let word = word.trim_end_matches('.');
    if word.parse::<f64>().is_ok() && !rest.trim_start().starts_with("second") {
        return None;
    }
    duration(word)
}

fn until(time: jiff::Timestamp, now_ms: u64) -> u64 {
    u64::try_from(time.as_millisecond()).unwrap_or(0).saturating_sub(now_ms)
}

/// Rounded up to whole milliseconds. No vendor means weeks; a number that big is not believed.
fn millis(ms: f64) -> Option<u64> {
    const MOST: f64 = 32.0 * 86_400_000.0;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the range is checked")]
    (0.0..MOST).contains(&ms).then(|| ms.ceil() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wait(headers: &[(&'static str, &'static str)]) -> Option<u64> {
        let header = |name: &str| headers.iter().find(|(key, _)| *key == name).map(|(_, value)| *value);
        after(RetryHints { header: &header, now_ms: 1_700_000_000_000 })
    }

    #[test]
    fn headers_become_waits() {
        assert_eq!(wait(&[("retry-after", "7"), ("retry-after-ms", "1500.2")]), Some(1_501));
        assert_eq!(wait(&[("retry-after", "1.5")]), Some(1_500));
        assert_eq!(wait(&[("retry-after", "Tue, 14 Nov 2023 22:13:30 GMT")]), Some(10_000));
        assert_eq!(wait(&[("retry-after", "Tue, 14 Nov 2000 22:13:30 GMT")]), Some(0));
        assert_eq!(wait(&[("retry-after", "soon")]), None);
        let openai = [
            ("x-ratelimit-remaining-requests", "5"),
            ("x-ratelimit-reset-requests", "8h"),
            ("x-ratelimit-remaining-tokens", "0"),
            ("x-ratelimit-reset-tokens", "6m0.5s"),
        ];
        assert_eq!(wait(&openai), Some(360_500));
        let anthropic = [
            ("anthropic-ratelimit-requests-remaining", "0"),
            ("anthropic-ratelimit-requests-reset", "2023-11-14T22:13:25Z"),
        ];
        assert_eq!(wait(&anthropic), Some(5_000));
        assert_eq!(wait(&[]), None);
    }

    #[test]
    fn words_become_waits() {
        assert_eq!(in_words("Rate limit reached. Please try again in 1m2.5s. Contact us"), Some(62_500));
        assert_eq!(in_words("Please retry in 34.074824224s."), Some(34_075));
        assert_eq!(in_words("Please try again in 20 seconds"), Some(20_000));
        assert_eq!(in_words("try again in a while"), None);
        assert_eq!(duration("120ms"), Some(120));
        assert_eq!(duration("-5s"), None);
        assert_eq!(duration("1e300"), None);
    }
}
