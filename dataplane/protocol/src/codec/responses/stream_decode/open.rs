//! Items that are not finished: messages, reasoning and calls, each of which says a text once.

use std::collections::BTreeMap;

use super::{answer::Answer, sent::Sent};
use crate::{
    codec::{
        ids,
        json::write,
        responses::response_decode::item::{Annotation, BETWEEN_PARTS, Call, Part, Thought},
    },
    ir::{BlockKind, Delta, Event, Opaque},
    problem::{Problem, ProblemKind},
};

/// Most bytes of arguments that wait for a name.
const MAX_HELD: usize = 8 << 20;

type Taken = Result<(), Problem>;

/// A message, by the numbers of its parts.
#[derive(Debug, Default)]
pub struct OpenMessage {
    parts: BTreeMap<u64, Words>,
}

/// A part that has said something.
#[derive(Debug)]
struct Words {
    block: u32,
    is_refusal: bool,
    sent: Sent,
    /// Characters of visible text before it.
    before: u64,
    /// Sources that have gone out.
    cited: usize,
}

/// Reasoning: one block, whatever it falls into.
#[derive(Debug, Default)]
pub struct OpenThought {
    block: Option<u32>,
    sent: Sent,
    /// The part of the summary that came last.
    part: Option<u64>,
    /// What is told is the reasoning itself, so that its summary would say it again.
    is_content: bool,
}

/// A call.
#[derive(Debug, Default)]
pub struct OpenCall {
    id: Option<String>,
    name: Option<String>,
    is_free_form: bool,
    block: Option<u32>,
    sent: Sent,
    /// What waits for a name.
    held: String,
}

impl OpenMessage {
    /// More of a part's text.
    pub fn text(&mut self, part: u64, text: &str, answer: &mut Answer, out: &mut Vec<Event>) -> Taken {
        self.grow(part, false, text, answer, out)
    }

    /// More of a part's refusal.
    pub fn refusal(&mut self, part: u64, text: &str, answer: &mut Answer, out: &mut Vec<Event>) -> Taken {
        self.grow(part, true, text, answer, out)
    }

    /// All of a part's text.
    pub fn whole_text(&mut self, part: u64, text: &str, answer: &mut Answer, out: &mut Vec<Event>) -> Taken {
        let rest = self.rest(part, text);
        self.grow(part, false, rest, answer, out)
    }

    /// All of a part's refusal.
    pub fn whole_refusal(&mut self, part: u64, text: &str, answer: &mut Answer, out: &mut Vec<Event>) -> Taken {
        let rest = self.rest(part, text);
        self.grow(part, true, rest, answer, out)
    }

    /// A part that is finished.
    pub fn whole(&mut self, part: u64, whole: Part, answer: &mut Answer, out: &mut Vec<Event>) -> Taken {
        match whole {
            Part::Refusal(text) => self.whole_refusal(part, &text, answer, out),
            Part::Text { text, annotations, lost } => {
                self.whole_text(part, &text, answer, out)?;
                out.extend(lost.into_iter().map(Event::Lost));
                let cited = self.parts.get(&part).map_or(0, |words| words.cited);
                annotations.iter().skip(cited).try_for_each(|one| self.cite(part, one, answer, out))
            }
            Part::Other(lost) => {
                out.push(Event::Lost(lost));
                Ok(())
            }
        }
    }

    /// All parts, where the message is finished.
    pub fn all(&mut self, parts: Vec<Part>, answer: &mut Answer, out: &mut Vec<Event>) -> Taken {
        let sent = self.parts.values().map(|words| words.sent.bytes()).fold(0, usize::saturating_add);
        let length = |part: &Part| match part {
            Part::Text { text, .. } | Part::Refusal(text) => text.len(),
            Part::Other(_) => 0,
        };
        // Servers that give all parts one number have said them all.
        let is_said = sent > 0 && sent >= parts.iter().map(length).fold(0, usize::saturating_add);
        for (number, part) in (0..).zip(parts) {
            if !is_said || self.parts.contains_key(&number) || matches!(part, Part::Other(_)) {
                self.whole(number, part, answer, out)?;
            }
        }
        Ok(())
    }

    /// A source of a part's text.
    pub fn cite(&mut self, part: u64, source: &Annotation, answer: &mut Answer, out: &mut Vec<Event>) -> Taken {
        let words = self.open(part, false, answer, out)?;
        words.cited = words.cited.saturating_add(1);
        let delta = Delta::Citation(source.citation(words.before));
        out.push(Event::BlockDelta { block: words.block, delta });
        Ok(())
    }

    pub fn close(self, out: &mut Vec<Event>) {
        out.extend(self.parts.into_values().map(|words| Event::BlockEnd { block: words.block }));
    }

    fn rest<'a>(&self, part: u64, text: &'a str) -> &'a str {
        self.parts.get(&part).map_or(text, |words| words.sent.rest(text))
    }

    fn grow(&mut self, part: u64, is_refusal: bool, text: &str, answer: &mut Answer, out: &mut Vec<Event>) -> Taken {
        if text.is_empty() {
            return Ok(());
        }
        let words = self.open(part, is_refusal, answer, out)?;
        words.sent.add(text);
        let block = words.block;
        if !words.is_refusal {
            answer.said = answer.said.saturating_add(text.chars().count() as u64);
        }
        out.push(Event::BlockDelta { block, delta: Delta::Text(text.to_owned()) });
        Ok(())
    }

    fn open(
        &mut self,
        part: u64,
        is_refusal: bool,
        answer: &mut Answer,
        out: &mut Vec<Event>,
    ) -> Result<&mut Words, Problem> {
        use std::collections::btree_map::Entry;
        match self.parts.entry(part) {
            Entry::Occupied(words) => Ok(words.into_mut()),
            Entry::Vacant(place) => {
                let before = answer.said;
                let block = answer.begin(if is_refusal { BlockKind::Refusal } else { BlockKind::Text }, out)?;
                Ok(place.insert(Words { block, is_refusal, sent: Sent::default(), before, cited: 0 }))
            }
        }
    }
}

impl OpenThought {
    /// More of a part of the summary.
    pub fn summary(&mut self, part: u64, text: &str, answer: &mut Answer, out: &mut Vec<Event>) -> Taken {
        if text.is_empty() || self.is_content {
            return Ok(());
        }
        let is_next = self.part.replace(part).is_some_and(|last| last != part);
        if is_next && !self.sent.is_empty() {
            self.grow(BETWEEN_PARTS, answer, out)?;
        }
        self.grow(text, answer, out)
    }

    /// More of the reasoning itself, which counts where it is not summarized.
    pub fn content(&mut self, text: &str, answer: &mut Answer, out: &mut Vec<Event>) -> Taken {
        if text.is_empty() || (!self.is_content && !self.sent.is_empty()) {
            return Ok(());
        }
        self.is_content = true;
        self.grow(text, answer, out)
    }

    /// All of it, and its state, which is valid only now.
    pub fn finish(mut self, whole: Thought, answer: &mut Answer, out: &mut Vec<Event>) -> Taken {
        let rest = self.sent.rest(&whole.text).to_owned();
        self.grow(&rest, answer, out)?;
        self.close(whole.state, answer, out)
    }

    /// The end of it, without state unless some has come.
    pub fn close(mut self, state: Opaque, answer: &mut Answer, out: &mut Vec<Event>) -> Taken {
        if self.block.is_none() && state.value.is_empty() {
            return Ok(());
        }
        let block = self.open(answer, out)?;
        out.push(Event::BlockDelta { block, delta: Delta::State(state) });
        out.push(Event::BlockEnd { block });
        Ok(())
    }

    fn grow(&mut self, text: &str, answer: &mut Answer, out: &mut Vec<Event>) -> Taken {
        if text.is_empty() {
            return Ok(());
        }
        let block = self.open(answer, out)?;
        self.sent.add(text);
        out.push(Event::BlockDelta { block, delta: Delta::Reasoning(text.to_owned()) });
        Ok(())
    }

    fn open(&mut self, answer: &mut Answer, out: &mut Vec<Event>) -> Result<u32, Problem> {
        match self.block {
            Some(block) => Ok(block),
            None => {
                let block = answer.begin(BlockKind::Reasoning { redacted: false }, out)?;
                self.block = Some(block);
                Ok(block)
            }
        }
    }
}

impl OpenCall {
    /// One whose name and id are not known yet.
    pub fn unnamed(is_free_form: bool) -> Self {
        Self { is_free_form, ..Self::default() }
    }

    /// What the item says about itself. Arguments in its beginning are part of what `done` says.
    pub fn name(&mut self, call: &Call, answer: &mut Answer, out: &mut Vec<Event>) -> Taken {
        self.is_free_form = call.is_free_form;
        self.id = self.id.take().or_else(|| call.id.clone());
        self.name = self.name.take().or_else(|| call.name.clone());
        self.release(answer, out)
    }

    /// More of the arguments.
    pub fn grow(&mut self, text: &str, answer: &mut Answer, out: &mut Vec<Event>) -> Taken {
        self.sent.add(text);
        self.held.push_str(text);
        if self.block.is_none() && self.held.len() > MAX_HELD {
            return Err(Problem::new(ProblemKind::Upstream, "the upstream sent arguments without a tool's name"));
        }
        self.release(answer, out)
    }

    /// All of the arguments.
    pub fn whole(&mut self, text: &str, answer: &mut Answer, out: &mut Vec<Event>) -> Taken {
        let rest = self.sent.rest(text).to_owned();
        self.grow(&rest, answer, out)
    }

    pub fn close(mut self, answer: &mut Answer, out: &mut Vec<Event>) -> Taken {
        if self.name.is_none() {
            if self.held.is_empty() {
                return Ok(());
            }
            return Err(Problem::new(ProblemKind::Upstream, "the upstream sent a tool call without a name"));
        }
        let position = usize::try_from(answer.begun()).unwrap_or_default();
        self.id.get_or_insert_with(|| ids::invented_call_id(&answer.seed, position));
        self.release(answer, out)?;
        let Some(block) = self.block else { return Ok(()) };
        if self.is_free_form {
            out.push(Event::BlockDelta { block, delta: Delta::Arguments("\"}".to_owned()) });
        }
        out.push(Event::BlockEnd { block });
        Ok(())
    }

    /// Begins the block as soon as that is possible, and sends what waits.
    fn release(&mut self, answer: &mut Answer, out: &mut Vec<Event>) -> Taken {
        let (Some(id), Some(name)) = (&self.id, &self.name) else { return Ok(()) };
        let block = match self.block {
            Some(block) => block,
            None => {
                let block = answer.begin(BlockKind::ToolCall { id: id.clone(), name: name.clone() }, out)?;
                if self.is_free_form {
                    out.push(Event::BlockDelta { block, delta: Delta::Arguments("{\"input\":\"".to_owned()) });
                }
                self.block = Some(block);
                block
            }
        };
        if !self.held.is_empty() {
            let held = std::mem::take(&mut self.held);
            let text = if self.is_free_form { write::escaped(&held) } else { held };
            out.push(Event::BlockDelta { block, delta: Delta::Arguments(text) });
        }
        Ok(())
    }
}
