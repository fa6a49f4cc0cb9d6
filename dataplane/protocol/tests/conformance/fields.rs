//! The members of each client's request, with a value that asks for something.

use routeapi_protocol::dialect::Operation;

/// A member, and what is merged into [`base`] to have it there.
pub struct Field {
    /// As the client's documentation writes it.
    pub name: &'static str,
    /// A merge patch (RFC 7396).
    pub patch: &'static str,
}

/// A request of each dialect that asks for nothing special.
pub fn base(client: Operation) -> &'static str {
    match client {
        Operation::ChatCompletions => r#"{"model":"m","messages":[{"role":"user","content":"hi"}]}"#,
        Operation::Responses => r#"{"model":"m","input":"hi"}"#,
        Operation::Messages => r#"{"model":"m","max_tokens":64,"messages":[{"role":"user","content":"hi"}]}"#,
        Operation::Converse => r#"{"messages":[{"role":"user","content":[{"text":"hi"}]}]}"#,
        Operation::GenerateContent => r#"{"contents":[{"role":"user","parts":[{"text":"hi"}]}]}"#,
        other => panic!("{other} is not translated"),
    }
}

/// The members of a client's requests.
pub fn fields(client: Operation) -> &'static [Field] {
    match client {
        Operation::ChatCompletions => CHAT,
        Operation::Responses => RESPONSES,
        Operation::Messages => MESSAGES,
        Operation::GenerateContent => GEMINI,
        Operation::Converse => CONVERSE,
        other => panic!("{other} is not translated"),
    }
}

const fn field(name: &'static str, patch: &'static str) -> Field {
    Field { name, patch }
}

const CHAT: &[Field] = &[
    field(
        "messages[].role: system",
        r#"{"messages":[{"role":"system","content":"s"},{"role":"user","content":"hi"}]}"#,
    ),
    field(
        "messages[].role: developer",
        r#"{"messages":[{"role":"developer","content":"s"},{"role":"user","content":"hi"}]}"#,
    ),
    field("messages[].name", r#"{"messages":[{"role":"user","name":"ann","content":"hi"}]}"#),
    field(
        "image_url, inline",
        r#"{"messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":"data:image/png;base64,AAAA"}}]}]}"#,
    ),
    field(
        "image_url, by address",
        r#"{"messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":"https://a.example/b.png"}}]}]}"#,
    ),
    field(
        "image_url.detail",
        r#"{"messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":"data:image/png;base64,AAAA","detail":"low"}}]}]}"#,
    ),
    field(
        "input_audio",
        r#"{"messages":[{"role":"user","content":[{"type":"input_audio","input_audio":{"data":"AAAA","format":"wav"}}]}]}"#,
    ),
    field(
        "file, inline PDF",
        r#"{"messages":[{"role":"user","content":[{"type":"file","file":{"filename":"a.pdf","file_data":"data:application/pdf;base64,JVBERi0x"}}]}]}"#,
    ),
    field("file.file_id", r#"{"messages":[{"role":"user","content":[{"type":"file","file":{"file_id":"file-1"}}]}]}"#),
    field(
        "tool_calls and role: tool",
        r#"{"messages":[{"role":"user","content":"hi"},{"role":"assistant","tool_calls":[{"id":"call_1","type":"function","function":{"name":"f","arguments":"{}"}}]},{"role":"tool","tool_call_id":"call_1","content":"ok"}],"tools":[{"type":"function","function":{"name":"f"}}]}"#,
    ),
    field(
        "tools[].function",
        r#"{"tools":[{"type":"function","function":{"name":"f","description":"d","parameters":{"type":"object","properties":{}}}}]}"#,
    ),
    field(
        "tools[].function.strict",
        r#"{"tools":[{"type":"function","function":{"name":"f","strict":true,"parameters":{"type":"object","properties":{"a":{"type":"string"}},"required":["a"],"additionalProperties":false}}}]}"#,
    ),
    field("tools[].custom", r#"{"tools":[{"type":"custom","custom":{"name":"f"}}]}"#),
    field(
        "tool_choice: required",
        r#"{"tools":[{"type":"function","function":{"name":"f"}}],"tool_choice":"required"}"#,
    ),
    field(
        "tool_choice.function",
        r#"{"tools":[{"type":"function","function":{"name":"f"}}],"tool_choice":{"type":"function","function":{"name":"f"}}}"#,
    ),
    field(
        "tool_choice.allowed_tools",
        r#"{"tools":[{"type":"function","function":{"name":"f"}},{"type":"function","function":{"name":"g"}}],"tool_choice":{"type":"allowed_tools","allowed_tools":{"mode":"auto","tools":[{"type":"function","function":{"name":"f"}}]}}}"#,
    ),
    field(
        "parallel_tool_calls",
        r#"{"tools":[{"type":"function","function":{"name":"f"}}],"parallel_tool_calls":false}"#,
    ),
    field("functions", r#"{"functions":[{"name":"f"}]}"#),
    field("response_format: json_object", r#"{"response_format":{"type":"json_object"}}"#),
    field(
        "response_format: json_schema",
        r#"{"response_format":{"type":"json_schema","json_schema":{"name":"a","schema":{"type":"object","properties":{"a":{"type":"string"}}}}}}"#,
    ),
    field("max_completion_tokens", r#"{"max_completion_tokens":77}"#),
    field("max_tokens", r#"{"max_tokens":77}"#),
    field("stream", r#"{"stream":true}"#),
    field("temperature", r#"{"temperature":0.5}"#),
    field("top_p", r#"{"top_p":0.5}"#),
    field("stop", r#"{"stop":["END"]}"#),
    field("n", r#"{"n":2}"#),
    field("seed", r#"{"seed":7}"#),
    field("presence_penalty", r#"{"presence_penalty":0.5}"#),
    field("frequency_penalty", r#"{"frequency_penalty":0.5}"#),
    field("logit_bias", r#"{"logit_bias":{"50256":-100}}"#),
    field("logprobs", r#"{"logprobs":true,"top_logprobs":2}"#),
    field("reasoning_effort", r#"{"reasoning_effort":"low"}"#),
    field("verbosity", r#"{"verbosity":"low"}"#),
    field("modalities: audio", r#"{"modalities":["text","audio"],"audio":{"voice":"alloy","format":"wav"}}"#),
    field("prediction", r#"{"prediction":{"type":"content","content":"x"}}"#),
    field("web_search_options", r#"{"web_search_options":{}}"#),
    field("service_tier", r#"{"service_tier":"priority"}"#),
    field("user", r#"{"user":"ann"}"#),
    field("safety_identifier", r#"{"safety_identifier":"ann"}"#),
    field("prompt_cache_key", r#"{"prompt_cache_key":"k"}"#),
    field("metadata", r#"{"metadata":{"a":"b"}}"#),
    field("store", r#"{"store":true}"#),
    field("an unknown member", r#"{"x_future":{"a":1}}"#),
];

const RESPONSES: &[Field] = &[
    field("instructions", r#"{"instructions":"s"}"#),
    field(
        "input[]: developer message",
        r#"{"input":[{"role":"developer","content":"s"},{"role":"user","content":"hi"}]}"#,
    ),
    field(
        "input_image, inline",
        r#"{"input":[{"role":"user","content":[{"type":"input_image","image_url":"data:image/png;base64,AAAA"}]}]}"#,
    ),
    field(
        "input_image, by address",
        r#"{"input":[{"role":"user","content":[{"type":"input_image","image_url":"https://a.example/b.png"}]}]}"#,
    ),
    field(
        "input_file, inline PDF",
        r#"{"input":[{"role":"user","content":[{"type":"input_file","filename":"a.pdf","file_data":"data:application/pdf;base64,JVBERi0x"}]}]}"#,
    ),
    field("input_file.file_id", r#"{"input":[{"role":"user","content":[{"type":"input_file","file_id":"file-1"}]}]}"#),
    field(
        "function_call and function_call_output",
        r#"{"input":[{"role":"user","content":"hi"},{"type":"function_call","call_id":"call_1","name":"f","arguments":"{}"},{"type":"function_call_output","call_id":"call_1","output":"ok"}],"tools":[{"type":"function","name":"f","parameters":{"type":"object","properties":{}}}]}"#,
    ),
    field(
        "function_call_output, an image",
        r#"{"input":[{"role":"user","content":"hi"},{"type":"function_call","call_id":"call_1","name":"f","arguments":"{}"},{"type":"function_call_output","call_id":"call_1","output":[{"type":"input_image","image_url":"data:image/png;base64,AAAA"}]}],"tools":[{"type":"function","name":"f","parameters":{"type":"object","properties":{}}}]}"#,
    ),
    field(
        "custom_tool_call",
        r#"{"input":[{"role":"user","content":"hi"},{"type":"custom_tool_call","call_id":"call_1","name":"f","input":"x"},{"type":"custom_tool_call_output","call_id":"call_1","output":"ok"}],"tools":[{"type":"custom","name":"f"}]}"#,
    ),
    field(
        "reasoning item of OpenAI's",
        r#"{"input":[{"role":"user","content":"hi"},{"type":"reasoning","id":"rs_1","summary":[{"type":"summary_text","text":"t"}],"encrypted_content":"gAAA"},{"role":"assistant","content":"a"},{"role":"user","content":"b"}]}"#,
    ),
    field(
        "tools[]: function",
        r#"{"tools":[{"type":"function","name":"f","description":"d","strict":false,"parameters":{"type":"object","properties":{}}}]}"#,
    ),
    field("tools[]: custom", r#"{"tools":[{"type":"custom","name":"f"}]}"#),
    field("tools[]: web_search", r#"{"tools":[{"type":"web_search"}]}"#),
    field("tools[]: mcp", r#"{"tools":[{"type":"mcp","server_label":"a","server_url":"https://a.example"}]}"#),
    field(
        "tool_choice: required",
        r#"{"tools":[{"type":"function","name":"f","parameters":{"type":"object","properties":{}}}],"tool_choice":"required"}"#,
    ),
    field(
        "tool_choice: a function",
        r#"{"tools":[{"type":"function","name":"f","parameters":{"type":"object","properties":{}}}],"tool_choice":{"type":"function","name":"f"}}"#,
    ),
    field(
        "parallel_tool_calls",
        r#"{"tools":[{"type":"function","name":"f","parameters":{"type":"object","properties":{}}}],"parallel_tool_calls":false}"#,
    ),
    field("text.format: json_object", r#"{"text":{"format":{"type":"json_object"}}}"#),
    field(
        "text.format: json_schema",
        r#"{"text":{"format":{"type":"json_schema","name":"a","schema":{"type":"object","properties":{"a":{"type":"string"}}}}}}"#,
    ),
    field("text.verbosity", r#"{"text":{"verbosity":"low"}}"#),
    field("reasoning.effort", r#"{"reasoning":{"effort":"low"}}"#),
    field("reasoning.summary", r#"{"reasoning":{"effort":"low","summary":"auto"}}"#),
    field("max_output_tokens", r#"{"max_output_tokens":77}"#),
    field("max_tool_calls", r#"{"max_tool_calls":3}"#),
    field("stream", r#"{"stream":true}"#),
    field("temperature", r#"{"temperature":0.5}"#),
    field("top_p", r#"{"top_p":0.5}"#),
    field("top_logprobs", r#"{"top_logprobs":2,"include":["message.output_text.logprobs"]}"#),
    field("truncation", r#"{"truncation":"auto"}"#),
    field("service_tier", r#"{"service_tier":"priority"}"#),
    field("user", r#"{"user":"ann"}"#),
    field("safety_identifier", r#"{"safety_identifier":"ann"}"#),
    field("prompt_cache_key", r#"{"prompt_cache_key":"k"}"#),
    field("store", r#"{"store":true}"#),
    field("previous_response_id", r#"{"previous_response_id":"resp_1"}"#),
    field("conversation", r#"{"conversation":"conv_1"}"#),
    field("background", r#"{"background":true}"#),
    field("prompt", r#"{"prompt":{"id":"pmpt_1"}}"#),
    field("an unknown member", r#"{"x_future":{"a":1}}"#),
];

const MESSAGES: &[Field] = &[
    field("system", r#"{"system":"s"}"#),
    field("cache_control", r#"{"system":[{"type":"text","text":"s","cache_control":{"type":"ephemeral"}}]}"#),
    field(
        "image, inline",
        r#"{"messages":[{"role":"user","content":[{"type":"image","source":{"type":"base64","media_type":"image/png","data":"AAAA"}}]}]}"#,
    ),
    field(
        "image, by address",
        r#"{"messages":[{"role":"user","content":[{"type":"image","source":{"type":"url","url":"https://a.example/b.png"}}]}]}"#,
    ),
    field(
        "document, inline PDF",
        r#"{"messages":[{"role":"user","content":[{"type":"document","source":{"type":"base64","media_type":"application/pdf","data":"JVBERi0x"}}]}]}"#,
    ),
    field(
        "document.citations",
        r#"{"messages":[{"role":"user","content":[{"type":"document","source":{"type":"base64","media_type":"application/pdf","data":"JVBERi0x"},"citations":{"enabled":true}}]}]}"#,
    ),
    field(
        "source.file_id",
        r#"{"messages":[{"role":"user","content":[{"type":"document","source":{"type":"file","file_id":"file_1"}}]}]}"#,
    ),
    field(
        "tool_use and tool_result",
        r#"{"messages":[{"role":"user","content":"hi"},{"role":"assistant","content":[{"type":"tool_use","id":"toolu_1","name":"f","input":{}}]},{"role":"user","content":[{"type":"tool_result","tool_use_id":"toolu_1","content":"ok"}]}],"tools":[{"name":"f","input_schema":{"type":"object"}}]}"#,
    ),
    field(
        "tool_result, an image",
        r#"{"messages":[{"role":"user","content":"hi"},{"role":"assistant","content":[{"type":"tool_use","id":"toolu_1","name":"f","input":{}}]},{"role":"user","content":[{"type":"tool_result","tool_use_id":"toolu_1","content":[{"type":"image","source":{"type":"base64","media_type":"image/png","data":"AAAA"}}]}]}],"tools":[{"name":"f","input_schema":{"type":"object"}}]}"#,
    ),
    field(
        "thinking block of Anthropic's",
        r#"{"messages":[{"role":"user","content":"hi"},{"role":"assistant","content":[{"type":"thinking","thinking":"t","signature":"c2ln"},{"type":"text","text":"a"}]},{"role":"user","content":"b"}]}"#,
    ),
    field("tools[]", r#"{"tools":[{"name":"f","description":"d","input_schema":{"type":"object","properties":{}}}]}"#),
    field("tools[]: web_search", r#"{"tools":[{"type":"web_search_20250305","name":"web_search"}]}"#),
    field(
        "tool_choice: any",
        r#"{"tools":[{"name":"f","input_schema":{"type":"object"}}],"tool_choice":{"type":"any"}}"#,
    ),
    field(
        "tool_choice: tool",
        r#"{"tools":[{"name":"f","input_schema":{"type":"object"}}],"tool_choice":{"type":"tool","name":"f"}}"#,
    ),
    field(
        "disable_parallel_tool_use",
        r#"{"tools":[{"name":"f","input_schema":{"type":"object"}}],"tool_choice":{"type":"auto","disable_parallel_tool_use":true}}"#,
    ),
    field(
        "output_config.format",
        r#"{"output_config":{"format":{"type":"json_schema","schema":{"type":"object","properties":{"a":{"type":"string"}},"required":["a"],"additionalProperties":false}}}}"#,
    ),
    field("output_config.effort", r#"{"output_config":{"effort":"low"}}"#),
    field("max_tokens", r#"{"max_tokens":77}"#),
    field("stream", r#"{"stream":true}"#),
    field("temperature", r#"{"temperature":0.5}"#),
    field("top_p", r#"{"top_p":0.5}"#),
    field("top_k", r#"{"top_k":5}"#),
    field("stop_sequences", r#"{"stop_sequences":["END"]}"#),
    field("thinking: enabled", r#"{"max_tokens":4096,"thinking":{"type":"enabled","budget_tokens":1024}}"#),
    field("service_tier", r#"{"service_tier":"standard_only"}"#),
    field("metadata.user_id", r#"{"metadata":{"user_id":"ann"}}"#),
    field("mcp_servers", r#"{"mcp_servers":[{"type":"url","url":"https://a.example","name":"a"}]}"#),
    field("context_management", r#"{"context_management":{"edits":[{"type":"clear_tool_uses_20250919"}]}}"#),
    field("an unknown member", r#"{"x_future":{"a":1}}"#),
];

const GEMINI: &[Field] = &[
    field("systemInstruction", r#"{"systemInstruction":{"parts":[{"text":"s"}]}}"#),
    field(
        "inlineData, an image",
        r#"{"contents":[{"role":"user","parts":[{"inlineData":{"mimeType":"image/png","data":"AAAA"}}]}]}"#,
    ),
    field(
        "inlineData, sound",
        r#"{"contents":[{"role":"user","parts":[{"inlineData":{"mimeType":"audio/wav","data":"AAAA"}}]}]}"#,
    ),
    field(
        "inlineData, a PDF",
        r#"{"contents":[{"role":"user","parts":[{"inlineData":{"mimeType":"application/pdf","data":"JVBERi0x"}}]}]}"#,
    ),
    field(
        "inlineData, a film",
        r#"{"contents":[{"role":"user","parts":[{"inlineData":{"mimeType":"video/mp4","data":"AAAA"}}]}]}"#,
    ),
    field(
        "fileData",
        r#"{"contents":[{"role":"user","parts":[{"fileData":{"mimeType":"image/png","fileUri":"https://generativelanguage.googleapis.com/v1beta/files/a"}}]}]}"#,
    ),
    field(
        "functionCall and functionResponse",
        r#"{"contents":[{"role":"user","parts":[{"text":"hi"}]},{"role":"model","parts":[{"functionCall":{"name":"f","args":{}}}]},{"role":"user","parts":[{"functionResponse":{"name":"f","response":{"a":1}}}]}],"tools":[{"functionDeclarations":[{"name":"f"}]}]}"#,
    ),
    field(
        "thought of Gemini's",
        r#"{"contents":[{"role":"user","parts":[{"text":"hi"}]},{"role":"model","parts":[{"text":"t","thought":true,"thoughtSignature":"c2ln"},{"text":"a"}]},{"role":"user","parts":[{"text":"b"}]}]}"#,
    ),
    field(
        "functionDeclarations",
        r#"{"tools":[{"functionDeclarations":[{"name":"f","description":"d","parameters":{"type":"OBJECT","properties":{"a":{"type":"STRING"}}}}]}]}"#,
    ),
    field("googleSearch", r#"{"tools":[{"googleSearch":{}}]}"#),
    field("codeExecution", r#"{"tools":[{"codeExecution":{}}]}"#),
    field(
        "functionCallingConfig: ANY",
        r#"{"tools":[{"functionDeclarations":[{"name":"f"}]}],"toolConfig":{"functionCallingConfig":{"mode":"ANY"}}}"#,
    ),
    field(
        "allowedFunctionNames",
        r#"{"tools":[{"functionDeclarations":[{"name":"f"},{"name":"g"}]}],"toolConfig":{"functionCallingConfig":{"mode":"ANY","allowedFunctionNames":["f"]}}}"#,
    ),
    field("responseMimeType: application/json", r#"{"generationConfig":{"responseMimeType":"application/json"}}"#),
    field(
        "responseJsonSchema",
        r#"{"generationConfig":{"responseMimeType":"application/json","responseJsonSchema":{"type":"object","properties":{"a":{"type":"string"}}}}}"#,
    ),
    field("maxOutputTokens", r#"{"generationConfig":{"maxOutputTokens":77}}"#),
    field("temperature", r#"{"generationConfig":{"temperature":0.5}}"#),
    field("topP", r#"{"generationConfig":{"topP":0.5}}"#),
    field("topK", r#"{"generationConfig":{"topK":5}}"#),
    field("stopSequences", r#"{"generationConfig":{"stopSequences":["END"]}}"#),
    field("candidateCount", r#"{"generationConfig":{"candidateCount":2}}"#),
    field("seed", r#"{"generationConfig":{"seed":7}}"#),
    field("presencePenalty", r#"{"generationConfig":{"presencePenalty":0.5}}"#),
    field("responseLogprobs", r#"{"generationConfig":{"responseLogprobs":true,"logprobs":2}}"#),
    field("responseModalities: IMAGE", r#"{"generationConfig":{"responseModalities":["TEXT","IMAGE"]}}"#),
    field("thinkingBudget", r#"{"generationConfig":{"thinkingConfig":{"thinkingBudget":1024}}}"#),
    field("thinkingLevel", r#"{"generationConfig":{"thinkingConfig":{"thinkingLevel":"LOW"}}}"#),
    field(
        "includeThoughts",
        r#"{"generationConfig":{"thinkingConfig":{"thinkingBudget":1024,"includeThoughts":true}}}"#,
    ),
    field("safetySettings", r#"{"safetySettings":[{"category":"HARM_CATEGORY_HARASSMENT","threshold":"BLOCK_NONE"}]}"#),
    field("cachedContent", r#"{"cachedContent":"cachedContents/a"}"#),
    field("labels", r#"{"labels":{"a":"b"}}"#),
    field("an unknown member", r#"{"xFuture":{"a":1}}"#),
];

const CONVERSE: &[Field] = &[
    field("system", r#"{"system":[{"text":"s"}]}"#),
    field("system[].cachePoint", r#"{"system":[{"text":"s"},{"cachePoint":{"type":"default"}}]}"#),
    field(
        "image, inline",
        r#"{"messages":[{"role":"user","content":[{"image":{"format":"png","source":{"bytes":"AAAA"}}}]}]}"#,
    ),
    field(
        "image.source.s3Location",
        r#"{"messages":[{"role":"user","content":[{"image":{"format":"png","source":{"s3Location":{"uri":"s3://bucket/a.png"}}}}]}]}"#,
    ),
    field(
        "document, inline PDF",
        r#"{"messages":[{"role":"user","content":[{"document":{"format":"pdf","name":"a","source":{"bytes":"JVBERi0x"}}}]}]}"#,
    ),
    field(
        "document, words",
        r#"{"messages":[{"role":"user","content":[{"document":{"format":"txt","name":"a","source":{"text":"w"}}}]}]}"#,
    ),
    field(
        "document.citations",
        r#"{"messages":[{"role":"user","content":[{"document":{"format":"pdf","name":"a","source":{"bytes":"JVBERi0x"},"citations":{"enabled":true}}}]}]}"#,
    ),
    field(
        "video, inline",
        r#"{"messages":[{"role":"user","content":[{"video":{"format":"mp4","source":{"bytes":"AAAA"}}}]}]}"#,
    ),
    field(
        "audio, inline",
        r#"{"messages":[{"role":"user","content":[{"audio":{"format":"wav","source":{"bytes":"AAAA"}}}]}]}"#,
    ),
    field(
        "toolUse and toolResult",
        r#"{"messages":[{"role":"user","content":[{"text":"hi"}]},{"role":"assistant","content":[{"toolUse":{"toolUseId":"t1","name":"f","input":{}}}]},{"role":"user","content":[{"toolResult":{"toolUseId":"t1","content":[{"text":"ok"}]}}]}],"toolConfig":{"tools":[{"toolSpec":{"name":"f","inputSchema":{"json":{"type":"object"}}}}]}}"#,
    ),
    field(
        "toolResult, an image",
        r#"{"messages":[{"role":"user","content":[{"text":"hi"}]},{"role":"assistant","content":[{"toolUse":{"toolUseId":"t1","name":"f","input":{}}}]},{"role":"user","content":[{"toolResult":{"toolUseId":"t1","content":[{"image":{"format":"png","source":{"bytes":"AAAA"}}}]}}]}],"toolConfig":{"tools":[{"toolSpec":{"name":"f","inputSchema":{"json":{"type":"object"}}}}]}}"#,
    ),
    field(
        "reasoningContent of Claude's",
        r#"{"messages":[{"role":"user","content":[{"text":"hi"}]},{"role":"assistant","content":[{"reasoningContent":{"reasoningText":{"text":"t","signature":"c2ln"}}},{"text":"a"}]},{"role":"user","content":[{"text":"b"}]}]}"#,
    ),
    field(
        "guardContent",
        r#"{"messages":[{"role":"user","content":[{"guardContent":{"text":{"text":"g","qualifiers":["query"]}}}]}]}"#,
    ),
    field(
        "searchResult",
        r#"{"messages":[{"role":"user","content":[{"searchResult":{"title":"t","source":"https://a.example","content":[{"text":"w"}]}}]}]}"#,
    ),
    field(
        "cachePoint",
        r#"{"messages":[{"role":"user","content":[{"text":"hi"},{"cachePoint":{"type":"default"}}]}]}"#,
    ),
    field(
        "toolSpec",
        r#"{"toolConfig":{"tools":[{"toolSpec":{"name":"f","inputSchema":{"json":{"type":"object"}}}}]}}"#,
    ),
    field(
        "toolSpec.strict",
        r#"{"toolConfig":{"tools":[{"toolSpec":{"name":"f","strict":true,"inputSchema":{"json":{"type":"object","properties":{},"additionalProperties":false}}}}]}}"#,
    ),
    field("systemTool", r#"{"toolConfig":{"tools":[{"systemTool":{"name":"nova_grounding"}}]}}"#),
    field(
        "toolChoice.any",
        r#"{"toolConfig":{"tools":[{"toolSpec":{"name":"f","inputSchema":{"json":{"type":"object"}}}}],"toolChoice":{"any":{}}}}"#,
    ),
    field(
        "toolChoice.tool",
        r#"{"toolConfig":{"tools":[{"toolSpec":{"name":"f","inputSchema":{"json":{"type":"object"}}}}],"toolChoice":{"tool":{"name":"f"}}}}"#,
    ),
    field(
        "outputConfig.textFormat",
        r#"{"outputConfig":{"textFormat":{"type":"json_schema","structure":{"jsonSchema":{"name":"a","schema":"{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"string\"}},\"required\":[\"a\"],\"additionalProperties\":false}"}}}}}"#,
    ),
    field("outputConfig.effort", r#"{"outputConfig":{"effort":"low"}}"#),
    field("inferenceConfig.maxTokens", r#"{"inferenceConfig":{"maxTokens":77}}"#),
    field("inferenceConfig.temperature", r#"{"inferenceConfig":{"temperature":0.5}}"#),
    field("inferenceConfig.topP", r#"{"inferenceConfig":{"topP":0.5}}"#),
    field("inferenceConfig.stopSequences", r#"{"inferenceConfig":{"stopSequences":["END"]}}"#),
    field("additionalModelRequestFields.top_k", r#"{"additionalModelRequestFields":{"top_k":5}}"#),
    field(
        "additionalModelRequestFields.thinking",
        r#"{"inferenceConfig":{"maxTokens":4096},"additionalModelRequestFields":{"thinking":{"type":"enabled","budget_tokens":1024}}}"#,
    ),
    field("additionalModelRequestFields, unknown", r#"{"additionalModelRequestFields":{"x_future":1}}"#),
    field("additionalModelResponseFieldPaths", r#"{"additionalModelResponseFieldPaths":["/stop_sequence"]}"#),
    field("guardrailConfig", r#"{"guardrailConfig":{"guardrailIdentifier":"g","guardrailVersion":"1"}}"#),
    field("performanceConfig", r#"{"performanceConfig":{"latency":"optimized"}}"#),
    field("promptVariables", r#"{"promptVariables":{"a":{"text":"b"}}}"#),
    field("requestMetadata", r#"{"requestMetadata":{"team":"a"}}"#),
    field("serviceTier", r#"{"serviceTier":{"type":"priority"}}"#),
    field("an unknown member", r#"{"x_future":{"a":1}}"#),
];
