//! A server's events: what its answers use.
//!
//! | what came | usage |
//! |---|---|
//! | `response.done` with usage | as reported |
//! | `response.done` without, after content | output by what came, input as much as the last report said |
//! | the end of the session while an answer is being made | the same |
//! | a transcription of input audio with a count of tokens | added |

use routeapi_metering::{Usage, UsageSource};
use serde_json::Value as Json;

use crate::{codec::json::count::count, estimate, scan::Scan};

/// Characters of base64 for a token of sound: a token is 50 ms, which are 2,400 bytes of 24 kHz PCM.
const AUDIO_CHARS_PER_TOKEN: u64 = 3_200;

/// More output tokens than this in one answer, beside what came, are no plausible count.
const MOST_OUTPUT: u64 = 1 << 20;

/// What the answers of one session use.
#[derive(Clone, Debug, Default)]
pub struct Answers {
    reported: Usage,
    estimated: Usage,
    /// Answers that are being made.
    open: u32,
    /// What came of them.
    came: Came,
    /// All input of the last report. Each answer reads the whole conversation again.
    last_input: Option<u64>,
    has_content: bool,
}

/// What came of answers that no report covers.
#[derive(Clone, Copy, Debug, Default)]
struct Came {
    chars: u64,
    audio_chars: u64,
}

impl Came {
    fn tokens(self) -> u64 {
        estimate::output_tokens(self.chars).saturating_add(self.audio_chars.div_ceil(AUDIO_CHARS_PER_TOKEN))
    }
}

impl Answers {
    /// Reads an event. Returns whether more usage is final now. What is not an event of the API is nothing to count.
    pub fn read(&mut self, event: &[u8]) -> bool {
        let Ok(scan) = Scan::read(event) else { return false };
        let Some(kind) = scan.last(event, "type").and_then(|kind| kind.text(event)) else { return false };
        let delta = || scan.last(event, "delta").map_or(0, |delta| delta.bytes(event).len().saturating_sub(2) as u64);
        match kind.as_ref() {
            "response.created" => self.open = self.open.saturating_add(1),
            "response.output_audio.delta" | "response.audio.delta" => {
                self.came.audio_chars = self.came.audio_chars.saturating_add(delta());
                self.has_content = true;
            }
            "response.output_text.delta"
            | "response.text.delta"
            | "response.output_audio_transcript.delta"
            | "response.audio_transcript.delta"
            | "response.function_call_arguments.delta"
            | "response.mcp_call_arguments.delta" => {
                self.came.chars = self.came.chars.saturating_add(delta());
                self.has_content = true;
            }
            "response.done" => {
                let response = scan.last(event, "response");
                let usage = response.and_then(|response| response.member(event, "usage")?.small(event));
                self.done(usage.as_ref().and_then(reported));
                return true;
            }
            "conversation.item.input_audio_transcription.completed" => {
                let usage = scan.last(event, "usage").and_then(|usage| usage.small(event));
                let Some(usage) = usage.as_ref().and_then(reported).filter(|usage| is_plausible(*usage, 0)) else {
                    return false;
                };
                self.reported.add(usage);
                return true;
            }
            _ => {}
        }
        false
    }

    /// Whether any of an answer has come.
    pub fn has_content(&self) -> bool {
        self.has_content
    }

    /// What is final: it only grows.
    pub fn settled(&self) -> Usage {
        let mut usage = self.reported;
        usage.add(self.estimated);
        usage
    }

    /// All of it, if the session ends now.
    pub fn usage(&self) -> (Usage, UsageSource) {
        let mut usage = self.settled();
        let unfinished = if self.open > 0 { self.estimate() } else { Usage::default() };
        usage.add(unfinished);
        let source = match (self.estimated.total().saturating_add(unfinished.total()), usage.total()) {
            (0, 0) => UsageSource::None,
            (0, _) => UsageSource::Reported,
            _ => UsageSource::Counted,
        };
        (usage, source)
    }

    fn done(&mut self, usage: Option<Usage>) {
        self.open = self.open.saturating_sub(1);
        match usage.filter(|usage| is_plausible(*usage, self.came.tokens())) {
            Some(usage) => {
                self.reported.add(usage);
                self.last_input = Some(usage.total_input());
            }
            None => self.estimated.add(self.estimate()),
        }
        // Of answers that are made at once nobody knows whose piece was whose: the last report covers what came of all.
        if self.open == 0 || usage.is_none() {
            self.came = Came::default();
        }
    }

    /// An answer without a report; nothing if nothing came of it.
    fn estimate(&self) -> Usage {
        match self.came.tokens() {
            0 => Usage::default(),
            output => Usage { input: self.last_input, output: Some(output), ..Usage::default() },
        }
    }
}

/// Counts in the words of the Realtime API, or of Responses; none where seconds are counted.
fn reported(usage: &Json) -> Option<Usage> {
    let of = |pointers: [&str; 2]| pointers.iter().find_map(|pointer| usage.pointer(pointer).and_then(count));
    let input = of(["/input_tokens", "/prompt_tokens"]);
    let output = of(["/output_tokens", "/completion_tokens"]);
    if input.is_none() && output.is_none() {
        return None;
    }
    let cached = of(["/input_token_details/cached_tokens", "/input_tokens_details/cached_tokens"]);
    let reasoning = of(["/output_token_details/reasoning_tokens", "/output_tokens_details/reasoning_tokens"]);
    Some(Usage {
        input: input.map(|all| all.saturating_sub(cached.unwrap_or(0))),
        cache_read: cached,
        cache_write: None,
        output: output.map(|all| all.saturating_sub(reasoning.unwrap_or(0))),
        reasoning,
    })
}

/// An upstream's count is believed up to a bound, so that a broken one cannot use up a token's limits.
fn is_plausible(usage: Usage, came: u64) -> bool {
    let most_output = MOST_OUTPUT.saturating_add(came.saturating_mul(4));
    usage.total_input() <= estimate::LARGEST_INPUT && usage.total_output() <= most_output
}
