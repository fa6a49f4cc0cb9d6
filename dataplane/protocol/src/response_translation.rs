//! An answer's way back: from the upstream's bytes to the client's, whole or as they come, with what was seen on the way.
//!
//! Both lanes stand behind the same types, so that the proxy never asks which one it is on. Nothing here waits or
//! knows of sockets: bytes in, bytes out. What is seen (usage, content, the end) goes to [`ResponseStats`]; failing to
//! understand an upstream never disturbs a passed-through answer.

use std::{collections::HashSet, sync::Arc};

use bytes::Bytes;

use crate::{
    codec::{NameMap, ResponseContext},
    dialect::{Framing, Operation},
    ir::{FinishReason, Usage},
    lane::{self, Codecs, passthrough::Passthrough, raw::Raw, translated::Translated},
    problem::{Problem, RetryHints, understand},
    report::{self, Field, Warning},
};

/// Most names in [`ResponseStats::lost`]; they come from the upstream.
const MOST_LOST: usize = 32;

/// The way back of one attempt.
#[derive(Clone, Debug)]
pub struct ResponseTranslation {
    pub(crate) client: Operation,
    pub(crate) upstream: Operation,
    pub(crate) framing: Framing,
    pub(crate) include_usage: bool,
    /// Answers that the client asked for.
    pub(crate) candidates: u64,
    pub(crate) lane: Lane,
}

/// How the answer travels.
#[derive(Clone, Debug)]
pub(crate) enum Lane {
    /// As it is. `hide_usage`: usage was asked for by the gateway and not by the client.
    Passthrough { hide_usage: bool },
    /// As it is, of whatever content type.
    Raw,
    /// Through the neutral representation, with the client's tool names restored.
    Translated { codecs: Codecs, names: Arc<NameMap>, custom_tools: Arc<HashSet<String>> },
}

/// A whole answer for the client.
#[derive(Clone, Debug)]
pub struct Whole {
    /// The body.
    pub body: Bytes,
    /// Its content type, where `changed`; the upstream's own otherwise.
    pub content_type: &'static str,
    /// What was seen in it.
    pub stats: ResponseStats,
    /// Whether the body is not the upstream's, so that its length and encoding headers no longer hold.
    pub changed: bool,
}

/// What has been seen of an answer so far.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ResponseStats {
    /// Real content has come: text, reasoning, a call or a finish; no role-only deltas, pings, comments, empty deltas.
    pub content: bool,
    /// Token counts, as far as the upstream said.
    pub usage: Option<Usage>,
    /// Characters of text, reasoning and arguments that were delivered, for estimates where usage is missing.
    pub output_chars: u64,
    /// Events that delivered some of these characters (parts of one event count each): at least so many tokens came.
    pub content_events: u64,
    /// Why the answer ended (the first candidate's reason).
    pub finish: Option<FinishReason>,
    /// How many candidates have said why they ended.
    pub finishes: u64,
    /// The upstream failed, in an event or by stopping early.
    pub error: Option<Problem>,
    /// The dialect's terminal event has come.
    pub complete: bool,
    /// The upstream's id for the answer.
    pub response_id: Option<String>,
    /// The model that answered, as the upstream names it.
    pub response_model: Option<String>,
    /// Safety systems stopped the prompt or the answer.
    pub content_filtered: bool,
    /// What the upstream said and the client's dialect has no place for, by name, each once (translated lane only).
    pub lost: Vec<Field>,
    /// How much more was lost beyond the bound of `lost`.
    pub lost_more: u64,
}

/// An answer that arrives in pieces.
pub struct ResponseStream {
    lane: StreamLane,
    candidates: u64,
}

enum StreamLane {
    Passthrough(Box<Passthrough>),
    Raw(Box<Raw>),
    Translated(Box<Translated>),
}

impl ResponseTranslation {
    /// What the upstream was called with.
    pub fn operation(&self) -> Operation {
        self.upstream
    }

    /// Whether bytes go through as they are.
    pub fn is_passthrough(&self) -> bool {
        match self.lane {
            Lane::Passthrough { .. } | Lane::Raw => true,
            Lane::Translated { .. } => false,
        }
    }

    /// Whether the answer goes through [`Self::stream_of`] whatever its framing, under the upstream's own content type.
    pub fn is_raw(&self) -> bool {
        matches!(self.lane, Lane::Raw)
    }

    /// How the client wants the answer: [`Self::whole`] serves [`Framing::Whole`], [`Self::stream`] the others,
    /// whatever content type the upstream answers with.
    pub fn framing(&self) -> Framing {
        self.framing
    }

    /// The content type of [`Self::stream`]'s bytes.
    pub fn stream_content_type(&self) -> &'static str {
        self.framing.content_type()
    }

    /// An upstream's whole answer (status 2xx), for the client.
    ///
    /// # Errors
    /// When it is no answer of the upstream's dialect, or says that it failed.
    pub fn whole(
        &self,
        reply: &ResponseContext,
        status: u16,
        content_type: Option<&str>,
        body: Bytes,
    ) -> Result<Whole, Problem> {
        lane::whole::answer(self, reply, Answer { status, content_type, body })
    }

    /// The error that a whole answer states in spite of its status, as the upstream wrote it: none where the client
    /// speaks another dialect, or the answer states none.
    pub fn stated_error(&self, body: &Bytes) -> Option<Bytes> {
        lane::whole::stated(self.upstream, body).filter(|_| self.is_passthrough())
    }

    /// Starts an answer that arrives in pieces.
    pub fn stream(&self, reply: &ResponseContext) -> ResponseStream {
        self.stream_of(reply, None)
    }

    /// The same for an answer of this content type, as the upstream states it; a raw answer is read by it.
    pub fn stream_of(&self, reply: &ResponseContext, content_type: Option<&str>) -> ResponseStream {
        let mut reply = reply.clone();
        reply.include_usage = self.include_usage;
        let lane = match &self.lane {
            Lane::Passthrough { hide_usage } => {
                StreamLane::Passthrough(Box::new(Passthrough::new(self, reply, *hide_usage)))
            }
            Lane::Raw => StreamLane::Raw(Box::new(Raw::new(self.upstream, reply, content_type))),
            Lane::Translated { codecs, names, custom_tools } => {
                reply.custom_tools = Arc::clone(custom_tools);
                let ends = (self.upstream, self.client);
                let lane = Translated::between(*codecs, ends, self.framing, &reply, Arc::clone(names));
                StreamLane::Translated(Box::new(lane))
            }
        };
        ResponseStream { lane, candidates: self.candidates }
    }

    /// What an upstream's error answer means. Only the header values that [`RetryHints`] names are looked at.
    pub fn failure(&self, status: u16, retry: RetryHints<'_>, body: &[u8]) -> Problem {
        let mut problem = understand::failure(self.upstream.family(), status, retry, body);
        if !self.is_passthrough() {
            lane::in_clients_words(&mut problem, self.client);
        }
        problem
    }
}

/// An upstream's whole answer.
pub(crate) struct Answer<'a> {
    pub(crate) status: u16,
    pub(crate) content_type: Option<&'a str>,
    pub(crate) body: Bytes,
}

impl ResponseStream {
    /// Takes what the upstream sent; gives what the client gets now, possibly nothing.
    pub fn push(&mut self, chunk: Bytes) -> Bytes {
        match &mut self.lane {
            StreamLane::Passthrough(lane) => lane.push(chunk),
            StreamLane::Raw(lane) => lane.push(chunk),
            StreamLane::Translated(lane) => lane.push(&chunk),
        }
    }

    /// The upstream closed its body: the rest, or the dialect's terminal error if it stopped too early.
    pub fn finish(&mut self) -> Bytes {
        match &mut self.lane {
            StreamLane::Passthrough(lane) => lane.finish(),
            StreamLane::Raw(lane) => lane.finish(),
            StreamLane::Translated(lane) => lane.finish(),
        }
    }

    /// The upstream died, or the gateway stops the answer: the dialect's terminal error, well-formed after whatever
    /// went out. Nothing if the answer was complete already.
    pub fn fail(&mut self, problem: &Problem) -> Bytes {
        match &mut self.lane {
            StreamLane::Passthrough(lane) => lane.fail(problem),
            StreamLane::Raw(lane) => lane.fail(problem),
            StreamLane::Translated(lane) => lane.fail(problem),
        }
    }

    /// What keeps an idle connection open in this dialect (docs/protocols/streaming.md), if anything is legal now.
    pub fn heartbeat(&mut self) -> Bytes {
        match &mut self.lane {
            StreamLane::Passthrough(lane) => lane.heartbeat(),
            StreamLane::Raw(lane) => lane.heartbeat(),
            StreamLane::Translated(lane) => lane.heartbeat(),
        }
    }

    /// The error event, as the upstream wrote it, as the body of an error answer: none where the client speaks another
    /// dialect, where there was none, or where the dialect's events are no such body.
    pub fn stated_error(&self) -> Option<Bytes> {
        match &self.lane {
            StreamLane::Passthrough(lane) => lane.stated_error(),
            StreamLane::Raw(_) | StreamLane::Translated(_) => None,
        }
    }

    /// Whether the upstream itself has said that it failed, be it in an event or in one document in place of events.
    pub fn states_error(&self) -> bool {
        match &self.lane {
            StreamLane::Passthrough(lane) => lane.states_error(),
            StreamLane::Raw(lane) => lane.states_error(),
            StreamLane::Translated(lane) => lane.states_error(),
        }
    }

    /// What has been seen so far.
    pub fn stats(&self) -> &ResponseStats {
        match &self.lane {
            StreamLane::Passthrough(lane) => lane.stats(),
            StreamLane::Raw(lane) => lane.stats(),
            StreamLane::Translated(lane) => lane.stats(),
        }
    }

    /// Whether all of the answer has come: every candidate has finished and the tokens are counted. Nothing but the
    /// dialect's terminal marker is missing, if that is.
    pub fn is_answered(&self) -> bool {
        let seen = self.stats();
        let is_counted = seen.usage.is_some_and(|usage| usage.output.is_some());
        let finished = match &self.lane {
            StreamLane::Passthrough(lane) => lane.finished(),
            // What it ends with is not known before it has ended.
            StreamLane::Raw(_) => return false,
            StreamLane::Translated(lane) => lane.finished(),
        };
        seen.error.is_none() && is_counted && finished >= self.candidates
    }

    /// Bytes that are held of an event, a block or a document that is not complete.
    pub fn held(&self) -> usize {
        match &self.lane {
            StreamLane::Passthrough(lane) => lane.held(),
            StreamLane::Raw(_) => 0,
            StreamLane::Translated(lane) => lane.held(),
        }
    }

    /// Gives up what is held only to be looked at, where the client gets it without that. Whether that is all of it.
    pub fn stop_looking(&mut self) -> bool {
        match &mut self.lane {
            StreamLane::Passthrough(lane) => lane.stop_looking(),
            StreamLane::Raw(_) => true,
            StreamLane::Translated(_) => false,
        }
    }
}

impl ResponseStats {
    /// Takes counts over, member by member: the last value wins, but a zero never replaces a count, because upstreams
    /// fill counts with zeros before they know them (docs/protocols/usage.md).
    pub(crate) fn count(&mut self, later: Usage) {
        let mut usage = self.usage.unwrap_or_default();
        let keep = |new: Option<u64>, old: Option<u64>| if new.unwrap_or(0) == 0 { old.or(new) } else { new };
        usage.input = keep(later.input, usage.input);
        usage.cache_read = keep(later.cache_read, usage.cache_read);
        usage.cache_write = keep(later.cache_write, usage.cache_write);
        usage.output = keep(later.output, usage.output);
        usage.reasoning = keep(later.reasoning, usage.reasoning);
        self.usage = Some(usage);
    }

    /// Notes why the answer ended. An empty answer is an answer, unless it was filtered away.
    pub(crate) fn finished(&mut self, reason: FinishReason) {
        let filtered = matches!(reason, FinishReason::ContentFilter | FinishReason::Refusal);
        self.content_filtered |= filtered;
        self.content |= !filtered;
        self.finish.get_or_insert(reason);
        self.finishes = self.finishes.saturating_add(1);
    }

    /// What was lost as warnings, for `x-routeapi-warnings` where the answer is whole: `answer.` and the name. `from` is
    /// how many of [`Self::lost`] were told before; what is beyond its bound is not among them.
    pub fn warnings(&self, from: usize) -> impl Iterator<Item = Warning> {
        self.lost.iter().skip(from).map(|field| Warning::Dropped { field: format!("answer.{field}").into() })
    }

    /// Notes something that the client does not get.
    pub(crate) fn lose(&mut self, field: Field) {
        let field = report::clip(field);
        if self.lost.contains(&field) {
            return;
        }
        if self.lost.len() < MOST_LOST {
            self.lost.push(field);
        } else {
            self.lost_more = self.lost_more.saturating_add(1);
        }
    }

    /// Notes delivered characters.
    pub(crate) fn delivered(&mut self, chars: u64) {
        self.content |= chars > 0;
        self.content_events = self.content_events.saturating_add(u64::from(chars > 0));
        self.output_chars = self.output_chars.saturating_add(chars);
    }
}
