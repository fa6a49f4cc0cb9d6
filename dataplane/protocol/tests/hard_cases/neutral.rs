//! Asking for nothing is no loss: members that are absent in all but name cost no warning, and no refusal in strict mode,
//! whoever writes them and whoever is asked.

use routeapi_protocol::{dialect::Operation, report::Mode};

use super::run::{A, C, G, Request, Want};

/// Upstreams with models that differ in what they take.
const UPSTREAMS: [(Operation, &str); 10] = [
    (C, "gpt-4.1"),
    (C, "gpt-5.2"),
    (C, "gpt-5-mini"),
    (C, "qwen3"),
    (A, "claude-sonnet-4-5"),
    (A, "claude-opus-4-7"),
    (A, "claude-next"),
    (G, "gemini-2.5-flash"),
    (G, "gemini-3-pro-preview"),
    (G, "gemini-1.5-pro"),
];

/// Members beside `messages`.
const CHAT: &[&str] = &[
    r#""store":false"#,
    r#""metadata":{}"#,
    r#""logit_bias":{}"#,
    r#""logit_bias":{"50256":0}"#,
    r#""presence_penalty":0"#,
    r#""frequency_penalty":0.0"#,
    r#""repetition_penalty":1.0"#,
    r#""min_p":0"#,
    r#""top_k":-1"#,
    r#""top_k":0"#,
    r#""best_of":1"#,
    r#""temperature":1"#,
    r#""top_p":1"#,
    r#""temperature":1,"top_p":1.0"#,
    r#""n":1"#,
    r#""stop":[]"#,
    r#""stop":"""#,
    r#""stop":[""]"#,
    r#""user":"""#,
    r#""safety_identifier":"""#,
    r#""prompt_cache_key":"""#,
    r#""prompt_cache_retention":"in_memory""#,
    r#""verbosity":"medium""#,
    r#""service_tier":"auto""#,
    r#""service_tier":"default""#,
    r#""service_tier":"""#,
    r#""modalities":["text"]"#,
    r#""modalities":[]"#,
    r#""response_format":{"type":"text"}"#,
    r#""logprobs":false"#,
    r#""logprobs":false,"top_logprobs":0"#,
    r#""tools":[]"#,
    r#""tools":[],"tool_choice":"auto""#,
    r#""tool_choice":"auto""#,
    r#""tool_choice":"none""#,
    r#""functions":[],"function_call":"none""#,
    r#""parallel_tool_calls":true"#,
    r#""parallel_tool_calls":false"#,
    r#""stream":false"#,
    r#""stream_options":{}"#,
    r#""stream_options":{"include_usage":false,"include_obfuscation":false}"#,
    r#""reasoning":{}"#,
    r#""reasoning":{"exclude":false}"#,
    r#""thinking":{}"#,
    r#""extra_body":{},"transforms":[]"#,
    r#""seed":null,"stop":null,"tools":null,"tool_choice":null,"functions":null,"function_call":null,"response_format":null"#,
    r#""temperature":null,"top_p":null,"top_k":null,"presence_penalty":null,"frequency_penalty":null,"logit_bias":null"#,
    r#""max_tokens":null,"max_completion_tokens":null,"n":null,"logprobs":null,"top_logprobs":null,"user":null,"store":null"#,
    r#""stream":null,"stream_options":null,"reasoning_effort":null,"reasoning":null,"thinking":null,"modalities":null"#,
    r#""audio":null,"prediction":null,"web_search_options":null,"metadata":null,"service_tier":null,"verbosity":null"#,
    r#""parallel_tool_calls":null,"safety_identifier":null,"prompt_cache_key":null,"x_future":null"#,
    r#""tools":[{"type":"function","function":{"name":"f","description":null,"parameters":null,"strict":null}}]"#,
    r#""tools":[{"type":"function","function":{"name":"f","strict":false}}],"tool_choice":"auto","parallel_tool_calls":true"#,
];

/// Whole histories.
const CHAT_MESSAGES: &[&str] = &[
    r#"[{"role":"user","content":"x","name":"","cache_control":null}]"#,
    r#"[{"role":"system","content":""},{"role":"user","content":"x"}]"#,
    r#"[{"role":"user","content":[{"type":"text","text":"x","cache_control":null},{"type":"image_url","image_url":{"url":"https://e.org/a.png","detail":"auto"}}]}]"#,
    r#"[{"role":"user","content":"x"},{"role":"assistant","content":"y","refusal":"","annotations":[],"images":[],"audio":null,"tool_calls":[],"function_call":null,"reasoning_content":null,"reasoning":"","reasoning_details":[]},{"role":"user","content":"z"}]"#,
];

const MESSAGES: &[&str] = &[
    r#""metadata":{}"#,
    r#""metadata":{"user_id":""}"#,
    r#""metadata":{"user_id":null}"#,
    r#""stop_sequences":[]"#,
    r#""stop_sequences":[""]"#,
    r#""system":"""#,
    r#""system":[]"#,
    r#""system":[{"type":"text","text":""}]"#,
    r#""tools":[]"#,
    r#""tools":[],"tool_choice":{"type":"auto"}"#,
    r#""tool_choice":{"type":"none"}"#,
    r#""tool_choice":{"type":"auto","disable_parallel_tool_use":false}"#,
    r#""tool_choice":{"type":"auto","disable_parallel_tool_use":true}"#,
    r#""mcp_servers":[]"#,
    r#""container":null"#,
    r#""container":"""#,
    r#""context_management":{"edits":[]}"#,
    r#""context_management":{}"#,
    r#""context_management":{"edits":[{"type":"clear_thinking_20251015","keep":"all"}]}"#,
    r#""output_config":{}"#,
    r#""output_config":{"effort":null,"format":null}"#,
    r#""temperature":1"#,
    r#""top_p":1"#,
    r#""service_tier":"auto""#,
    r#""speed":"standard""#,
    r#""inference_geo":"global""#,
    r#""stream":false"#,
    r#""cache_control":null"#,
    r#""temperature":null,"top_p":null,"top_k":null,"stop_sequences":null,"system":null,"tools":null,"tool_choice":null"#,
    r#""thinking":null,"metadata":null,"service_tier":null,"mcp_servers":null,"context_management":null,"output_config":null,"stream":null"#,
    r#""tools":[{"name":"f","type":"custom","description":null,"input_schema":{"type":"object","properties":{}},"cache_control":null,"strict":false,"defer_loading":false,"eager_input_streaming":false,"allowed_callers":["direct"],"input_examples":[]}]"#,
];

const MESSAGES_MESSAGES: &[&str] = &[
    r#"[{"role":"user","content":[{"type":"text","text":"x","citations":null,"cache_control":null}]}]"#,
    r#"[{"role":"user","content":[{"type":"document","source":{"type":"text","media_type":"text/plain","data":"x"},"title":"","context":"","citations":{"enabled":false}}]}]"#,
    r#"[{"role":"user","content":"x"},{"role":"assistant","content":[{"type":"text","text":"y","citations":[]},{"type":"tool_use","id":"t","name":"f","input":{},"caller":{"type":"direct"}}]},{"role":"user","content":[{"type":"tool_result","tool_use_id":"t","content":[],"is_error":false}]}]"#,
];

const GEMINI: &[&str] = &[
    r#""safetySettings":[]"#,
    r#""safetySettings":[{"category":"HARM_CATEGORY_HARASSMENT","threshold":"HARM_BLOCK_THRESHOLD_UNSPECIFIED"}]"#,
    r#""labels":{}"#,
    r#""cachedContent":"""#,
    r#""store":false"#,
    r#""serviceTier":"unspecified""#,
    r#""systemInstruction":"""#,
    r#""systemInstruction":{}"#,
    r#""systemInstruction":{"parts":[]}"#,
    r#""systemInstruction":{"parts":[{"text":""}]}"#,
    r#""tools":[]"#,
    r#""tools":[{}]"#,
    r#""tools":[{"functionDeclarations":[]}]"#,
    r#""tools":[{"googleSearch":null}]"#,
    r#""toolConfig":{}"#,
    r#""toolConfig":{"functionCallingConfig":{}}"#,
    r#""toolConfig":{"functionCallingConfig":{"mode":"AUTO"}}"#,
    r#""toolConfig":{"functionCallingConfig":{"mode":"MODE_UNSPECIFIED","allowedFunctionNames":[]},"includeServerSideToolInvocations":false,"retrievalConfig":{}}"#,
    r#""generationConfig":{}"#,
    r#""generationConfig":{"candidateCount":1}"#,
    r#""generationConfig":{"stopSequences":[]}"#,
    r#""generationConfig":{"stopSequences":[""]}"#,
    r#""generationConfig":{"responseMimeType":"text/plain"}"#,
    r#""generationConfig":{"responseMimeType":""}"#,
    r#""generationConfig":{"responseModalities":["TEXT"]}"#,
    r#""generationConfig":{"responseModalities":[]}"#,
    r#""generationConfig":{"responseModalities":["MODALITY_UNSPECIFIED"]}"#,
    r#""generationConfig":{"mediaResolution":"MEDIA_RESOLUTION_UNSPECIFIED"}"#,
    r#""generationConfig":{"presencePenalty":0,"frequencyPenalty":0}"#,
    r#""generationConfig":{"temperature":1,"topP":1}"#,
    r#""generationConfig":{"responseLogprobs":false}"#,
    r#""generationConfig":{"responseLogprobs":false,"logprobs":0}"#,
    r#""generationConfig":{"enableEnhancedCivicAnswers":false,"audioTimestamp":false,"speechConfig":{},"imageConfig":{}}"#,
    r#""generationConfig":{"thinkingConfig":{}}"#,
    r#""generationConfig":{"thinkingConfig":{"includeThoughts":false}}"#,
    r#""generationConfig":{"thinkingConfig":{"thinkingLevel":"THINKING_LEVEL_UNSPECIFIED"}}"#,
    r#""generationConfig":{"temperature":null,"topP":null,"topK":null,"seed":null,"maxOutputTokens":null,"candidateCount":null,"stopSequences":null}"#,
    r#""generationConfig":{"responseMimeType":null,"responseSchema":null,"responseJsonSchema":null,"thinkingConfig":null,"responseModalities":null}"#,
    r#""generationConfig":null,"systemInstruction":null,"tools":null,"toolConfig":null,"safetySettings":null,"cachedContent":null,"labels":null"#,
    r#""tools":[{"functionDeclarations":[{"name":"f","description":null,"parameters":null,"behavior":"UNSPECIFIED"}]}]"#,
    r#""tools":[{"functionDeclarations":[{"name":"f","behavior":"BLOCKING"}]}],"toolConfig":{"functionCallingConfig":{"mode":"AUTO"}}"#,
];

const GEMINI_CONTENTS: &[&str] = &[
    r#"[{"role":"","parts":[{"text":"x","thought":false,"thoughtSignature":"","videoMetadata":{},"mediaResolution":{"level":"MEDIA_RESOLUTION_UNSPECIFIED"}}]}]"#,
    r#"[{"parts":[{"text":"x"}]},{"role":"model","parts":[{"text":"y","thoughtSignature":null},{"functionCall":{"name":"f","args":null,"willContinue":false}}]},{"role":"user","parts":[{"functionResponse":{"name":"f","response":{},"willContinue":false,"scheduling":"SCHEDULING_UNSPECIFIED"}}]}]"#,
];

/// Turned off is neutral where a model can be told so.
const THINKING_OFF: [(Operation, &str); 4] = [(C, "gpt-4.1"), (C, "gpt-5.2"), (C, "qwen3"), (G, "gemini-2.5-flash")];

fn failures(from: Operation, body: String, upstreams: &[(Operation, &'static str)]) -> Vec<String> {
    let body: &'static str = body.leak();
    // A call of Gemini 3's current turn that is unsigned gets a stand-in, which is told; nothing else is.
    let has_call = body.contains("functionCall") || body.contains("\"tool_use\"");
    let others = upstreams.iter().filter(|(to, _)| *to != from);
    let row = |(to, model): &(Operation, &'static str)| {
        let signs = has_call && model.contains("gemini-3");
        let (mode, wants): (_, &[Want]) = match signs {
            true => (Mode::Default, &[Want::OnlyWarns("skip_thought_signature_validator")]),
            false => (Mode::Strict, &[Want::Quiet]),
        };
        Request { cases: &[], from, body, to: *to, model, mode, wants }
    };
    others.flat_map(|to| row(to).failures().into_iter().map(|why| format!("{why}\nof {body}"))).collect()
}

#[test]
fn cost_no_warning_and_no_refusal() {
    let mut failed = Vec::new();
    for member in CHAT {
        let body = format!(r#"{{"model":"m","messages":[{{"role":"user","content":"x"}}],{member}}}"#);
        failed.extend(failures(C, body, &UPSTREAMS));
    }
    for messages in CHAT_MESSAGES {
        failed.extend(failures(C, format!(r#"{{"model":"m","messages":{messages}}}"#), &UPSTREAMS));
    }
    for member in MESSAGES {
        let body = format!(r#"{{"model":"m","max_tokens":9,"messages":[{{"role":"user","content":"x"}}],{member}}}"#);
        failed.extend(failures(A, body, &UPSTREAMS));
    }
    for messages in MESSAGES_MESSAGES {
        failed.extend(failures(A, format!(r#"{{"model":"m","max_tokens":9,"messages":{messages}}}"#), &UPSTREAMS));
    }
    let off =
        r#"{"model":"m","max_tokens":9,"messages":[{"role":"user","content":"x"}],"thinking":{"type":"disabled"}}"#;
    failed.extend(failures(A, off.to_owned(), &THINKING_OFF));
    for member in GEMINI {
        failed.extend(failures(G, format!(r#"{{"contents":[{{"parts":[{{"text":"x"}}]}}],{member}}}"#), &UPSTREAMS));
    }
    for contents in GEMINI_CONTENTS {
        failed.extend(failures(G, format!(r#"{{"contents":{contents}}}"#), &UPSTREAMS));
    }
    super::none(&failed);
}
