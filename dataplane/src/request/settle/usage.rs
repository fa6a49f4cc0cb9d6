//! What an attempt used, judged from what was seen of its answer.
//!
//! | what was seen | usage | source |
//! |---|---|---|
//! | the upstream's final report | as reported | reported |
//! | content, but no final report | input as reported or estimated, output at least what came | counted |
//! | a whole answer without any report | input estimated, output from its size | estimated |
//! | no content, but a first report (Anthropic sends input tokens ahead) | that input | reported |
//! | nothing | nothing | none |

use routeapi_metering::{AttemptRecord, Usage, UsageSource};
use routeapi_protocol::{dialect::Surface, estimate, exchange::Observed, ir, problem::ProblemKind};

/// What was seen of an answer so far: small enough to copy after each piece, so that it survives the reader being dropped.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::request) struct Seen {
    /// Real content has come.
    pub content: bool,
    /// The answer's own end has come.
    pub complete: bool,
    /// The upstream said that it failed.
    pub error: Option<ProblemKind>,
    /// The answer said why it ended, so the usage it reports is final.
    finished: bool,
    usage: Option<ir::Usage>,
    output_chars: u64,
    /// Events that brought content. One holds at least one token.
    content_events: u64,
}

impl Seen {
    pub(super) fn update(&mut self, observed: &Observed) {
        self.content = observed.content;
        self.complete = observed.complete;
        self.error = observed.error.as_ref().map(|problem| problem.kind);
        self.finished = observed.finish.is_some();
        self.usage = observed.usage;
        self.output_chars = observed.output_chars;
        self.content_events = observed.content_events;
    }

    /// The answer came in one piece.
    pub(super) fn whole(&mut self) {
        self.content = true;
        self.complete = true;
    }

    /// The usage and where it comes from.
    pub(super) fn account(&self, surface: Option<Surface>, estimated_input: u64) -> (Usage, UsageSource) {
        // Counting tokens is free at every vendor.
        if surface.is_some_and(|surface| surface.operation() == "count_tokens") {
            return (Usage::default(), UsageSource::None);
        }
        let reported = self.usage.map(convert);
        match reported {
            Some(usage) if self.complete || (self.finished && usage.output.is_some()) => (usage, UsageSource::Reported),
            Some(usage) if !self.content => (Usage { output: None, reasoning: None, ..usage }, UsageSource::Reported),
            None if !self.content && !self.complete => (Usage::default(), UsageSource::None),
            partial => {
                let source = if self.complete { UsageSource::Estimated } else { UsageSource::Counted };
                (self.counted(partial.unwrap_or_default(), estimated_input), source)
            }
        }
    }

    fn counted(&self, reported: Usage, estimated_input: u64) -> Usage {
        let counted = estimate::output_tokens(self.output_chars).max(self.content_events);
        let missing = counted.saturating_sub(reported.total_output());
        let output = reported.output.unwrap_or(0).saturating_add(missing);
        Usage {
            input: reported.input.or_else(|| (reported.total_input() == 0).then_some(estimated_input)),
            output: (output > 0 || reported.output.is_some()).then_some(output),
            ..reported
        }
    }
}

fn convert(usage: ir::Usage) -> Usage {
    let ir::Usage { input, cache_read, cache_write, output, reasoning } = usage;
    Usage { input, cache_read, cache_write, output, reasoning }
}

/// The weakest source among the attempts that used something.
pub(super) fn weakest(attempts: &[AttemptRecord]) -> UsageSource {
    let rank = |source: UsageSource| match source {
        UsageSource::None => 0,
        UsageSource::Reported => 1,
        UsageSource::Counted => 2,
        UsageSource::Estimated => 3,
    };
    attempts.iter().map(|attempt| attempt.usage_source).max_by_key(|&source| rank(source)).unwrap_or(UsageSource::None)
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHAT: Option<Surface> = Some(Surface::ChatCompletions);

    fn seen(content: bool, complete: bool, usage: Option<(u64, Option<u64>)>) -> Seen {
        let usage = usage.map(|(input, output)| ir::Usage { input: Some(input), output, ..ir::Usage::default() });
        Seen {
            content,
            complete,
            error: None,
            finished: complete,
            usage,
            output_chars: if content { 40 } else { 0 },
            content_events: 3,
        }
    }

    fn counts(seen: Seen) -> (Option<u64>, Option<u64>, UsageSource) {
        let (usage, source) = seen.account(CHAT, 7);
        (usage.input, usage.output, source)
    }

    #[test]
    fn a_final_report_stands_even_if_zero() {
        assert_eq!(counts(seen(true, true, Some((5, Some(0))))), (Some(5), Some(0), UsageSource::Reported));
        let finished = Seen { finished: true, complete: false, ..seen(true, false, Some((5, Some(9)))) };
        assert_eq!(counts(finished), (Some(5), Some(9), UsageSource::Reported));
    }

    #[test]
    fn an_abort_counts_at_least_what_came() {
        assert_eq!(counts(seen(true, false, Some((5, Some(1))))), (Some(5), Some(10), UsageSource::Counted));
        assert_eq!(counts(seen(true, false, None)), (Some(7), Some(10), UsageSource::Counted));
        let tiny = Seen { output_chars: 3, ..seen(true, false, None) };
        assert_eq!(counts(tiny), (Some(7), Some(3), UsageSource::Counted), "three events are three tokens");
    }

    #[test]
    fn without_content_nothing_is_invented() {
        assert_eq!(counts(seen(false, false, None)), (None, None, UsageSource::None));
        assert_eq!(counts(seen(false, false, Some((5, Some(1))))), (Some(5), None, UsageSource::Reported));
    }

    #[test]
    fn a_whole_answer_without_a_report_is_estimated() {
        assert_eq!(counts(seen(true, true, None)), (Some(7), Some(10), UsageSource::Estimated));
        assert_eq!(seen(true, true, None).account(Some(Surface::CountTokens), 7).1, UsageSource::None);
    }

    #[test]
    fn cached_input_is_not_estimated_on_top() {
        let usage = ir::Usage { cache_read: Some(90), ..ir::Usage::default() };
        let cut = Seen { usage: Some(usage), ..seen(true, false, None) };
        let (usage, _) = cut.account(CHAT, 100);
        assert_eq!((usage.input, usage.cache_read), (None, Some(90)));
    }
}
