//! Whole answers, both ways.

use serde_json::value::RawValue;

use super::{
    annotations, finish,
    messages_decode::{CallBody, body_of_call, body_of_function, is_empty_call},
    problem,
    reasoning_state::{self, Reasoned},
    usage, wire,
};
use crate::{
    codec::{
        Malformed, ResponseContext, arguments, free_form, ids,
        json::{
            read::{Object, Spelling, elements, malformed},
            write::{self, Elements, Members},
        },
        media,
    },
    dialect::Family,
    ir::{Block, Candidate, FinishReason, Opaque, Reasoning, Response, Text, ToolCall},
    problem::{Problem, ProblemKind},
    report::Field,
};

/// Reads an upstream's answer.
pub fn decode(body: &[u8]) -> Result<Response, Problem> {
    let unreadable = |error: Malformed| problem::unreadable(&error);
    let mut top = Object::parse(body, Spelling::Exact).map_err(unreadable)?;
    if let Some(problem) = top.take_raw("error").and_then(problem::decode) {
        return Err(problem);
    }
    if !top.has("choices") {
        return Err(unreadable(malformed("is required").within("choices")));
    }
    decode_completion(top)
}

fn decode_completion(mut top: Object<'_>) -> Result<Response, Problem> {
    let mut text = |name: &str| top.take_raw(name).and_then(wire::text);
    let mut response = Response { id: ids::of_answer(text("id")), model: text("model"), ..Response::default() };
    // A time that cannot be read is no reason to lose an answer: ours takes its place.
    response.created = top.take_raw("created").and_then(wire::whole_number);
    let seed = response.id.clone().unwrap_or_default();
    let choices = top.list("choices").map_err(|error| problem::unreadable(&error))?;
    for (index, raw) in choices.into_iter().enumerate().filter(|(_, raw)| raw.get() != "null") {
        let unreadable = |error: Malformed| problem::unreadable(&error.within(&format!("choices[{index}]")));
        let mut choice = Object::from_raw(raw, Spelling::Exact).map_err(unreadable)?;
        let counts = choice.take_raw("usage").and_then(usage::read);
        response.usage = response.usage.or(counts);
        let reason = choice.take_raw("finish_reason").and_then(wire::text).unwrap_or_default();
        let failure = choice.take_raw("error").and_then(problem::decode);
        if let Some(problem) = failure.or_else(|| finish::broke_off(&reason).then(|| problem::stopped_early(&reason))) {
            return Err(problem);
        }
        let candidate = decode_choice(choice, &reason, &format!("{seed}{index}"), &mut response.lost);
        response.candidates.push(candidate.map_err(unreadable)?);
    }
    if response.candidates.is_empty() {
        return Err(Problem::new(ProblemKind::Upstream, "the upstream's answer has no choices"));
    }
    response.usage = top.take_raw("usage").and_then(usage::read).or(response.usage);
    Ok(response)
}

fn decode_choice(
    mut choice: Object<'_>,
    reason: &str,
    seed: &str,
    lost: &mut Vec<Field>,
) -> Result<Candidate, Malformed> {
    // Some servers write a whole answer's message as a stream's, or as that of a text completion.
    let message = match choice.object("message")? {
        Some(message) => Some(message),
        None => choice.object("delta")?,
    };
    let mut blocks = match message {
        Some(message) => decode_message(message, seed, lost).map_err(|error| error.within("message"))?,
        None => Vec::new(),
    };
    if let Some(text) = choice.take_raw("text").and_then(wire::text).filter(|text| !text.is_empty()) {
        blocks.push(Block::Text(Text { text, ..Text::default() }));
    }
    if choice.has("logprobs") {
        lost.push("choices[].logprobs".into());
    }
    let called = blocks.iter().any(|block| matches!(block, Block::ToolCall(_)));
    let refused = blocks.iter().any(|block| matches!(block, Block::Refusal(_)));
    let reason = finish::decode(finish::stated(reason).unwrap_or_default(), called, refused);
    Ok(Candidate { blocks, finish: reason.into() })
}

fn decode_message(mut message: Object<'_>, seed: &str, lost: &mut Vec<Field>) -> Result<Vec<Block>, Malformed> {
    let mut blocks = Vec::new();
    let Reasoned { blocks: mut reasoning, on_text, unknown } = reasoning_state::take(&mut message);
    reasoning.iter_mut().for_each(reasoning_state::name_issuer);
    blocks.append(&mut reasoning);
    let content = message.take_raw("content").map(wire::content).unwrap_or_default();
    let in_content = content.images().map(|list| annotations::images(&list).0).unwrap_or_default();
    let (thought, text) = (content.reasoning, content.words);
    if !thought.is_empty() {
        blocks.push(Block::Reasoning(Reasoning {
            text: thought,
            state: Some(reasoning_state::ISSUER),
            redacted: false,
        }));
    }
    let (citations, others) = message.take_raw("annotations").map(annotations::citations).unwrap_or_default();
    let (mut images, unreadable_images) = message.take_raw("images").map(annotations::images).unwrap_or_default();
    images.splice(0..0, in_content);
    let left = [
        ("annotations", others),
        ("images", unreadable_images),
        ("audio", message.has("audio")),
        ("content", content.others),
        ("reasoning_details", unknown > 0),
    ];
    let left = left.into_iter().filter(|(_, is_left)| *is_left);
    lost.extend(left.map(|(name, _)| Field::from(format!("choices[].message.{name}"))));
    if !text.is_empty() || on_text.is_some() || !citations.is_empty() {
        blocks.push(Block::Text(Text { text, citations, state: on_text, ..Text::default() }));
    }
    blocks.append(&mut images);
    let refusal = message.take_raw("refusal").and_then(wire::text).unwrap_or_default();
    if let Some(refusal) = [refusal, content.refusal].into_iter().find(|refusal| !refusal.is_empty()) {
        blocks.push(Block::Refusal(refusal));
    }
    for (position, raw) in calls(&mut message)?.into_iter().enumerate() {
        let Ok(mut call) = Object::from_raw(raw, Spelling::Exact) else { continue };
        if is_empty_call(&call) {
            continue;
        }
        let id = call.take_raw("id").and_then(wire::text).filter(|id| !id.is_empty());
        let state = reasoning_state::take_call_state(&mut call).ok().flatten();
        let is_flat = !call.has("function") && !call.has("custom") && call.has("name");
        let read = if is_flat { body_of_function(&mut call) } else { body_of_call(&mut call) };
        let CallBody { name, arguments, .. } =
            read.map_err(|error| error.within(&format!("tool_calls[{position}]")))?;
        let id = id.unwrap_or_else(|| ids::invented_call_id(seed, position));
        let arguments = arguments::unquoted(arguments);
        blocks.push(Block::ToolCall(ToolCall { id, name, arguments, state, cache: None }));
    }
    if let Some(mut call) = message.object("function_call")?.filter(|call| !call.says_nothing()) {
        let arguments = call.take_raw("arguments").map(wire::arguments);
        blocks.push(Block::ToolCall(ToolCall {
            id: ids::invented_call_id(seed, 0),
            name: call.need_name()?,
            arguments: arguments::unquoted(arguments.unwrap_or_default()),
            state: None,
            cache: None,
        }));
    }
    Ok(blocks)
}

/// `tool_calls`: a list, or one call alone; what is neither says nothing.
fn calls<'a>(message: &mut Object<'a>) -> Result<Vec<&'a RawValue>, Malformed> {
    match message.take_raw("tool_calls") {
        Some(raw) if raw.get().starts_with('[') => elements(raw).map_err(|error| error.within("tool_calls")),
        Some(raw) if raw.get().starts_with('{') => Ok(vec![raw]),
        Some(_) | None => Ok(Vec::new()),
    }
}

/// Writes an answer for a client.
pub fn encode(response: &Response, reply: &ResponseContext) -> Vec<u8> {
    let mut body = Vec::new();
    write::object_within(&mut body, reply.most_bytes.unwrap_or(usize::MAX), |out| {
        out.put("id", &ids::prefixed(response.id.as_deref(), "chatcmpl-", &reply.id));
        out.put("object", "chat.completion");
        out.put("created", &response.created.unwrap_or(reply.created));
        out.put("model", &reply.model);
        out.list("choices", |out| {
            for (index, candidate) in response.candidates.iter().enumerate() {
                out.object(|out| {
                    out.put("index", &index);
                    out.object("message", |out| encode_message(&candidate.blocks, reply, out));
                    out.put("logprobs", &None::<bool>);
                    let refused = candidate.blocks.iter().any(|block| matches!(block, Block::Refusal(_)));
                    out.put("finish_reason", finish::encode(candidate.finish.reason, refused));
                });
            }
            if out.is_empty() {
                out.object(nothing);
            }
        });
        usage::encode(&response.usage.unwrap_or_default(), out);
    });
    body
}

/// The choice that stands for a prompt which was blocked: clients read the first choice without asking.
fn nothing(out: &mut Members<'_>) {
    out.put("index", &0);
    out.object("message", |out| {
        out.put("role", "assistant");
        out.put("content", &None::<&str>);
        out.put("refusal", &None::<&str>);
    });
    out.put("logprobs", &None::<bool>);
    out.put("finish_reason", finish::encode(FinishReason::ContentFilter, false));
}

fn encode_message(blocks: &[Block], reply: &ResponseContext, out: &mut Members<'_>) {
    let (mut words, mut refusal, mut reasoning) = (None::<String>, None::<String>, None::<String>);
    let mut details: Vec<(Option<&str>, &Opaque, bool)> = Vec::new();
    let (mut calls, mut citations, mut images) = (Vec::<&ToolCall>::new(), Vec::new(), Vec::new());
    for block in blocks {
        match block {
            Block::Text(text) => {
                words.get_or_insert_default().push_str(&text.text);
                citations.extend(&text.citations);
                details.extend(text.state.as_ref().map(|state| (None, state, false)));
            }
            Block::Refusal(text) => refusal.get_or_insert_default().push_str(text),
            Block::Reasoning(block) => {
                if !block.text.is_empty() {
                    reasoning.get_or_insert_default().push_str(&block.text);
                }
                let text = (!block.redacted).then_some(block.text.as_str());
                let state = block.state.as_ref().filter(|state| !state.value.is_empty());
                details.extend(state.map(|state| (text, state, block.redacted)));
            }
            Block::ToolCall(call) => calls.push(call),
            // What other vendors' servers did by themselves is not the client's to run.
            Block::Unknown(_) | Block::ToolResult(_) => {}
            media => match media::image_url(media) {
                Some(url) => images.push(url),
                None => words.get_or_insert_default().extend(media::stand_in(media)),
            },
        }
    }
    out.put("role", "assistant");
    out.put("content", &words);
    out.put("refusal", &refusal);
    annotations::put_citations(citations.into_iter(), None, out);
    annotations::put_images(&images, 0, out);
    out.put_some("reasoning_content", reasoning);
    if !details.is_empty() {
        out.list("reasoning_details", |out| {
            for (index, (text, state, redacted)) in details.into_iter().enumerate() {
                reasoning_state::encode(text, state, redacted, index, out);
            }
        });
    }
    if !calls.is_empty() {
        out.list("tool_calls", |out| encode_calls(&calls, reply, out));
    }
}

fn encode_calls(calls: &[&ToolCall], reply: &ResponseContext, out: &mut Elements<'_>) {
    for call in calls {
        out.object(|out| {
            out.put("id", &call.id);
            if reply.custom_tools.contains(&call.name) {
                out.put("type", "custom");
                out.object("custom", |out| {
                    out.put("name", &call.name);
                    out.put("input", &free_form::unwrap(&call.arguments));
                });
            } else {
                let blank = call.arguments.trim().is_empty();
                out.put("type", "function");
                out.object("function", |out| {
                    out.put("name", &call.name);
                    out.put("arguments", if blank { "{}" } else { &call.arguments });
                });
            }
            if let Some(state) = call.state.as_ref().filter(|state| state.family == Family::Gemini) {
                write_call_state(state, out);
            }
        });
    }
}

/// Google's own shape for a signature that hangs on a call.
pub fn write_call_state(state: &Opaque, out: &mut Members<'_>) {
    out.object("extra_content", |out| {
        out.object("google", |out| out.put("thought_signature", &state.value));
    });
}
