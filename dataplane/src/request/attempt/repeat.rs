//! When an upstream refuses a part of a request that can be left out, it is asked again without that part.
//!
//! Four kinds of parts: the question for usage, which is the gateway's own; reasoning that another account encrypted; the
//! web search that another vendor would run in the place of the client's; and hints of the client's, with the name of
//! Chat's output limit. A route of mode Strict keeps to what its clients wrote.
//!
//! A host that serves models in several ways is asked in another way, in the same manner, if it does not serve this model
//! in the first ([`routeapi_protocol::host::Surface`]).

use routeapi_protocol::{
    dialect::Operation,
    host::{Surface, Surfaces},
    limits::{ChatLimit, Features},
    report::Mode,
    request::{LeftOut, ParsedRequest, Prepared},
    unsupported::Unsupported,
};

use crate::{
    clock,
    config::runtime::Upstream,
    request::{failure::Failure, read::ReadRequest},
};

/// How often one upstream is asked again in its turn: vendors name one parameter at a time.
const MAX_REPEATS: u8 = 4;

/// What one upstream's turn leaves out.
pub(super) struct Repeats {
    left_out: LeftOut,
    /// What an answer will have shown to be refused, whoever asks.
    lesson: LeftOut,
    /// Where the model was not served in this turn.
    closed: Surfaces,
    /// Whether every refusal stood where no text of the client's can stand.
    coded: bool,
    /// Whether nothing that was left out could be quoted as if it were one.
    plain: bool,
    sent: Sent,
    made: u8,
}

/// What is in the request that was sent last.
struct Sent {
    asks_usage: bool,
    returns_reasoning: bool,
    offers_search: bool,
    is_chat: bool,
    surface: Option<Surface>,
}

impl Sent {
    fn of(prepared: &Prepared) -> Self {
        let is_chat = prepared.translation.operation() == Operation::ChatCompletions;
        let Prepared { asks_usage, returns_reasoning, offers_search, surface, .. } = *prepared;
        Self { asks_usage, returns_reasoning, offers_search, is_chat, surface }
    }
}

impl Repeats {
    /// For a request that is sent for the first time.
    pub(super) fn new(prepared: &Prepared) -> Self {
        let (left_out, lesson, sent) = (prepared.left_out, LeftOut::default(), Sent::of(prepared));
        Self { left_out, lesson, closed: Surfaces::NONE, coded: true, plain: true, sent, made: 0 }
    }

    /// What to leave out of the next request; none if the failure names nothing that is still in it.
    pub(super) fn after(&mut self, failure: &Failure, read: &ReadRequest, mode: Mode) -> Option<LeftOut> {
        if self.made >= MAX_REPEATS {
            return None;
        }
        let refused = failure.unsupported;
        let before = self.left_out;
        if let Some(surface) = self.sent.surface.filter(|_| refused.surface) {
            self.closed = self.closed.with(surface);
            self.left_out.closed = self.left_out.closed.with(surface);
        } else if refused.reasoning && self.sent.returns_reasoning {
            // It is another account's, which nobody can tell before.
            self.left_out.reasoning = true;
        } else if refused.usage && self.sent.asks_usage {
            self.left_out.usage = true;
            self.lesson.usage = true;
        } else if refused.web_search && self.sent.offers_search && mode != Mode::Strict {
            // Not remembered: a client's own mistake in the tool is refused in words about it as well.
            self.left_out.web_search = true;
        } else if mode != Mode::Strict {
            self.leave_out_hints(refused, &read.request);
        }
        (self.left_out != before).then_some(self.left_out)
    }

    /// What to leave out where nothing is open any more: what was learned to be closed is tried again, but nothing that was
    /// closed in this turn. None if that opens nothing.
    pub(super) fn reopen(&mut self) -> Option<LeftOut> {
        let before = std::mem::replace(&mut self.left_out.closed, self.closed);
        (before != self.closed).then_some(self.left_out)
    }

    fn leave_out_hints(&mut self, refused: Unsupported, request: &ParsedRequest) {
        let held = request.held(refused.hints.without(self.left_out.hints));
        self.left_out.hints = self.left_out.hints.or(held.features);
        self.lesson.hints = self.lesson.hints.or(held.features.and(refused.lasting));
        self.coded &= refused.coded;
        self.plain &= held.plain;
        if let Some(name) = refused.chat_limit.filter(|_| self.sent.is_chat) {
            self.left_out.chat_limit = Some(name);
            self.lesson.chat_limit = Some(name);
        }
    }

    /// Another request was prepared.
    pub(super) fn repeated(&mut self, prepared: &Prepared) {
        self.sent = Sent::of(prepared);
        self.made = self.made.saturating_add(1);
    }

    /// The upstream took the request that was sent last. A request that is wrong in itself fails again, and teaches nothing.
    pub(super) fn learn(&self, upstream: &Upstream, read: &ReadRequest) {
        let lesson = self.lesson();
        if self.made == 0 || lesson == LeftOut::default() {
            return;
        }
        let model = upstream.model.as_deref().unwrap_or(read.request.model());
        let setting = read.request.reasoning_setting(read.needs);
        if !upstream.learned.learn(model, setting, lesson, clock::mono()) {
            return;
        }
        let (provider, upstream) = (&upstream.provider.id, &upstream.name);
        if lesson.usage {
            tracing::info!(
                %provider,
                upstream,
                "refuses stream_options: its streams are not asked for usage, so that tokens are estimated"
            );
        }
        if !lesson.closed.is_empty() {
            let closed: Vec<&str> = lesson.closed.iter().map(Surface::name).collect();
            let closed = closed.join(", ");
            tracing::info!(%provider, upstream, model, closed, "does not serve this model there: it is called otherwise");
        }
        if !lesson.hints.is_empty() || lesson.chat_limit.is_some() {
            tracing::info!(
                %provider,
                upstream,
                model,
                unsupported = names(lesson.hints),
                limit = lesson.chat_limit.map(ChatLimit::name),
                "refuses parameters: they are left out of requests for this model, with a warning"
            );
        }
    }

    /// An error may quote what the client wrote. One in words teaches nothing about parameters if something was left out
    /// that reads like words of the vendor's: it may be the quotation that went away.
    fn lesson(&self) -> LeftOut {
        let closed = if self.closed.is_empty() { Surfaces::NONE } else { self.left_out.closed };
        if self.coded || self.plain {
            return LeftOut { closed, ..self.lesson };
        }
        LeftOut { usage: self.lesson.usage, closed, ..LeftOut::default() }
    }
}

/// As an AIProvider's `unsupported` writes them.
fn names(hints: Features) -> String {
    hints.iter().map(|feature| format!("{feature:?}")).collect::<Vec<_>>().join(", ")
}
