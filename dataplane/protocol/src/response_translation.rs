//! An answer's way back: from the upstream's bytes to the client's, whole or as they come, with what was seen on the way.
//!
//! All lanes stand behind the same types, so that the proxy never asks which one it is on. Nothing here waits or
//! knows of sockets: bytes in, bytes out. What is seen (usage, content, the end) goes to [`ResponseStats`]; failing to
//! understand an upstream never disturbs a passed-through answer.

use std::{borrow::Cow, ops::Range, sync::Arc};

use bytes::Bytes;

use crate::{
    codec::ResponseContext,
    dialect::Operation,
    embed::Asked,
    framing::Framing,
    host::{Host, bedrock::chunks::Chunks},
    lane::{
        count, embed,
        generate::{self, stream::GenerateStream},
        parts::{Answer, Lane, in_clients_words, unreadable},
        passthrough::{self, stream::PassthroughStream},
        raw::RawStream,
        stated, stored,
    },
    problem::{Problem, ProblemKind, RetryHints, understand},
    response_stats::ResponseStats,
    wire::Wire,
};

pub use crate::lane::parts::{AnswerPart, Whole};

/// The way back of one attempt.
#[derive(Clone, Debug)]
pub struct ResponseTranslation {
    pub(crate) client: Operation,
    pub(crate) upstream: Operation,
    pub(crate) framing: Framing,
    pub(crate) wire: Wire,
    pub(crate) host: Host,
    pub(crate) include_usage: bool,
    /// Answers that the client asked for.
    pub(crate) candidates: u64,
    pub(crate) lane: Lane,
}

/// An answer that arrives in pieces.
pub struct ResponseStream {
    lane: StreamLane,
    /// Takes the host's envelope off what comes.
    chunks: Option<Box<Chunks>>,
    candidates: u64,
}

enum StreamLane {
    Passthrough(Box<PassthroughStream>),
    Raw(Box<RawStream>),
    Generate(Box<GenerateStream>),
}

impl ResponseTranslation {
    /// What the upstream was called with.
    pub fn operation(&self) -> Operation {
        self.upstream
    }

    /// Whether bytes go through as they are.
    pub fn is_passthrough(&self) -> bool {
        match self.lane {
            Lane::Passthrough { .. } | Lane::Raw | Lane::Stored(_) => true,
            Lane::Generate { .. } | Lane::Embed { .. } | Lane::Count => false,
        }
    }

    /// Whether the answer goes through [`Self::stream_of`] whatever its framing, under the upstream's own content type.
    pub fn is_raw(&self) -> bool {
        matches!(self.lane, Lane::Raw)
    }

    /// Whether the dialect comes in an envelope of its host's: then its errors, and the headers of its requests, are the
    /// host's, although it is the client's dialect.
    pub fn is_enveloped(&self) -> bool {
        self.host.wraps(self.upstream)
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

    /// How the upstream is asked to frame its answer.
    pub fn wire(&self) -> Wire {
        self.wire
    }

    /// An upstream's whole answer (status 2xx), for the client.
    ///
    /// # Errors
    /// When it is no answer of the upstream's dialect, or says that it failed.
    pub fn whole(
        &self,
        context: &ResponseContext,
        status: u16,
        content_type: Option<&str>,
        body: Bytes,
    ) -> Result<Whole, Problem> {
        match &self.lane {
            Lane::Passthrough { .. } => {
                passthrough::whole::answer(self.upstream, context, Answer { status, content_type, body })
            }
            Lane::Stored(call) => stored::answer(*call, context.stored_ids.as_ref(), body),
            Lane::Raw => Err(unreadable("an answer of this kind is never read as a whole")),
            Lane::Generate { codecs, names, custom_tools, echo } => {
                let (custom_tools, echo) = (Arc::clone(custom_tools), echo.clone());
                let context = ResponseContext { custom_tools, echo, ..context.clone() };
                generate::whole::answer(*codecs, (self.upstream, self.client), names, &context, &body)
            }
            Lane::Count => count::answer((self.upstream, self.client), &body),
            Lane::Embed { texts, .. } => Ok(self.join(context, &[self.part(0..*texts, context.input_tokens, &body)?])),
        }
    }

    /// Input tokens that an answer's head counts, where the operation's bodies do not; for [`ResponseContext`] and
    /// [`Self::part`].
    pub fn counted_input<'a>(&self, header: impl FnOnce(&'static str) -> Option<&'a str>) -> Option<u64> {
        /// Bedrock's, of every model that is invoked.
        const COUNT: &str = "x-amzn-bedrock-input-token-count";
        if self.upstream == Operation::InvokeEmbedding { header(COUNT)?.parse().ok() } else { None }
    }

    /// An upstream's answer (status 2xx) to a call with these texts of a request that is sent in several; [`Self::join`]
    /// makes the client's answer of all of them. `counted` is what [`Self::counted_input`] finds in its head.
    ///
    /// # Errors
    /// When it is no answer of the upstream's dialect, says that it failed, or is no answer to these texts.
    pub fn part(&self, texts: Range<usize>, counted: Option<u64>, body: &Bytes) -> Result<AnswerPart, Problem> {
        match self.lane {
            Lane::Embed { base64, .. } => {
                embed::part((self.upstream, self.client), &Asked { texts, base64 }, counted, body)
            }
            Lane::Passthrough { .. } | Lane::Raw | Lane::Stored(_) | Lane::Generate { .. } | Lane::Count => {
                Err(unreadable("an answer of this kind never comes in parts"))
            }
        }
    }

    /// The answer for the client, of the answers to all calls in their order.
    pub fn join(&self, context: &ResponseContext, parts: &[AnswerPart]) -> Whole {
        embed::join(self.client, &context.model, parts)
    }

    /// The error that a whole answer states in spite of its status, as the upstream wrote it: none where the client
    /// speaks another dialect, or the answer states none.
    pub fn stated_error(&self, body: &Bytes) -> Option<Bytes> {
        stated::document(self.upstream, body).filter(|_| self.is_passthrough() && !self.is_enveloped())
    }

    /// Starts an answer that arrives in pieces.
    pub fn stream(&self, context: &ResponseContext) -> ResponseStream {
        self.stream_of(context, None)
    }

    /// The same for an answer of this content type, as the upstream states it; a raw answer is read by it.
    pub fn stream_of(&self, context: &ResponseContext, content_type: Option<&str>) -> ResponseStream {
        let mut context = context.clone();
        context.include_usage = self.include_usage;
        let lane = match &self.lane {
            Lane::Passthrough { hide_usage } => {
                let lane = PassthroughStream::new(self.upstream, self.framing, context, *hide_usage);
                StreamLane::Passthrough(Box::new(lane))
            }
            Lane::Stored(_) => {
                let lane = PassthroughStream::new(Operation::Responses, self.framing, context, false);
                StreamLane::Passthrough(Box::new(lane))
            }
            // Vectors and counts never stream; whoever asks for pieces of them gets the bytes as they come.
            Lane::Raw | Lane::Embed { .. } | Lane::Count => {
                StreamLane::Raw(Box::new(RawStream::new(self.upstream, context, content_type)))
            }
            Lane::Generate { codecs, names, custom_tools, echo } => {
                context.custom_tools = Arc::clone(custom_tools);
                context.echo = echo.clone();
                let ends = (self.upstream, self.client);
                // What comes out of the envelope is a stream of the dialect's own.
                let wire = if self.is_enveloped() { Wire::Sse } else { self.wire };
                let lane = GenerateStream::between(*codecs, ends, (wire, self.framing), &context, Arc::clone(names));
                StreamLane::Generate(Box::new(lane))
            }
        };
        let chunks = (self.is_enveloped() && self.wire == Wire::EventStream).then(Box::default);
        ResponseStream { lane, chunks, candidates: self.candidates }
    }

    /// What an upstream's error answer means. Only the header values that [`RetryHints`] names are looked at.
    pub fn failure(&self, status: u16, retry: RetryHints<'_>, body: &[u8]) -> Problem {
        let mut problem = understand::failure(self.host.error_family(self.upstream), status, retry, body);
        if !self.is_passthrough() {
            in_clients_words(&mut problem, self.client);
        }
        problem
    }
}

impl ResponseStream {
    /// Takes what the upstream sent; gives what the client gets now, possibly nothing.
    pub fn push(&mut self, chunk: Bytes) -> Bytes {
        let Some(chunks) = &mut self.chunks else { return self.take(chunk) };
        match chunks.push(&chunk) {
            Ok(Cow::Borrowed(_)) => self.take(chunk),
            Ok(Cow::Owned(events)) if events.is_empty() => Bytes::new(),
            Ok(Cow::Owned(events)) => self.take(events.into()),
            Err(broken) => self.fail(&Problem::new(ProblemKind::Upstream, broken.to_string())),
        }
    }

    fn take(&mut self, chunk: Bytes) -> Bytes {
        match &mut self.lane {
            StreamLane::Passthrough(lane) => lane.push(chunk),
            StreamLane::Raw(lane) => lane.push(chunk),
            StreamLane::Generate(lane) => lane.push(&chunk),
        }
    }

    /// The upstream closed its body: the rest, or the dialect's terminal error if it stopped too early.
    pub fn finish(&mut self) -> Bytes {
        match &mut self.lane {
            StreamLane::Passthrough(lane) => lane.finish(),
            StreamLane::Raw(lane) => lane.finish(),
            StreamLane::Generate(lane) => lane.finish(),
        }
    }

    /// The upstream died, or the gateway stops the answer: the dialect's terminal error, well-formed after whatever
    /// went out. Nothing if the answer was complete already.
    pub fn fail(&mut self, problem: &Problem) -> Bytes {
        match &mut self.lane {
            StreamLane::Passthrough(lane) => lane.fail(problem),
            StreamLane::Raw(lane) => lane.fail(problem),
            StreamLane::Generate(lane) => lane.fail(problem),
        }
    }

    /// What keeps an idle connection open in this dialect (docs/protocols/streaming.md), if anything is legal now.
    pub fn heartbeat(&mut self) -> Bytes {
        match &mut self.lane {
            StreamLane::Passthrough(lane) => lane.heartbeat(),
            StreamLane::Raw(lane) => lane.heartbeat(),
            StreamLane::Generate(lane) => lane.heartbeat(),
        }
    }

    /// The error event, as the upstream wrote it, as the body of an error answer: none where the client speaks another
    /// dialect, where there was none, or where the dialect's events are no such body.
    pub fn stated_error(&self) -> Option<Bytes> {
        match &self.lane {
            StreamLane::Passthrough(lane) => lane.stated_error(),
            StreamLane::Raw(_) | StreamLane::Generate(_) => None,
        }
    }

    /// Whether the upstream itself has said that it failed, be it in an event or in one document in place of events.
    pub fn states_error(&self) -> bool {
        match &self.lane {
            StreamLane::Passthrough(lane) => lane.states_error(),
            StreamLane::Raw(lane) => lane.states_error(),
            StreamLane::Generate(lane) => lane.states_error(),
        }
    }

    /// What has been seen so far.
    pub fn stats(&self) -> &ResponseStats {
        match &self.lane {
            StreamLane::Passthrough(lane) => lane.stats(),
            StreamLane::Raw(lane) => lane.stats(),
            StreamLane::Generate(lane) => lane.stats(),
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
            StreamLane::Generate(lane) => lane.finished(),
        };
        seen.error.is_none() && is_counted && finished >= self.candidates
    }

    /// Bytes that are held of an event, a block or a document that is not complete.
    pub fn held(&self) -> usize {
        let wrapped = self.chunks.as_ref().map_or(0, |chunks| chunks.held());
        wrapped.saturating_add(match &self.lane {
            StreamLane::Passthrough(lane) => lane.held(),
            StreamLane::Raw(_) => 0,
            StreamLane::Generate(lane) => lane.held(),
        })
    }

    /// Gives up what is held only to be looked at, where the client gets it without that. Whether that is all of it.
    pub fn stop_looking(&mut self) -> bool {
        match &mut self.lane {
            StreamLane::Passthrough(lane) => lane.stop_looking(),
            StreamLane::Raw(_) => true,
            StreamLane::Generate(_) => false,
        }
    }
}
