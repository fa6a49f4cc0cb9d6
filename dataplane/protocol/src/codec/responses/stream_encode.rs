//! Events for a client (docs/protocols/streaming.md).
//!
//! Clients demand `response.created` first, whatever follows, one response id, numbers that rise by one, items that begin
//! before anything is said of them and end as they began, and the whole answer again in the last event. So blocks go
//! through the sequencer, and the end is held until all is counted, for counts may follow it.

use super::{
    ending::Ending,
    object::{self, Identity},
    output::{Output, Writer},
};
use crate::{
    codec::{ResponseContext, StreamEncoder, block_sequencer::BlockSequencer, ids::prefixed},
    ir::{Event, Finish, FinishReason, Usage},
    problem::{Problem, ProblemKind},
    wire::sse::MAX_EVENT,
};

/// Writes one answer.
#[derive(Debug)]
pub struct Encoder {
    context: ResponseContext,
    sequencer: BlockSequencer,
    output: Output,
    /// Of the events that went out already.
    identity: Option<Identity>,
    usage: Usage,
    finish: Option<Finish>,
    over: bool,
}

// === impl Encoder ===

impl Encoder {
    /// For one answer.
    pub fn new(context: &ResponseContext) -> Self {
        Self {
            context: context.clone(),
            sequencer: BlockSequencer::default(),
            output: Output::default(),
            identity: None,
            usage: Usage::default(),
            finish: None,
            over: false,
        }
    }

    fn start(&mut self, id: Option<&str>, created: Option<i64>, out: &mut Vec<u8>) {
        if self.identity.is_some() {
            return;
        }
        let id = prefixed(id, "resp_", &self.context.id);
        self.identity = Some(Identity { id, created: created.unwrap_or(self.context.created) });
        self.tell("response.created", &Ending::Open, out);
        self.tell("response.in_progress", &Ending::Open, out);
    }

    /// An event with the whole object.
    fn tell(&mut self, kind: &str, ending: &Ending, out: &mut Vec<u8>) {
        let Some(identity) = self.identity.clone() else { return };
        let is_over = *ending != Ending::Open;
        let items = if is_over { self.output.take_items() } else { Vec::new() };
        let usage = Some(self.usage).filter(|usage| is_over && *usage != Usage::default());
        let usage = usage.or_else(|| matches!(ending, Ending::Completed | Ending::Incomplete(_)).then(Usage::default));
        let context = &self.context;
        Writer { output: &mut self.output, context, out: Some(out) }.told().event(kind, |out| {
            out.object("response", |out| {
                object::put(&identity, ending, usage, context, out, |list| {
                    items.iter().for_each(|item| list.put_json(item));
                });
            });
        });
    }

    /// The answer is over: every block that is open ends before it is told.
    fn end(&mut self, ending: Option<Ending>, out: &mut Vec<u8>) {
        let reason = self.finish.as_ref().map_or(FinishReason::Stop, |finish| finish.reason);
        let is_cut = |ending: &Ending| *ending != Ending::Completed;
        let cut = ending.as_ref().map_or_else(|| is_cut(&Ending::of(reason, true)), is_cut);
        let mut writer = Writer { output: &mut self.output, context: &self.context, out: Some(out) };
        self.sequencer.flush(&mut writer);
        writer.end(cut);
        let ending = ending.unwrap_or_else(|| Ending::of(reason, self.output.refused()));
        self.tell(ending.event(), &ending, out);
        self.over = true;
    }

    fn fail(&mut self, problem: &Problem, out: &mut Vec<u8>) {
        self.end(Some(Ending::failed(problem)), out);
    }
}

impl StreamEncoder for Encoder {
    fn push(&mut self, event: &Event, out: &mut Vec<u8>) {
        if self.over {
            return;
        }
        match event {
            // The gateway keeps the connection open by itself.
            Event::Lost(_) | Event::Ping => return,
            Event::Start { id, created, usage, .. } => {
                self.usage.merge(usage.unwrap_or_default());
                return self.start(id.as_deref(), *created, out);
            }
            _ => self.start(None, None, out),
        }
        let mut writer = Writer { output: &mut self.output, context: &self.context, out: Some(out) };
        let mut fits = Ok(());
        match event {
            // Only the first candidate can be said; blocks of others are unknown to the sequencer from here on.
            Event::BlockStart { block, candidate: 0, kind } => {
                fits = self.sequencer.start(*block, kind.clone(), &mut writer);
            }
            Event::BlockDelta { block, delta } => fits = self.sequencer.grow(*block, delta, &mut writer),
            Event::BlockEnd { block } => self.sequencer.end(*block, &mut writer),
            Event::Usage(usage) => self.usage.merge(*usage),
            Event::Finish { candidate: 0, finish } => self.finish = Some(finish.clone()),
            Event::End => return self.end(None, out),
            Event::Error(problem) => return self.fail(problem, out),
            Event::BlockStart { .. } | Event::Finish { .. } | Event::Start { .. } | Event::Lost(_) | Event::Ping => {}
        }
        if let Err(overflow) = fits {
            self.fail(&Problem::new(ProblemKind::Upstream, overflow.to_string()), out);
        } else if self.output.held() > MAX_EVENT {
            self.fail(&Problem::new(ProblemKind::Upstream, "the upstream's answer is too large to be repeated"), out);
        }
    }

    /// The object once more under the next number (hard cases 53 and 270): Codex's idle timer counts events and not
    /// comments. Before the answer has begun, nothing may have a number yet.
    fn heartbeat(&mut self, out: &mut Vec<u8>) {
        match &self.identity {
            _ if self.over => {}
            Some(_) => self.tell("response.in_progress", &Ending::Open, out),
            None => out.extend_from_slice(b": keepalive\n\n"),
        }
    }

    fn held(&self) -> usize {
        self.output.held()
    }
}

#[cfg(test)]
mod tests;
