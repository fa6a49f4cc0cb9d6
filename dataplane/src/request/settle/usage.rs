//! What an attempt used, judged from what was seen of its answer. Estimated input is that of the texts that were sent, not of
//! the JSON around them.
//!
//! | what was seen | usage | source |
//! |---|---|---|
//! | the upstream's final report | as reported | reported |
//! | a final report that leaves out or denies what must have been used, or is not plausible | what holds of it, the rest estimated | estimated |
//! | content, but no final report | input as reported or estimated, output at least what came | counted |
//! | a whole answer without any report | input estimated, output from its size | estimated |
//! | no content, but a first report (Anthropic sends input tokens ahead) | that input | reported |
//! | nothing, but the upstream had received the request | input estimated | estimated |
//! | an error status, or the request was never sent | nothing | none |
//!
//! A request that is sent in several calls (a batch of embeddings) has used what each of them has; estimates go by the share
//! of its texts. Once all are answered, their sum counts as the one answer that the client gets.
//!
//! A count is plausible up to a bound from the bytes that were sent and seen (`routeapi_protocol::estimate`): for input one
//! token a byte and 16,384 that a vendor may add, or 2^24 more if the request refers to files, media, caches, earlier
//! answers or tools; for output four tokens a character or what the request allows and 2^17 of hidden reasoning, and 2^20
//! for each answer without a maximum. Beyond it the whole side, input or output, is estimated instead.

use routeapi_metering::{AttemptRecord, Usage, UsageSource};
use routeapi_protocol::{
    estimate, ir,
    problem::ProblemKind,
    request::{Allowance, ParsedRequest},
    response_stats::ResponseStats,
};

/// What a request asked for, as far as its answer's usage is judged by it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct UsageBounds {
    /// Counting tokens and moderation are free at every vendor.
    is_free: bool,
    estimated_input: u64,
    plausible_input: u64,
    /// None for answers without tokens.
    allowance: Option<Allowance>,
}

impl UsageBounds {
    pub(super) fn of(request: &ParsedRequest) -> Self {
        Self {
            is_free: request.operation().is_free(),
            estimated_input: request.sent_input_tokens(),
            plausible_input: request.plausible_input_tokens(),
            allowance: request.operation().bills_output().then(|| request.allowance()),
        }
    }

    /// Of a part of the request that holds this of its input.
    fn of_part(self, InputShare { part, of }: InputShare) -> Self {
        let share = |whole: u64| {
            let share = (u128::from(whole) * u128::from(part)).div_ceil(u128::from(of.max(1)));
            u64::try_from(share).unwrap_or(u64::MAX)
        };
        let (estimated_input, plausible_input) = (share(self.estimated_input), share(self.plausible_input));
        Self { estimated_input, plausible_input, ..self }
    }

    fn plausible_output(&self, chars: u64) -> u64 {
        self.allowance.map_or(0, |allowance| estimate::plausible_output_tokens(allowance, chars))
    }
}

/// How much of a request's input one of the calls holds that it is sent in.
#[derive(Clone, Copy, Debug)]
pub(in crate::request) struct InputShare {
    /// Bytes of the call's texts.
    pub part: u64,
    /// Bytes of all calls' texts.
    pub of: u64,
}

/// What a request that is sent in several calls has used so far.
#[derive(Debug)]
pub(super) struct PartsUsage {
    /// By the calls that were answered.
    answered: (Usage, UsageSource),
    /// Of the call that runs.
    share: InputShare,
}

impl PartsUsage {
    /// Of a request whose first call holds so much.
    pub(super) fn new(share: InputShare) -> Self {
        Self { answered: (Usage::default(), UsageSource::None), share }
    }

    /// The call that ran was answered, and the next holds so much.
    pub(super) fn next(&mut self, stats: &AttemptStats, bounds: UsageBounds, share: InputShare) {
        *self = Self { answered: self.account(stats, bounds, true), share };
    }

    /// What all calls have used so far; `stats` and `received` are about the one that runs.
    pub(super) fn account(&self, stats: &AttemptStats, bounds: UsageBounds, received: bool) -> (Usage, UsageSource) {
        let (mut usage, source) = stats.account(bounds.of_part(self.share), received);
        let (answered, answered_source) = self.answered;
        usage.add(answered);
        (usage, weaker(source, answered_source))
    }
}

/// What was seen of an answer so far: small enough to copy after each piece, so that it survives the reader being dropped.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct AttemptStats {
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
    /// What a session has used, which its own answers say; nothing else here counts then.
    session: Option<(Usage, UsageSource)>,
}

impl AttemptStats {
    pub(super) fn update(&mut self, stats: &ResponseStats) {
        self.content = stats.content;
        self.complete = stats.complete;
        self.error = stats.error.as_ref().map(|problem| problem.kind);
        self.finished = stats.finish.is_some();
        self.usage = stats.usage;
        self.output_chars = stats.output_chars;
        self.content_events = stats.content_events;
    }

    /// A session has used so much until now.
    pub(super) fn session(&mut self, used: (Usage, UsageSource)) {
        self.session = Some(used);
    }

    /// The answer came in one piece.
    pub(super) fn whole(&mut self) {
        self.content = true;
        self.complete = true;
    }

    /// The usage and where it comes from. `received` says that the upstream may have worked on the request.
    pub(super) fn account(&self, bounds: UsageBounds, received: bool) -> (Usage, UsageSource) {
        if let Some(used) = self.session {
            return used;
        }
        if bounds.is_free {
            return (Usage::default(), UsageSource::None);
        }
        let Some(reported) = self.usage else {
            return match (self.content || self.complete, received) {
                (true, _) => (self.counted(Usage::default(), bounds), self.source()),
                (false, true) => (self.with_input(Usage::default(), bounds), UsageSource::Estimated),
                (false, false) => (Usage::default(), UsageSource::None),
            };
        };
        let believed = self.believed(reported, bounds);
        let doubted = believed != reported;
        let is_final = self.complete || (self.finished && reported.output.is_some());
        let (usage, source) = if is_final {
            let usage = self.completed(believed, bounds);
            (usage, if usage == believed { UsageSource::Reported } else { UsageSource::Estimated })
        } else if self.content {
            (self.counted(believed, bounds), UsageSource::Counted)
        } else {
            let usage = self.with_input(Usage { output: None, reasoning: None, ..believed }, bounds);
            (usage, if usage.input == believed.input { UsageSource::Reported } else { UsageSource::Estimated })
        };
        (usage, if doubted { UsageSource::Estimated } else { source })
    }

    /// Where counts come from that the upstream did not give.
    fn source(&self) -> UsageSource {
        if self.complete { UsageSource::Estimated } else { UsageSource::Counted }
    }

    /// The report without a side that is not plausible.
    fn believed(&self, mut usage: Usage, bounds: UsageBounds) -> Usage {
        if usage.total_input() > bounds.plausible_input {
            usage = Usage { input: None, cache_read: None, cache_write: None, ..usage };
        }
        if usage.total_output() > bounds.plausible_output(self.output_chars) {
            usage = Usage { output: None, reasoning: None, ..usage };
        }
        usage
    }

    /// A final report with what must have been used: every request has input, and what came was output.
    fn completed(&self, usage: Usage, bounds: UsageBounds) -> Usage {
        let usage = self.with_input(usage, bounds);
        let output = self.counted_output();
        if usage.total_output() == 0 && output > 0 { Usage { output: Some(output), ..usage } } else { usage }
    }

    /// At least what came.
    fn counted(&self, usage: Usage, bounds: UsageBounds) -> Usage {
        let missing = self.counted_output().saturating_sub(usage.total_output());
        let output = usage.output.unwrap_or(0).saturating_add(missing);
        let output = (output > 0 || usage.output.is_some()).then_some(output);
        Usage { output, ..self.with_input(usage, bounds) }
    }

    fn with_input(&self, usage: Usage, bounds: UsageBounds) -> Usage {
        if usage.total_input() == 0 && bounds.estimated_input > 0 {
            return Usage { input: Some(bounds.estimated_input), ..usage };
        }
        usage
    }

    /// Output tokens by what came: its characters, but at least one an event.
    fn counted_output(&self) -> u64 {
        if self.output_chars == 0 { 0 } else { estimate::output_tokens(self.output_chars).max(self.content_events) }
    }
}

/// The weakest source among the attempts that used something.
pub(super) fn weakest(attempts: &[AttemptRecord]) -> UsageSource {
    attempts.iter().map(|attempt| attempt.usage_source).fold(UsageSource::None, weaker)
}

/// The weaker source of two.
fn weaker(one: UsageSource, other: UsageSource) -> UsageSource {
    let rank = |source: UsageSource| match source {
        UsageSource::None => 0,
        UsageSource::Reported => 1,
        UsageSource::Counted => 2,
        UsageSource::Estimated => 3,
    };
    if rank(other) > rank(one) { other } else { one }
}

#[cfg(test)]
mod tests;
