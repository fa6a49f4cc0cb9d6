//! What a hostile client or upstream sends, at any size.

use std::fmt::Write;

use routeapi_protocol::dialect::Operation;

/// What a request is full of.
pub const REQUESTS: [&str; 11] = [
    "unknown members of messages",
    "unknown members at the top",
    "tools of one name",
    "tools of illegal names",
    "messages",
    "thoughts",
    "calls and results, reversed",
    "calls without results",
    "nested schema",
    "references to a large default",
    "one string of control characters",
];

/// What a whole answer is full of.
pub const ANSWERS: [&str; 4] = ["words", "calls", "glued arguments", "unknown members"];

/// What a stream is full of.
pub const STREAMS: [&str; 5] = ["tiny deltas", "interleaved calls", "losses", "sources", "an unfinished event"];

/// Joins what `one` makes of 0, 1, 2, … until it is `size` bytes long.
fn list(size: usize, mut one: impl FnMut(usize) -> String) -> String {
    let mut out = String::with_capacity(size);
    let mut at = 0;
    while out.len() < size {
        if at > 0 {
            out.push(',');
        }
        out.push_str(&one(at));
        at += 1;
    }
    out
}

/// Numbers as long as lists of `bytes` bytes each fill `size`.
fn count(size: usize, bytes: usize) -> usize {
    (size / bytes).max(1)
}

fn user(to: Operation, words: &str, more: &str) -> String {
    match to {
        Operation::GenerateContent => format!(r#"{{"role":"user","parts":[{{"text":"{words}"}}]{more}}}"#),
        Operation::Responses => format!(r#"{{"type":"message","role":"user","content":"{words}"{more}}}"#),
        Operation::Converse => format!(r#"{{"role":"user","content":[{{"text":"{words}"}}]{more}}}"#),
        _ => format!(r#"{{"role":"user","content":"{words}"{more}}}"#),
    }
}

fn tool(to: Operation, name: &str, schema: &str) -> String {
    match to {
        Operation::ChatCompletions => {
            format!(r#"{{"type":"function","function":{{"name":"{name}","parameters":{schema}}}}}"#)
        }
        Operation::Messages => format!(r#"{{"name":"{name}","strict":true,"input_schema":{schema}}}"#),
        Operation::Converse => {
            format!(r#"{{"toolSpec":{{"name":"{name}","strict":true,"inputSchema":{{"json":{schema}}}}}}}"#)
        }
        _ => format!(r#"{{"name":"{name}","parameters":{schema}}}"#),
    }
}

fn thought(to: Operation) -> String {
    match to {
        Operation::ChatCompletions => {
            r#"{"role":"assistant","reasoning_details":[{"type":"reasoning.text","text":"t","format":"x"}],"content":"a"}"#
                .to_owned()
        }
        Operation::Messages => r#"{"role":"assistant","content":[{"type":"thinking","thinking":"t","signature":"gw1.openai.text.AA"},{"type":"text","text":"a"}]}"#.to_owned(),
        Operation::Converse => r#"{"role":"assistant","content":[{"reasoningContent":{"reasoningText":{"text":"t","signature":"gw1.openai.text.AA"}}},{"text":"a"}]}"#.to_owned(),
        _ => r#"{"role":"model","parts":[{"text":"t","thought":true}]}"#.to_owned(),
    }
}

/// `calls` calls in one turn, and their results in the opposite order.
fn exchange(to: Operation, calls: usize, answered: bool) -> String {
    let results: Vec<usize> = if answered { (0..calls).rev().collect() } else { Vec::new() };
    let join =
        |ids: &[usize], one: &dyn Fn(usize) -> String| ids.iter().map(|id| one(*id)).collect::<Vec<_>>().join(",");
    let ids: Vec<usize> = (0..calls).collect();
    match to {
        Operation::ChatCompletions => {
            let asked = join(&ids, &|id| {
                format!(r#"{{"id":"c{id}","type":"function","function":{{"name":"f","arguments":"{{}}"}}}}"#)
            });
            let told = join(&results, &|id| format!(r#"{{"role":"tool","tool_call_id":"c{id}","content":"r"}}"#));
            let comma = if told.is_empty() { "" } else { "," };
            format!(r#"{{"role":"assistant","tool_calls":[{asked}]}}{comma}{told}"#)
        }
        Operation::Messages => {
            let asked = join(&ids, &|id| format!(r#"{{"type":"tool_use","id":"c{id}","name":"f","input":{{}}}}"#));
            let told = join(&results, &|id| format!(r#"{{"type":"tool_result","tool_use_id":"c{id}","content":"r"}}"#));
            format!(r#"{{"role":"assistant","content":[{asked}]}},{{"role":"user","content":[{told}]}}"#)
        }
        Operation::Converse => {
            let asked = join(&ids, &|id| format!(r#"{{"toolUse":{{"toolUseId":"c{id}","name":"f","input":{{}}}}}}"#));
            let told =
                join(&results, &|id| format!(r#"{{"toolResult":{{"toolUseId":"c{id}","content":[{{"text":"r"}}]}}}}"#));
            format!(r#"{{"role":"assistant","content":[{asked}]}},{{"role":"user","content":[{told}]}}"#)
        }
        _ => {
            let asked = join(&ids, &|id| format!(r#"{{"functionCall":{{"id":"c{id}","name":"f","args":{{}}}}}}"#));
            let told = join(&results, &|id| {
                format!(r#"{{"functionResponse":{{"id":"c{id}","name":"f","response":{{"output":"r"}}}}}}"#)
            });
            format!(r#"{{"role":"model","parts":[{asked}]}},{{"role":"user","parts":[{told}]}}"#)
        }
    }
}

fn whole(to: Operation, messages: &str, tools: &str, more: &str) -> String {
    match to {
        Operation::ChatCompletions => format!(r#"{{"model":"m","messages":[{messages}],"tools":[{tools}]{more}}}"#),
        Operation::Responses => format!(r#"{{"model":"m","input":[{messages}],"tools":[{tools}]{more}}}"#),
        Operation::Messages => {
            format!(r#"{{"model":"m","max_tokens":9,"messages":[{messages}],"tools":[{tools}]{more}}}"#)
        }
        Operation::Converse => {
            format!(r#"{{"messages":[{messages}],"toolConfig":{{"tools":[{tools}]}}{more}}}"#)
        }
        _ => format!(r#"{{"contents":[{messages}],"tools":[{{"functionDeclarations":[{tools}]}}]{more}}}"#),
    }
}

/// A request of one of [`REQUESTS`], of about `size` bytes.
pub fn request(to: Operation, kind: &str, size: usize) -> String {
    let plain = user(to, "hi", "");
    let schema = r#"{"type":"object","properties":{}}"#;
    match kind {
        "unknown members of messages" => {
            let mut next = 0;
            let message = |_| {
                let names: String = (0..100)
                    .map(|_| {
                        next += 1;
                        format!(r#","x{next}":{next}"#)
                    })
                    .collect();
                user(to, "hi", &names)
            };
            whole(to, &list(size, message), "", "")
        }
        "unknown members at the top" => {
            let members = list(size, |at| format!(r#""x{at}":{at}"#));
            whole(to, &plain, "", &format!(",{members}"))
        }
        "tools of one name" => whole(to, &plain, &list(size, |_| tool(to, "f", schema)), ""),
        "tools of illegal names" => whole(to, &plain, &list(size, |at| tool(to, &format!("f é {at}"), schema)), ""),
        "messages" => whole(to, &list(size, |at| user(to, &format!("hi {at}"), "")), "", ""),
        "thoughts" => whole(to, &format!("{plain},{}", list(size, |_| thought(to))), "", ""),
        "calls and results, reversed" => {
            whole(to, &format!("{plain},{}", exchange(to, count(size, 120), true)), &tool(to, "f", schema), "")
        }
        "calls without results" => {
            let history = format!("{plain},{},{plain}", exchange(to, count(size, 60), false));
            whole(to, &history, &tool(to, "f", schema), "")
        }
        "nested schema" => {
            let (open, close) = (r#"{"type":"object","properties":{"a":"#.repeat(40), "}}".repeat(40));
            let values = list(size / 2, |at| format!(r#""{at}""#));
            let words = "w".repeat(size / 2);
            let deep = format!(r#"{open}{{"enum":[{values}],"x":"{words}"}}{close}"#);
            whole(to, &plain, &tool(to, "f", &deep), "")
        }
        "references to a large default" => {
            let value = list(size, |at| at.to_string());
            let schema = format!(
                r##"{{"$ref":"#/$defs/a","$defs":{{"a":{{"type":"object","default":[{value}],"properties":{{"x":{{"$ref":"#/$defs/a"}},"y":{{"$ref":"#/$defs/a"}}}}}}}}}}"##
            );
            whole(to, &plain, &tool(to, "f", &schema), "")
        }
        _ => whole(to, &user(to, &r"\u0001".repeat(size / 6), ""), "", ""),
    }
}

/// A whole answer of one of [`ANSWERS`], of about `size` bytes.
pub fn answer(from: Operation, kind: &str, size: usize) -> String {
    let calls = |arguments: &str, calls: usize| {
        let one = |at: usize| match from {
            Operation::ChatCompletions => {
                let arguments = arguments.replace('"', "\\\"");
                format!(r#"{{"id":"c{at}","type":"function","function":{{"name":"f","arguments":"{arguments}"}}}}"#)
            }
            Operation::Responses => {
                let arguments = arguments.replace('"', "\\\"");
                format!(r#"{{"type":"function_call","call_id":"c{at}","name":"f","arguments":"{arguments}"}}"#)
            }
            Operation::Messages => format!(r#"{{"type":"tool_use","id":"c{at}","name":"f","input":{{}}}}"#),
            Operation::Converse => format!(r#"{{"toolUse":{{"toolUseId":"c{at}","name":"f","input":{{}}}}}}"#),
            _ => r#"{"functionCall":{"name":"f","args":{}}}"#.to_owned(),
        };
        (0..calls).map(one).collect::<Vec<_>>().join(",")
    };
    let (words, called) = match kind {
        "words" => ("w\\n".repeat(size / 3), String::new()),
        "calls" => ("w".to_owned(), calls("{}", count(size, 60))),
        "glued arguments" => ("w".to_owned(), calls(&"{}".repeat(size / 2), 1)),
        _ => (
            "w".to_owned(),
            list(size, |at| match from {
                Operation::ChatCompletions => format!(r#"{{"id":"c{at}","x{at}":1,"function":{{"name":"f"}}}}"#),
                Operation::Responses => format!(r#"{{"type":"x{at}","x{at}":1}}"#),
                Operation::Messages => format!(r#"{{"type":"text","text":"w","x{at}":1}}"#),
                Operation::Converse => format!(r#"{{"x{at}":1}}"#),
                _ => format!(r#"{{"text":"w","x{at}":1}}"#),
            }),
        ),
    };
    match from {
        Operation::ChatCompletions => format!(
            r#"{{"id":"i","model":"m","choices":[{{"index":0,"message":{{"role":"assistant","content":"{words}","tool_calls":[{called}]}},"finish_reason":"stop"}}]}}"#
        ),
        Operation::Responses => {
            let comma = if called.is_empty() { "" } else { "," };
            format!(
                r#"{{"id":"i","model":"m","status":"completed","output":[{{"type":"message","content":[{{"type":"output_text","text":"{words}"}}]}}{comma}{called}]}}"#
            )
        }
        Operation::Messages => {
            let comma = if called.is_empty() { "" } else { "," };
            format!(
                r#"{{"id":"i","type":"message","model":"m","content":[{{"type":"text","text":"{words}"}}{comma}{called}],"stop_reason":"end_turn"}}"#
            )
        }
        Operation::Converse => {
            let comma = if called.is_empty() { "" } else { "," };
            format!(
                r#"{{"output":{{"message":{{"role":"assistant","content":[{{"text":"{words}"}}{comma}{called}]}}}},"stopReason":"end_turn"}}"#
            )
        }
        _ => {
            let comma = if called.is_empty() { "" } else { "," };
            format!(
                r#"{{"responseId":"i","candidates":[{{"content":{{"parts":[{{"text":"{words}"}}{comma}{called}]}},"finishReason":"STOP"}}]}}"#
            )
        }
    }
}

/// The events of a stream of one of [`STREAMS`], of about `size` bytes in all.
pub fn stream(from: Operation, kind: &str, size: usize) -> Vec<String> {
    if kind == "an unfinished event" {
        let mut pieces = vec!["data: {\"x\":\"".to_owned()];
        pieces.extend((0..count(size, 1024)).map(|_| "w".repeat(1024)));
        return pieces;
    }
    let mut pieces = vec![opening(from)];
    let (mut bytes, mut at) = (0, 0);
    while bytes < size {
        let event = event(from, kind, at);
        bytes += event.len();
        at += 1;
        pieces.push(event);
    }
    pieces
}

fn opening(from: Operation) -> String {
    match from {
        Operation::Messages => {
            let mut out =
                "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"id\":\"i\"}}\n\n".to_owned();
            for index in 0..100 {
                // Writing to a string cannot fail.
                let _ = write!(
                    out,
                    "event: content_block_start\ndata: {{\"type\":\"content_block_start\",\"index\":{index},\
                     \"content_block\":{{\"type\":\"{}\",\"text\":\"\",\"id\":\"c{index}\",\"name\":\"f\"}}}}\n\n",
                    if index == 0 { "text" } else { "tool_use" }
                );
            }
            out
        }
        Operation::Responses => {
            let mut out =
                "data: {\"type\":\"response.created\",\"response\":{\"id\":\"i\",\"status\":\"in_progress\"}}\n\n"
                    .to_owned();
            for index in 1..100 {
                let _ = write!(
                    out,
                    "data: {{\"type\":\"response.output_item.added\",\"output_index\":{index},\
                     \"item\":{{\"type\":\"function_call\",\"id\":\"fc_{index}\",\"call_id\":\"c{index}\",\"name\":\"f\"}}}}\n\n"
                );
            }
            out
        }
        Operation::Converse => {
            let mut out = "event: messageStart\ndata: {\"role\":\"assistant\"}\n\n".to_owned();
            for index in 1..100 {
                let _ = write!(
                    out,
                    "event: contentBlockStart\ndata: {{\"contentBlockIndex\":{index},\
                     \"start\":{{\"toolUse\":{{\"toolUseId\":\"c{index}\",\"name\":\"f\"}}}}}}\n\n"
                );
            }
            out
        }
        _ => "data: {\"choices\":[],\"candidates\":[]}\n\n".to_owned(),
    }
}

fn event(from: Operation, kind: &str, at: usize) -> String {
    let call = 1 + at % 99;
    let data = match (from, kind) {
        (Operation::ChatCompletions, "interleaved calls") => format!(
            r#"{{"id":"i","choices":[{{"index":0,"delta":{{"tool_calls":[{{"index":{call},"id":"c{call}","function":{{"name":"f","arguments":"["}}}}]}}}}]}}"#
        ),
        (Operation::ChatCompletions, "losses") => {
            r#"{"id":"i","choices":[{"index":0,"delta":{"audio":{}},"logprobs":{}}]}"#.to_owned()
        }
        (Operation::ChatCompletions, "sources") => format!(
            r#"{{"id":"i","choices":[{{"index":0,"delta":{{"content":"w","annotations":[{{"url_citation":{{"url":"https://e.org/{at}"}}}}]}}}}]}}"#
        ),
        (Operation::ChatCompletions, _) => r#"{"id":"i","choices":[{"index":0,"delta":{"content":"w"}}]}"#.to_owned(),
        (Operation::Messages, "interleaved calls") => format!(
            r#"{{"type":"content_block_delta","index":{call},"delta":{{"type":"input_json_delta","partial_json":"["}}}}"#
        ),
        (Operation::Messages, "losses") => r#"{"type":"message_delta","delta":{"container":{"id":"x"}}}"#.to_owned(),
        (Operation::Messages, "sources") => format!(
            r#"{{"type":"content_block_delta","index":0,"delta":{{"type":"citations_delta","citation":{{"url":"https://e.org/{at}"}}}}}}"#
        ),
        (Operation::Messages, _) => {
            r#"{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"w"}}"#.to_owned()
        }
        (Operation::Responses, "interleaved calls") => {
            format!(r#"{{"type":"response.function_call_arguments.delta","output_index":{call},"delta":"["}}"#)
        }
        (Operation::Responses, "losses") => format!(r#"{{"type":"response.x{at}.delta","delta":"w"}}"#),
        (Operation::Responses, "sources") => format!(
            r#"{{"type":"response.output_text.annotation.added","output_index":0,"annotation":{{"type":"url_citation","url":"https://e.org/{at}"}}}}"#
        ),
        (Operation::Responses, _) => {
            format!(r#"{{"type":"response.output_text.delta","sequence_number":{at},"delta":"w"}}"#)
        }
        (Operation::Converse, "interleaved calls") => {
            format!(r#"{{"contentBlockIndex":{call},"delta":{{"toolUse":{{"input":"["}}}}}}"#)
        }
        (Operation::Converse, "losses") => r#"{"trace":{}}"#.to_owned(),
        (Operation::Converse, "sources") => format!(
            r#"{{"contentBlockIndex":0,"delta":{{"citation":{{"location":{{"web":{{"url":"https://e.org/{at}"}}}}}}}}}}"#
        ),
        (Operation::Converse, _) => r#"{"contentBlockIndex":0,"delta":{"text":"w"}}"#.to_owned(),
        (_, "interleaved calls") => {
            r#"{"candidates":[{"content":{"parts":[{"functionCall":{"name":"f","args":{}}}]}}]}"#.to_owned()
        }
        (_, "losses") => r#"{"candidates":[{"finishMessage":"x","logprobsResult":{}}]}"#.to_owned(),
        (_, "sources") => format!(
            r#"{{"candidates":[{{"content":{{"parts":[{{"text":"w{at} "}}]}},"groundingMetadata":{{"groundingChunks":[{{"web":{{"uri":"https://e.org/{at}"}}}}],"groundingSupports":[{{"segment":{{"text":"nowhere"}},"groundingChunkIndices":[0,0,0]}}]}}}}]}}"#
        ),
        _ => r#"{"candidates":[{"content":{"parts":[{"text":"w"}]}}]}"#.to_owned(),
    };
    match from {
        Operation::Messages => {
            let name = if kind == "losses" { "message_delta" } else { "content_block_delta" };
            format!("event: {name}\ndata: {data}\n\n")
        }
        Operation::Converse => {
            let name = if kind == "losses" { "metadata" } else { "contentBlockDelta" };
            format!("event: {name}\ndata: {data}\n\n")
        }
        _ => format!("data: {data}\n\n"),
    }
}
