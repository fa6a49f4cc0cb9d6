use super::*;

const BOUNDS: UsageBounds = UsageBounds {
    is_free: false,
    estimated_input: 7,
    plausible_input: 1_000,
    allowance: Some(Allowance { max_output: Some(100), thinking: 0, candidates: 1 }),
};

fn seen(content: bool, complete: bool, usage: Option<(u64, Option<u64>)>) -> AttemptStats {
    let usage = usage.map(|(input, output)| Usage { input: Some(input), output, ..Usage::default() });
    AttemptStats {
        content,
        complete,
        error: None,
        finished: complete,
        usage,
        output_chars: if content { 40 } else { 0 },
        content_events: 3,
        session: None,
    }
}

fn counts(seen: AttemptStats) -> (Option<u64>, Option<u64>, UsageSource) {
    let (usage, source) = seen.account(BOUNDS, true);
    (usage.input, usage.output, source)
}

#[test]
fn final_usage_report_is_taken_as_is() {
    assert_eq!(counts(seen(true, true, Some((5, Some(2))))), (Some(5), Some(2), UsageSource::Reported));
    let finished = AttemptStats { finished: true, complete: false, ..seen(true, false, Some((5, Some(9)))) };
    assert_eq!(counts(finished), (Some(5), Some(9), UsageSource::Reported));
    let silent = AttemptStats { output_chars: 0, ..seen(true, true, Some((5, Some(0)))) };
    assert_eq!(counts(silent), (Some(5), Some(0), UsageSource::Reported), "zero where nothing came is a count");
}

#[test]
fn final_report_without_input_or_output_is_completed() {
    let expected = (Some(7), Some(10), UsageSource::Estimated);
    assert_eq!(counts(seen(true, true, Some((0, Some(0))))), expected);
    let no_input = Usage { output: Some(9), ..Usage::default() };
    let (usage, source) = AttemptStats { usage: Some(no_input), ..seen(true, true, None) }.account(BOUNDS, true);
    assert_eq!((usage.input, usage.output, source), (Some(7), Some(9), UsageSource::Estimated));
    assert_eq!(counts(seen(true, true, Some((5, None)))), (Some(5), Some(10), UsageSource::Estimated));
}

#[test]
fn implausible_counts_are_estimated_instead() {
    for absurd in [1_001, 1_000_000_000_000_000, u64::MAX] {
        assert_eq!(counts(seen(true, true, Some((absurd, Some(2))))), (Some(7), Some(2), UsageSource::Estimated));
        assert_eq!(counts(seen(true, false, Some((absurd, None)))), (Some(7), Some(10), UsageSource::Estimated));
        assert_eq!(counts(seen(false, false, Some((absurd, None)))), (Some(7), None, UsageSource::Estimated));
    }
    for absurd in [100 + (1 << 17) + 1, u64::MAX] {
        assert_eq!(counts(seen(true, true, Some((5, Some(absurd))))), (Some(5), Some(10), UsageSource::Estimated));
    }
    let cached = Usage { input: Some(1), cache_read: Some(u64::MAX), cache_write: Some(u64::MAX), ..Usage::default() };
    let (usage, source) = AttemptStats { usage: Some(cached), ..seen(true, true, None) }.account(BOUNDS, true);
    assert_eq!((usage.total_input(), source), (7, UsageSource::Estimated));
}

#[test]
fn aborted_answer_counts_at_least_what_was_seen() {
    assert_eq!(counts(seen(true, false, Some((5, Some(1))))), (Some(5), Some(10), UsageSource::Counted));
    assert_eq!(counts(seen(true, false, None)), (Some(7), Some(10), UsageSource::Counted));
    let tiny = AttemptStats { output_chars: 3, ..seen(true, false, None) };
    assert_eq!(counts(tiny), (Some(7), Some(3), UsageSource::Counted), "three events are three tokens");
}

#[test]
fn received_request_costs_its_input_even_if_it_failed() {
    assert_eq!(counts(seen(false, false, None)), (Some(7), None, UsageSource::Estimated));
    assert_eq!(counts(seen(false, false, Some((5, Some(1))))), (Some(5), None, UsageSource::Reported));
    let refused = seen(false, false, None).account(BOUNDS, false);
    assert_eq!(refused, (Usage::default(), UsageSource::None));
}

#[test]
fn whole_answer_without_usage_is_estimated() {
    assert_eq!(counts(seen(true, true, None)), (Some(7), Some(10), UsageSource::Estimated));
    let counting = UsageBounds { is_free: true, ..BOUNDS };
    assert_eq!(seen(true, true, None).account(counting, true).1, UsageSource::None);
}

#[test]
fn cached_input_is_not_estimated_on_top() {
    let usage = Usage { cache_read: Some(90), ..Usage::default() };
    let cut = AttemptStats { usage: Some(usage), ..seen(true, false, None) };
    let (usage, _) = cut.account(BOUNDS, true);
    assert_eq!((usage.input, usage.cache_read), (None, Some(90)));
}

#[test]
fn calls_of_one_request_use_their_shares_together() {
    let share = |part| InputShare { part, of: 100 };
    let counted = |tokens| seen(true, true, Some((tokens, None)));
    let bounds = UsageBounds { allowance: None, estimated_input: 70, ..BOUNDS };
    let account = |parts: &PartsUsage, stats: AttemptStats, received| {
        let (usage, source) = parts.account(&stats, bounds, received);
        (usage.input, source)
    };
    let mut parts = PartsUsage::new(share(40));
    assert_eq!(account(&parts, AttemptStats::default(), false), (None, UsageSource::None), "not sent yet");
    assert_eq!(account(&parts, AttemptStats::default(), true), (Some(28), UsageSource::Estimated), "two fifths");
    let silent = AttemptStats { output_chars: 0, content_events: 0, ..counted(25) };
    parts.next(&silent, bounds, share(40));
    assert_eq!(
        account(&parts, AttemptStats::default(), false),
        (Some(25), UsageSource::Reported),
        "the next was refused"
    );
    assert_eq!(account(&parts, AttemptStats::default(), true), (Some(53), UsageSource::Estimated));
    let absurd = AttemptStats { usage: Some(Usage { input: Some(401), ..Usage::default() }), ..silent };
    assert_eq!(
        account(&parts, absurd, true),
        (Some(53), UsageSource::Estimated),
        "more than its share of what is plausible"
    );
    parts.next(
        &AttemptStats { usage: Some(Usage { input: Some(30), ..Usage::default() }), ..silent },
        bounds,
        share(20),
    );
    assert_eq!(account(&parts, silent, true), (Some(80), UsageSource::Reported));
    let empty = PartsUsage::new(InputShare { part: 0, of: 0 });
    assert_eq!(account(&empty, AttemptStats::default(), true), (None, UsageSource::Estimated), "no text, no tokens");
}
