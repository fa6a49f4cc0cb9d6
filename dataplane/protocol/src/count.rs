//! Token counting between dialects (docs/protocols/embeddings-and-counting.md).
//!
//! A counting request is the request that it counts, without what shapes the answer alone. So that call's codecs read and
//! write it, and only what stands around it differs.

use bytes::Bytes;

use crate::{
    codec::json::{
        read::{Object, Spelling},
        write,
    },
    dialect::Operation,
    estimate,
    ir::{Request, Sampling},
    scan::{Kind, Scan},
    splice::{self, Edit},
};

/// Members of Anthropic's counting request: all that is a prompt's, or changes how it is counted. Others are refused.
const MESSAGES: [&str; 7] = ["model", "tools", "tool_choice", "system", "messages", "thinking", "output_config"];

/// The same of OpenAI's.
const RESPONSES: [&str; 8] =
    ["model", "instructions", "input", "tools", "tool_choice", "parallel_tool_calls", "reasoning", "text"];

/// The same of Bedrock's.
const CONVERSE: [&str; 4] = ["toolConfig", "system", "messages", "additionalModelRequestFields"];

/// The call whose prompt an operation counts; none for operations that do not count.
pub(crate) const fn counted(counter: Operation) -> Option<Operation> {
    match counter {
        Operation::MessagesCountTokens => Some(Operation::Messages),
        Operation::CountTokens => Some(Operation::GenerateContent),
        Operation::ResponsesInputTokens => Some(Operation::Responses),
        Operation::ConverseCountTokens => Some(Operation::Converse),
        _ => None,
    }
}

/// The operation that counts a call's prompt; none for calls whose prompts nobody counts.
pub(crate) const fn counter(counted: Operation) -> Option<Operation> {
    match counted {
        Operation::Messages => Some(Operation::MessagesCountTokens),
        Operation::GenerateContent => Some(Operation::CountTokens),
        Operation::Responses => Some(Operation::ResponsesInputTokens),
        Operation::Converse => Some(Operation::ConverseCountTokens),
        _ => None,
    }
}

/// The counted call's body, as its codec reads it.
pub(crate) fn unwrapped(client: Operation, body: Bytes) -> Bytes {
    let Ok(scan) = Scan::read(&body) else { return body };
    match client {
        Operation::CountTokens => {
            let whole = ["generateContentRequest", "generate_content_request"];
            let found = whole.iter().find_map(|name| scan.last(&body, name));
            match found.filter(|value| matches!(value.kind, Kind::Object { .. })) {
                Some(value) => body.slice(value.span.clone()),
                None => body,
            }
        }
        Operation::ConverseCountTokens => {
            let found = scan.last(&body, "input").and_then(|input| input.member(&body, "converse"));
            match found.filter(|value| matches!(value.kind, Kind::Object { .. })) {
                Some(value) => body.slice(value.span),
                None => body,
            }
        }
        // A call needs a limit, and counting has none.
        Operation::MessagesCountTokens if scan.last(&body, "max_tokens").is_none() => {
            match memchr::memchr(b'{', &body) {
                Some(start) => {
                    let limit = Edit::first_member(start, scan.members().is_empty(), "\"max_tokens\":1");
                    splice::apply(&body, vec![limit]).into()
                }
                None => body,
            }
        }
        _ => body,
    }
}

/// A request without what shapes the answer and not the prompt.
pub(crate) fn prompt_of(request: Request) -> Request {
    Request {
        stream: false,
        include_usage: None,
        modalities: Vec::new(),
        sampling: Sampling::default(),
        max_output: None,
        stop: Vec::new(),
        candidates: None,
        user: None,
        service_tier: None,
        ..request
    }
}

/// The counting request for a call's body, as the upstream's codec wrote it. `resource` is Google's name of the model.
pub(crate) fn wrapped(upstream: Operation, body: Vec<u8>, resource: &str) -> Vec<u8> {
    match upstream {
        Operation::CountTokens => {
            let model = format!("\"model\":{}", serde_json::Value::from(resource));
            let request = splice::apply(&body, vec![Edit::first_member(0, body == b"{}", &model)]);
            [b"{\"generateContentRequest\":", request.as_slice(), b"}"].concat()
        }
        Operation::ResponsesInputTokens => only(&RESPONSES, body),
        Operation::ConverseCountTokens => {
            [b"{\"input\":{\"converse\":", only(&CONVERSE, body).as_slice(), b"}}"].concat()
        }
        _ => only(&MESSAGES, body),
    }
}

/// Members of Vertex AI's counting request, in both spellings: those of the call that it counts, without anything around
/// them.
const VERTEX: [&str; 6] =
    ["contents", "systemInstruction", "system_instruction", "tools", "generationConfig", "generation_config"];

/// A counting request of Google's as Vertex AI takes it.
pub(crate) fn for_vertex(body: Bytes) -> Bytes {
    only(&VERTEX, unwrapped(Operation::CountTokens, body).to_vec()).into()
}

/// A body with these members alone.
fn only(names: &[&str], body: Vec<u8>) -> Vec<u8> {
    let Ok(scan) = Scan::read(&body) else { return body };
    let mut out = Vec::with_capacity(body.len());
    write::object(&mut out, |out| {
        for name in names {
            let value = scan.last(&body, name).and_then(|value| std::str::from_utf8(value.bytes(&body)).ok());
            if let Some(value) = value {
                out.put_json(name, value);
            }
        }
    });
    out
}

/// The tokens that an upstream's answer names; none if it is no such answer. Google leaves out what is 0, and no prompt
/// is.
pub(crate) fn tokens(upstream: Operation, answer: &[u8]) -> Option<u64> {
    let (name, spelling) = match upstream {
        Operation::CountTokens => ("totalTokens", Spelling::Proto),
        Operation::ConverseCountTokens => ("inputTokens", Spelling::Exact),
        _ => ("input_tokens", Spelling::Exact),
    };
    Object::parse(answer, spelling).ok()?.take(name).ok()?
}

/// The answer for a client.
pub(crate) fn answer(client: Operation, tokens: u64) -> Vec<u8> {
    let mut out = Vec::new();
    write::object(&mut out, |out| match client {
        Operation::CountTokens => out.put("totalTokens", &tokens),
        Operation::ConverseCountTokens => out.put("inputTokens", &tokens),
        Operation::ResponsesInputTokens => {
            out.put("object", "response.input_tokens");
            out.put("input_tokens", &tokens);
        }
        _ => out.put("input_tokens", &tokens),
    });
    out
}

/// The answer for a client whose upstreams do not count: the gateway's own estimate ([`estimate::count`]).
pub(crate) fn estimated(client: Operation, body: &[u8]) -> Vec<u8> {
    answer(client, estimate::count(client, body))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn counters_and_the_calls_they_count_are_pairs() {
        for call in [Operation::Messages, Operation::GenerateContent, Operation::Responses, Operation::Converse] {
            assert_eq!(counter(call).and_then(counted), Some(call));
        }
        assert_eq!(counter(Operation::ChatCompletions), None);
        assert_eq!(counted(Operation::Embeddings), None);
    }

    #[test]
    fn googles_request_is_the_body_or_a_member_of_it() {
        let whole = Bytes::from(r#"{"generateContentRequest":{"model":"models/m","contents":[]}}"#);
        assert_eq!(unwrapped(Operation::CountTokens, whole), r#"{"model":"models/m","contents":[]}"#);
        let bare = Bytes::from(r#"{"contents":[]}"#);
        assert_eq!(unwrapped(Operation::CountTokens, bare.clone()), bare);
        let wrong = Bytes::from(r#"{"generateContentRequest":[]}"#);
        assert_eq!(unwrapped(Operation::CountTokens, wrong.clone()), wrong);
    }

    #[test]
    fn only_members_that_a_counter_takes_are_sent() {
        let body = br#"{"model":"m","max_tokens":8,"stream":true,"messages":[1],"system":"s","metadata":{}}"#.to_vec();
        let sent: Value = serde_json::from_slice(&wrapped(Operation::MessagesCountTokens, body, "")).unwrap();
        assert_eq!(sent, json!({"model": "m", "messages": [1], "system": "s"}));
        let body = br#"{"model":"m","input":"a","store":false,"max_output_tokens":16}"#.to_vec();
        let sent: Value = serde_json::from_slice(&wrapped(Operation::ResponsesInputTokens, body, "")).unwrap();
        assert_eq!(sent, json!({"model": "m", "input": "a"}));
        let body = br#"{"contents":[]}"#.to_vec();
        let sent: Value = serde_json::from_slice(&wrapped(Operation::CountTokens, body, "models/m")).unwrap();
        assert_eq!(sent, json!({"generateContentRequest": {"model": "models/m", "contents": []}}));
    }

    #[test]
    fn an_answer_without_a_count_is_none() {
        for (answer, found) in [
            (r#"{"input_tokens":7}"#, Some(7)),
            (r#"{"input_tokens":"7"}"#, None),
            (r#"{"input_tokens":-1}"#, None),
            (r#"{"totalTokens":7}"#, None),
            ("[]", None),
            ("", None),
        ] {
            assert_eq!(tokens(Operation::MessagesCountTokens, answer.as_bytes()), found, "{answer}");
        }
        assert_eq!(tokens(Operation::CountTokens, br#"{"totalTokens":7,"promptTokensDetails":[]}"#), Some(7));
        assert_eq!(tokens(Operation::CountTokens, b"{}"), None);
    }

    #[test]
    fn each_client_gets_its_own_answer() {
        for (client, text) in [
            (Operation::MessagesCountTokens, r#"{"input_tokens":3}"#),
            (Operation::CountTokens, r#"{"totalTokens":3}"#),
            (Operation::ResponsesInputTokens, r#"{"object":"response.input_tokens","input_tokens":3}"#),
        ] {
            assert_eq!(String::from_utf8(answer(client, 3)).unwrap(), text);
        }
    }
}
