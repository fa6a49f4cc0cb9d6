//! The conversation as items.
//!
//! Each call is an item, and so is each result, which may hold pictures and documents. Reasoning of this family goes back
//! whole, with the id that its blob is bound to, before what the model said next; a reasoning item that nothing follows
//! is refused upstream, and so is its visible text in `content`. Other reasoning is dropped whole.

use std::{borrow::Cow, collections::HashSet};

use super::content::{Content, is_words, text};
use crate::{
    codec::{
        NameMap,
        field::Name,
        free_form, ids,
        json::write::{Elements, Members},
        media,
        openai_request::{FAILED, words_of},
        pairing::{Neighbours, Part, paired, text_of},
        responses::reasoning_state,
    },
    dialect::{Family, Operation},
    ir::{Block, Reasoning, Request, Role, Text, ToolCall, ToolResult},
    report::Report,
};

/// The conversation as it will be written: each call with its result behind it.
pub fn arrange(request: &Request) -> Vec<Part<'_>> {
    paired(&request.turns, Neighbours::Keep)
}

/// The leading system text, in one piece.
pub fn system(request: &Request, from: Operation, report: &mut Report) -> Option<String> {
    let mut texts: Vec<&str> = Vec::new();
    for block in &request.system {
        match block {
            Block::Text(text) => {
                if text.cache.is_some() {
                    report.dropped(Name::SystemCacheMark.field(from));
                }
                if !text.text.is_empty() {
                    texts.push(&text.text);
                }
            }
            _ => report.refused(Name::System.field(from), "the upstream takes only text here"),
        }
    }
    (!texts.is_empty()).then(|| texts.join("\n\n"))
}

/// Writes all items.
pub fn encode(
    parts: &[Part<'_>],
    (names, custom): (&NameMap, &HashSet<&str>),
    from: Operation,
    report: &mut Report,
    out: &mut Elements<'_>,
) {
    let answered = parts.iter().rposition(|part| part.role == Role::Assistant).unwrap_or(0);
    let content = Content { from, report, is_answered: false };
    let mut writer = Writer { content, names, custom, free_form: HashSet::new() };
    for (index, part) in parts.iter().enumerate() {
        writer.content.is_answered = index < answered;
        if part.name.is_some() {
            writer.content.report.dropped(Name::Participant.field(from));
        }
        match part.role {
            Role::System => writer.later_system(part, out),
            Role::User => writer.user(part, out),
            Role::Assistant => writer.assistant(part, out),
        }
    }
}

/// Writes a message.
pub fn message(role: &str, out: &mut Elements<'_>, fill: impl FnOnce(&mut Members<'_>)) {
    out.object(|out| {
        out.put("type", "message");
        out.put("role", role);
        fill(out);
    });
}

struct Writer<'a> {
    content: Content<'a>,
    names: &'a NameMap,
    /// The tools that take free-form text.
    custom: &'a HashSet<&'a str>,
    /// The calls of such tools.
    free_form: HashSet<String>,
}

impl Writer<'_> {
    fn later_system(&mut self, part: &Part<'_>, out: &mut Elements<'_>) {
        if !part.blocks.iter().all(|block| is_words(block)) {
            self.content.report.refused(Name::System.field(self.content.from), "the upstream takes only text here");
        }
        let words = text_of(part.blocks.iter().map(AsRef::as_ref));
        // Chat templates behind compatible servers do not know `developer`.
        message("system", out, |out| out.put("content", &words));
    }

    /// Results first, each an item, then what the user said.
    fn user(&mut self, part: &Part<'_>, out: &mut Elements<'_>) {
        let mut said: Vec<&Block> = Vec::new();
        for block in &part.blocks {
            match block.as_ref() {
                Block::ToolResult(result) => self.result(result, out),
                Block::Unknown(unknown) if self.content.is_own(unknown) => out.put(&unknown.raw),
                other => said.push(other),
            }
        }
        match said.as_slice() {
            [] => {}
            [Block::Text(only)] => {
                self.content.mark(only.cache.is_some(), Name::CacheMark);
                message("user", out, |out| out.put("content", &only.text));
            }
            blocks => message("user", out, |out| {
                out.list("content", |out| blocks.iter().for_each(|block| self.content.part(block, out)));
            }),
        }
    }

    fn result(&mut self, result: &ToolResult, out: &mut Elements<'_>) {
        self.content.mark(result.cache.is_some(), Name::ResultCacheMark);
        let failed = result.is_error == Some(true);
        let is_text = result.content.iter().all(|block| is_words(block) || media::text_document(block).is_some());
        let custom = self.free_form.contains(&result.call_id);
        out.object(|out| {
            out.put("type", if custom { "custom_tool_call_output" } else { "function_call_output" });
            out.put("call_id", &ids::call_id(&result.call_id, ids::RESPONSES_CALL_ID));
            if is_text {
                let words = words_of(&result.content);
                return out.put("output", &if failed { format!("{FAILED}{words}") } else { words });
            }
            out.list("output", |out| {
                if failed {
                    text(FAILED.trim_end(), out);
                }
                for block in &result.content {
                    match block {
                        Block::Unknown(unknown) => text(&self.content.tell(unknown), out),
                        block => self.content.part(block, out),
                    }
                }
            });
        });
    }

    /// What the model said, thought and called, in its order.
    fn assistant(&mut self, part: &Part<'_>, out: &mut Elements<'_>) {
        let (mut said, mut thought) = (Vec::<Cow<'_, Block>>::new(), Vec::<&Reasoning>::new());
        for block in &part.blocks {
            match block.as_ref() {
                Block::ToolCall(call) => {
                    self.say(&mut said, &mut thought, out);
                    self.think(&mut thought, out);
                    self.call(call, out);
                }
                Block::Reasoning(reasoning) => {
                    self.say(&mut said, &mut thought, out);
                    if blob(reasoning).is_some() {
                        thought.push(reasoning);
                    } else {
                        self.content.report.dropped(Name::Reasoning.field(self.content.from));
                    }
                }
                Block::Unknown(unknown) if self.content.is_own(unknown) => {
                    self.say(&mut said, &mut thought, out);
                    self.think(&mut thought, out);
                    out.put(&unknown.raw);
                }
                Block::Unknown(unknown) => said.push(Cow::Owned(words(self.content.tell(unknown)))),
                Block::Text(_) | Block::Refusal(_) => said.push(Cow::Borrowed(block.as_ref())),
                media => match media::name(media).zip(media::stand_in(media)) {
                    // A message of the model's holds no media.
                    Some((kind, note)) => {
                        self.content.report.adapted(Name::Block.field(self.content.from), kind, "text");
                        said.push(Cow::Owned(words(note)));
                    }
                    None => self.content.refuse(media),
                },
            }
        }
        self.say(&mut said, &mut thought, out);
        if !thought.is_empty() {
            self.content.report.dropped(Name::Reasoning.field(self.content.from));
        }
    }

    /// Writes what was said so far as one message, behind what was thought before it.
    fn say(&mut self, said: &mut Vec<Cow<'_, Block>>, thought: &mut Vec<&Reasoning>, out: &mut Elements<'_>) {
        for block in said.iter() {
            if let Block::Text(text) = block.as_ref() {
                self.content.mark(text.cache.is_some(), Name::CacheMark);
                if !text.citations.is_empty() {
                    self.content.report.dropped(Name::Citations.field(self.content.from));
                }
                if text.state.is_some() {
                    self.content.report.dropped(Name::Reasoning.field(self.content.from));
                }
            }
        }
        said.retain(|block| !matches!(block.as_ref(), Block::Text(text) if text.text.is_empty()));
        if said.is_empty() {
            return;
        }
        self.think(thought, out);
        message("assistant", out, |out| match said.as_slice() {
            [only] if let Block::Text(text) = only.as_ref() => out.put("content", &text.text),
            blocks => out.list("content", |out| {
                for block in blocks {
                    out.object(|out| match block.as_ref() {
                        Block::Refusal(words) => {
                            out.put("type", "refusal");
                            out.put("refusal", words);
                        }
                        Block::Text(text) => {
                            out.put("type", "output_text");
                            out.put("text", &text.text);
                        }
                        _ => {}
                    });
                }
            }),
        });
        said.clear();
    }

    /// Writes the reasoning that came before what is written next.
    fn think(&mut self, thought: &mut Vec<&Reasoning>, out: &mut Elements<'_>) {
        for reasoning in thought.drain(..) {
            let Some((id, encrypted_content)) = blob(reasoning) else { continue };
            out.object(|out| {
                out.put("type", "reasoning");
                out.put_some("id", id);
                out.list("summary", |out| {
                    if !reasoning.text.is_empty() {
                        out.object(|out| {
                            out.put("type", "summary_text");
                            out.put("text", &reasoning.text);
                        });
                    }
                });
                out.put("encrypted_content", encrypted_content);
            });
        }
    }

    fn call(&mut self, call: &ToolCall, out: &mut Elements<'_>) {
        self.content.mark(call.cache.is_some(), Name::CallCacheMark);
        if call.state.is_some() {
            // State of a vendor that hangs it on calls, which this one does not.
            self.content.report.dropped(Name::Reasoning.field(self.content.from));
        }
        let custom = self.custom.contains(call.name.as_str());
        if custom {
            self.free_form.insert(call.id.clone());
        }
        out.object(|out| {
            out.put("type", if custom { "custom_tool_call" } else { "function_call" });
            out.put("call_id", &ids::call_id(&call.id, ids::RESPONSES_CALL_ID));
            out.put("name", self.names.sent(&call.name));
            if custom {
                out.put("input", &free_form::unwrap(&call.arguments));
            } else {
                let blank = call.arguments.trim().is_empty();
                out.put("arguments", if blank { "{}" } else { &call.arguments });
            }
        });
    }
}

/// The id and the blob of reasoning that this dialect issued; none for any other. An id alone is worth nothing, since
/// nothing is stored under it.
fn blob(reasoning: &Reasoning) -> Option<(Option<&str>, &str)> {
    let state = reasoning.state.as_ref().filter(|state| state.family == Family::OpenAi)?;
    Some(reasoning_state::split(&state.value)).filter(|(_, encrypted_content)| !encrypted_content.is_empty())
}

fn words(text: String) -> Block {
    Block::Text(Text { text, ..Text::default() })
}
