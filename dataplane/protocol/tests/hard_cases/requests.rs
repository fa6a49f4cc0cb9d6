//! Hard cases of requests: what the upstream gets.

use routeapi_protocol::{
    dialect::Operation,
    report::Mode::{self, Default as Normal, Lenient, Strict},
};

use super::run::{
    A, C, G, Request,
    Want::{self, Is, No, Once, Quiet, Refuses, Says, Silent, Then, Warns},
};

const fn row(
    cases: &'static [u16],
    (from, body): (Operation, &'static str),
    (to, model): (Operation, &'static str),
    wants: &'static [Want],
) -> Request {
    Request { cases, from, body, to, model, mode: Normal, wants }
}

const fn in_mode(mode: Mode, row: Request) -> Request {
    Request { mode, ..row }
}

const SONNET: (Operation, &str) = (A, "claude-sonnet-4-5");
const NEXT: (Operation, &str) = (A, "claude-next");
const FLASH: (Operation, &str) = (G, "gemini-2.5-flash");
const THIRD: (Operation, &str) = (G, "gemini-3-pro-preview");
const GPT: (Operation, &str) = (C, "gpt-4.1");
const REASONER: (Operation, &str) = (C, "gpt-5.4");
const OTHER: (Operation, &str) = (C, "qwen3");

const ZEROS: &str = r#"{"model":"m","messages":[{"role":"user","content":"x"}],"temperature":0,"top_p":0.0,"seed":0,"presence_penalty":0}"#;
const NULLS: &str = r#"{"model":"m","messages":[{"role":"user","content":"x"}],"temperature":null,"stop":null,"tools":null,"max_tokens":5}"#;
const PLAIN: &str = r#"{"model":"m","messages":[{"role":"user","content":"x"}]}"#;
const PLAIN_A: &str = r#"{"model":"m","max_tokens":7,"messages":[{"role":"user","content":"x"}]}"#;
const SPELLED: &str = r#"{"model":"m","messages":[{"role":"user","content":"x"}],"temperature":0.1,"top_p":1.0,"presence_penalty":1e-7,"seed":2147483647,"frequency_penalty":0.30000000000000004}"#;
const SPELLED_CALL: &str = r#"{"model":"m","max_tokens":5,"top_p":1e-7,"temperature":1.0,"tools":[{"name":"f","input_schema":{"type":"object","properties":{"n":{"minimum":0.1,"maximum":9007199254740993,"default":1e-7,"x":1.0}}}}],"messages":[{"role":"user","content":"x"},{"role":"assistant","content":[{"type":"tool_use","id":"t","name":"f","input":{"a":0.1,"b":1e-7,"c":1.0,"d":9007199254740993}}]},{"role":"user","content":[{"type":"tool_result","tool_use_id":"t","content":"{\"n\":9007199254740993}"}]}]}"#;
const OFF: &str =
    r#"{"contents":[{"parts":[{"text":"x"}]}],"generationConfig":{"thinkingConfig":{"thinkingBudget":0}}}"#;
const DYNAMIC: &str =
    r#"{"contents":[{"parts":[{"text":"x"}]}],"generationConfig":{"thinkingConfig":{"thinkingBudget":-1}}}"#;
const NO_EFFORT: &str = r#"{"model":"m","messages":[{"role":"user","content":"x"}],"reasoning_effort":"none"}"#;
const PREWARM: &str = r#"{"model":"m","max_tokens":0,"messages":[{"role":"user","content":"x"}]}"#;
const SERIAL: &str = r#"{"model":"m","messages":[{"role":"user","content":"x"}],"parallel_tool_calls":false,"tools":[{"type":"function","function":{"name":"f"}}]}"#;
const NO_ERROR: &str = r#"{"model":"m","max_tokens":5,"tools":[{"name":"f","input_schema":{"minimum":0,"default":false,"maxItems":0}}],"messages":[{"role":"user","content":"x"},{"role":"assistant","content":[{"type":"tool_use","id":"t","name":"f","input":{"n":0,"b":false,"s":""}}]},{"role":"user","content":[{"type":"tool_result","tool_use_id":"t","is_error":false,"content":"fine"},{"type":"text","text":"so?"}]}]}"#;
const NEW_THING: &str =
    r#"{"model":"m","max_tokens":5,"messages":[{"role":"user","content":[{"type":"new_thing","x":0}]}]}"#;
const BILLED: &str = r#"{"model":"m","max_tokens":5,"system":[{"type":"text","text":"x-anthropic-billing-header: a"},{"type":"text","text":"One"},{"type":"text","text":"Two"}],"messages":[{"role":"user","content":"x"}]}"#;
const SNAKE: &str = r#"{"system_instruction":{"parts":[{"text":"s"}]},"contents":[{"role":"user","parts":[{"inline_data":{"mime_type":"image/png","data":"-_8"}},{"text":"x"}]}],"generation_config":{"max_output_tokens":50}}"#;
const VERSIONED: &str =
    r#"{"model":"claude-next","max_tokens":5,"temperature":0.2,"messages":[{"role":"user","content":"x"}]}"#;
const SIGNED: &str = r#"{"model":"m","messages":[{"role":"user","content":"x"},{"role":"assistant","content":null,"tool_calls":[{"id":"a","type":"function","function":{"name":"f","arguments":"{}"},"extra_content":{"google":{"thought_signature":"U2lnbmVk"}}},{"id":"b","type":"function","function":{"name":"g","arguments":"{}"}},{"id":"c","type":"function","function":{"name":"f","arguments":"{}"}}]},{"role":"tool","tool_call_id":"c","content":"3"},{"role":"tool","tool_call_id":"b","content":"2"},{"role":"tool","tool_call_id":"a","content":"{\"r\":{\"$ref\":\"x\"}}"}]}"#;
const UNSIGNED: &str = r#"{"model":"m","messages":[{"role":"user","content":"x"},{"role":"assistant","content":null,"tool_calls":[{"id":"call_1__thought__abc","type":"function","function":{"name":"f","arguments":"{}"}}]},{"role":"tool","tool_call_id":"call_1__thought__abc","content":"1"}]}"#;
const THOUGHT: &str = r#"{"model":"m","messages":[{"role":"user","content":"x"},{"role":"assistant","content":"Yes","reasoning_content":"secret thought"},{"role":"user","content":"y"}]}"#;
const HIDDEN: &str = r#"{"contents":[{"role":"user","parts":[{"text":"x"}]},{"role":"model","parts":[{"text":"secret thought","thought":true},{"text":"Yes"}]},{"role":"user","parts":[{"text":"y"}]}]}"#;
const DUMMY: &str = r#"{"contents":[{"role":"user","parts":[{"text":"x"}]},{"role":"model","parts":[{"text":"hm","thought":true,"thoughtSignature":"skip_thought_signature_validator"},{"functionCall":{"name":"f"},"thoughtSignature":"c2tpcF90aG91Z2h0X3NpZ25hdHVyZV92YWxpZGF0b3I="}]},{"role":"user","parts":[{"functionResponse":{"name":"f","response":{}}}]}]}"#;
const CLAUDES: &str = r#"{"model":"m","max_tokens":5,"messages":[{"role":"user","content":"x"},{"role":"assistant","content":[{"type":"thinking","thinking":"secret thought","signature":"Q2xhdWRl"},{"type":"tool_use","id":"t","name":"f","input":"text"}]},{"role":"user","content":[{"type":"tool_result","tool_use_id":"t","content":[{"type":"text","text":"Seen"},{"type":"image","source":{"type":"base64","media_type":"image/png","data":"iVBORw0KGgo="}}]},{"type":"text","text":"and?"}]}]}"#;
const TYPELESS: &str = r#"{"model":"m","max_tokens":5,"tools":[{"name":"f"},{"type":"custom","name":"g","input_schema":{"properties":{}}}],"messages":[{"role":"user","content":"x"}]}"#;
const SEARCH: &str = r#"{"model":"m","max_tokens":5,"tools":[{"type":"web_search_20250305","name":"web_search"},{"name":"f","input_schema":{"type":"object"}}],"messages":[{"role":"user","content":"x"}]}"#;
const TWICE: &str = r#"{"model":"m","messages":[{"role":"user","content":"x"}],"tools":[{"type":"function","function":{"name":"f","strict":true,"parameters":{"type":"object","properties":{"a":{}},"required":["a","a"],"additionalProperties":false}}}]}"#;
const ORPHAN_CHOICE: &str = r#"{"model":"m","messages":[{"role":"user","content":"x"}],"tool_choice":"auto"}"#;
const ADAPTIVE: &str = r#"{"model":"m","max_tokens":9000,"thinking":{"type":"adaptive"},"output_config":{"effort":"high"},"tools":[{"name":"f","input_schema":{"type":"object"}}],"messages":[{"role":"user","content":"x"}]}"#;
const BOTH_LIMITS: &str = r#"{"model":"m","messages":[{"role":"user","content":"x"}],"max_tokens":10,"max_completion_tokens":20,"stop":"END","temperature":1.7}"#;
const XHIGH: &str = r#"{"model":"m","messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":"data:image/png;base64,iVBORw0KGgo=","detail":"low"}}]}],"reasoning_effort":"xhigh"}"#;
const TWO: &str = r#"{"model":"m","messages":[{"role":"user","content":"x"}],"n":2}"#;
const LATER: &str = r#"{"model":"m","messages":[{"role":"assistant","content":"first"},{"role":"user","content":"one"},{"role":"system","content":"operator"},{"role":"user","content":"two"}]}"#;
const SYSTEM_ONLY: &str = r#"{"model":"m","messages":[{"role":"system","content":"Write."}]}"#;
const MARKED_RESULT: &str = r#"{"model":"m","messages":[{"role":"user","content":"x"},{"role":"assistant","content":null,"tool_calls":[{"id":"a","type":"function","function":{"name":"f","arguments":"{}"}}]},{"role":"tool","tool_call_id":"a","content":"1","cache_control":{"type":"ephemeral"}}]}"#;
const THREAD: &str =
    r#"{"model":"m","max_tokens":5,"thread":{"type":"create"},"messages":[{"role":"user","content":"x"}]}"#;
const TUPLE: &str = r#"{"model":"m","messages":[{"role":"user","content":"x"}],"tools":[{"type":"function","function":{"name":"f","parameters":{"$schema":"s","type":"object","properties":{"const":{"const":1},"t":{"type":["string","null"]}},"additionalProperties":false}}}]}"#;
const BEGUN: &str = r#"{"model":"m","messages":[{"role":"user","content":"x"},{"role":"assistant","content":"{"}]}"#;

const REPLAYED: &str = r#"{"model":"m","messages":[{"role":"user","content":"x"},{"role":"assistant","content":"Yes","refusal":null,"annotations":[],"audio":null,"function_call":null,"tool_calls":null},{"role":"user","content":"y"}]}"#;
const REPLAYED_SOURCES: &str = r#"{"model":"m","messages":[{"role":"user","content":"x"},{"role":"assistant","content":"Yes","annotations":[{"type":"url_citation"}]},{"role":"user","content":"y"}]}"#;

pub const ROWS: &[Request] = &[
    row(&[1], (C, ZEROS), NEXT, &[Says(r#""temperature":0,"top_p":0.0"#)]),
    row(&[1, 3], (C, ZEROS), FLASH, &[Says(r#""temperature":0,"topP":0.0,"seed":0,"presencePenalty":0"#), Quiet]),
    row(&[1], (C, ZEROS), GPT, &[Says(r#""temperature":0"#)]),
    row(
        &[2],
        (A, r#"{"model":"m","max_tokens":5,"top_p":0.0,"messages":[{"role":"user","content":"x"}]}"#),
        GPT,
        &[Says(r#""top_p":0.0"#)],
    ),
    row(&[4], (C, PLAIN), FLASH, &[No("/generationConfig"), No("/tools"), No("/toolConfig"), Quiet]),
    row(
        &[4],
        (A, PLAIN_A),
        GPT,
        &[Is("", r#"{"model":"gpt-4.1","messages":[{"role":"user","content":"x"}],"max_tokens":7}"#)],
    ),
    row(&[5], (C, NULLS), SONNET, &[Silent("null"), No("/temperature"), No("/tools"), Quiet]),
    row(&[5], (C, NULLS), FLASH, &[Silent("null"), Quiet]),
    row(&[6], (G, OFF), REASONER, &[Is("/reasoning_effort", "\"none\""), Quiet]),
    row(&[6], (G, OFF), OTHER, &[Is("/reasoning_effort", "\"none\""), Quiet]),
    in_mode(Strict, row(&[6], (G, OFF), GPT, &[No("/reasoning_effort"), Quiet])),
    row(&[6], (G, OFF), SONNET, &[No("/thinking"), No("/output_config")]),
    row(&[6], (G, OFF), (A, "claude-opus-5"), &[Is("/thinking/type", "\"disabled\"")]),
    row(
        &[7],
        (C, NO_EFFORT),
        (G, "gemini-2.5-pro"),
        &[
            Is("/generationConfig/thinkingConfig/thinkingBudget", "128"),
            Warns("field=reasoning_effort;from=none;to=128"),
        ],
    ),
    row(&[7], (G, OFF), (G, "gemini-2.5-pro"), &[Says(r#""thinkingBudget":0"#), Quiet]),
    row(&[8], (G, DYNAMIC), REASONER, &[No("/reasoning_effort")]),
    row(&[8], (G, DYNAMIC), (A, "claude-opus-4-6"), &[Is("/thinking", r#"{"type":"adaptive"}"#), No("/output_config")]),
    row(&[9], (A, PREWARM), NEXT, &[Says(r#""max_tokens":0"#), Quiet]),
    row(&[9], (A, PREWARM), GPT, &[Refuses("max_tokens")]),
    row(&[9], (A, PREWARM), FLASH, &[Refuses("max_tokens")]),
    row(&[10], (C, SERIAL), NEXT, &[Is("/tool_choice", r#"{"type":"auto","disable_parallel_tool_use":true}"#)]),
    row(
        &[13, 14],
        (A, NO_ERROR),
        GPT,
        &[
            Silent("[tool error]"),
            Says(r#""minimum":0,"default":false,"maxItems":0"#),
            Says(r#"{\"n\":0,\"b\":false,\"s\":\"\"}"#),
        ],
    ),
    row(
        &[13, 14],
        (A, NO_ERROR),
        FLASH,
        &[
            Is("/contents/2/parts/0/functionResponse/response", r#"{"output":"fine"}"#),
            Says(r#""args":{"n":0,"b":false,"s":""}"#),
            Says(r#""minimum":0,"default":false,"maxItems":0"#),
        ],
    ),
    row(
        &[18],
        (C, SPELLED),
        (G, "gemini-2.0-flash"),
        &[Says(
            r#""temperature":0.1,"topP":1.0,"seed":2147483647,"presencePenalty":1e-7,"frequencyPenalty":0.30000000000000004"#,
        )],
    ),
    row(
        &[18],
        (A, SPELLED_CALL),
        GPT,
        &[
            Says(r#""temperature":1.0,"top_p":1e-7"#),
            Says(r#"{"minimum":0.1,"maximum":9007199254740993,"default":1e-7,"x":1.0}"#),
            Says(r#"{\"a\":0.1,\"b\":1e-7,\"c\":1.0,\"d\":9007199254740993}"#),
        ],
    ),
    row(
        &[18],
        (A, SPELLED_CALL),
        FLASH,
        &[Says(r#"{"a":0.1,"b":1e-7,"c":1.0,"d":9007199254740993}"#), Says(r#""response":{"n":9007199254740993}"#)],
    ),
    row(
        &[18],
        (A, SPELLED_CALL),
        (G, "gemini-1.5-pro"),
        &[Says(r#""minimum":0.1,"#), Says("9007199254740993"), Says(r#""default":1e-7"#)],
    ),
    row(&[23], (A, NEW_THING), NEXT, &[Says(r#"{"type":"new_thing","x":0}"#), Quiet]),
    row(&[23], (A, NEW_THING), GPT, &[Refuses("messages[].content[]")]),
    row(&[34], (A, BILLED), NEXT, &[Is("/system/0/text", "\"x-anthropic-billing-header: a\"")]),
    row(
        &[35, 41],
        (A, BILLED),
        GPT,
        &[Silent("billing"), Is("/messages/0", r#"{"role":"system","content":"One\n\nTwo"}"#)],
    ),
    row(
        &[35, 41],
        (A, BILLED),
        FLASH,
        &[Silent("billing"), Is("/systemInstruction/parts", r#"[{"text":"One"},{"text":"Two"}]"#)],
    ),
    row(
        &[65, 66],
        (G, SNAKE),
        NEXT,
        &[Is("/system/0/text", "\"s\""), Is("/messages/0/content/0/source/data", "\"+/8=\""), Is("/max_tokens", "50")],
    ),
    row(&[66], (G, SNAKE), GPT, &[Is("/messages/1/content/0/image_url/url", "\"data:image/png;base64,+/8=\"")]),
    row(&[142, 275], (A, VERSIONED), (A, "claude-next"), &[Is("", VERSIONED), Quiet]),
    row(&[142], (A, VERSIONED), GPT, &[Is("/temperature", "0.2")]),
    row(
        &[143, 144, 146, 193, 194],
        (C, SIGNED),
        THIRD,
        &[
            Is("/contents/1/parts/0/thoughtSignature", "\"U2lnbmVk\""),
            No("/contents/1/parts/0/functionCall/thoughtSignature"),
            No("/contents/1/parts/1/thoughtSignature"),
            Is("/contents/1/parts/1/functionCall/name", "\"g\""),
            No("/contents/1/parts/3"),
            Once("thoughtSignature"),
        ],
    ),
    row(
        &[167, 277],
        (C, SIGNED),
        FLASH,
        &[
            Is("/contents/2/parts/0/functionResponse/name", "\"f\""),
            Is("/contents/2/parts/1/functionResponse/response/output", "\"2\""),
            Is("/contents/2/parts/2/functionResponse/response/output", "\"3\""),
            No("/contents/2/parts/3"),
            No("/contents/3"),
        ],
    ),
    row(
        &[176],
        (C, SIGNED),
        FLASH,
        &[Is("/contents/2/parts/0/functionResponse/response", r#"{"output":"{\"r\":{\"$ref\":\"x\"}}"}"#)],
    ),
    row(
        &[148],
        (C, UNSIGNED),
        THIRD,
        &[
            Is("/contents/1/parts/0/thoughtSignature", "\"c2tpcF90aG91Z2h0X3NpZ25hdHVyZV92YWxpZGF0b3I=\""),
            Warns("skip_thought_signature_validator"),
        ],
    ),
    row(&[148], (C, UNSIGNED), FLASH, &[Silent("thoughtSignature"), Quiet]),
    row(
        &[150],
        (C, UNSIGNED),
        NEXT,
        &[
            Silent("__thought__"),
            Is("/messages/1/content/0/id", "\"call_1\""),
            Is("/messages/2/content/0/tool_use_id", "\"call_1\""),
        ],
    ),
    row(
        &[150],
        (C, UNSIGNED),
        THIRD,
        &[Silent("__thought__"), Is("/contents/2/parts/0/functionResponse/id", "\"call_1\"")],
    ),
    row(&[152], (C, THOUGHT), THIRD, &[Silent("secret"), Warns("dropped;field=messages[].reasoning")]),
    row(&[162], (G, HIDDEN), NEXT, &[Silent("secret"), Warns("dropped")]),
    row(&[162], (G, HIDDEN), GPT, &[Silent("secret"), Warns("dropped")]),
    row(&[265], (G, DUMMY), NEXT, &[Silent("skip_thought"), Silent("c2tpcF9"), Silent("thinking"), Warns("dropped")]),
    row(&[266], (A, CLAUDES), THIRD, &[Silent("Q2xhdWRl"), Silent("secret"), Warns("dropped")]),
    row(&[175], (A, CLAUDES), FLASH, &[Is("/contents/1/parts/0/functionCall/args", r#"{"_raw":"text"}"#)]),
    row(
        &[165, 177],
        (A, CLAUDES),
        GPT,
        &[
            Is("/messages/2", r#"{"role":"tool","tool_call_id":"t","content":"Seen"}"#),
            Is("/messages/3/content/1/image_url/url", "\"data:image/png;base64,iVBORw0KGgo=\""),
            Is("/messages/4", r#"{"role":"user","content":"and?"}"#),
        ],
    ),
    row(
        &[169, 170, 171],
        (A, TYPELESS),
        GPT,
        &[
            Is("/tools/0/function/name", "\"f\""),
            Is("/tools/1/type", "\"function\""),
            Is("/tools/1/function/parameters", r#"{"type":"object","properties":{}}"#),
        ],
    ),
    row(&[170], (A, TYPELESS), FLASH, &[Is("/tools/0/functionDeclarations/0", r#"{"name":"f"}"#)]),
    row(&[170], (C, SERIAL), NEXT, &[Is("/tools/0/input_schema", r#"{"type":"object","properties":{}}"#)]),
    row(&[172], (A, SEARCH), GPT, &[Refuses("tools[]")]),
    in_mode(
        Lenient,
        row(
            &[172],
            (A, SEARCH),
            GPT,
            &[Is("/tools/0/function/name", "\"f\""), No("/tools/1"), Warns("dropped;field=tools[]")],
        ),
    ),
    row(&[188], (A, SEARCH), FLASH, &[Refuses("tools[]")]),
    in_mode(
        Lenient,
        row(
            &[188],
            (A, SEARCH),
            FLASH,
            &[Is("/tools/0/functionDeclarations/0/name", "\"f\""), No("/tools/1"), Warns("dropped;field=tools[]")],
        ),
    ),
    row(&[181, 183, 184], (C, TUPLE), FLASH, &[Says(r#""parametersJsonSchema":{"$schema":"s""#)]),
    row(
        &[181, 183, 184],
        (C, TUPLE),
        (G, "gemini-1.5-pro"),
        &[
            Silent("$schema"),
            Silent("additionalProperties"),
            Is("/tools/0/functionDeclarations/0/parameters/properties/t", r#"{"nullable":true,"type":"string"}"#),
            Says(r#""const":{"#),
        ],
    ),
    row(&[186], (C, TWICE), NEXT, &[Is("/tools/0/input_schema/required", r#"["a"]"#)]),
    row(&[189], (C, ORPHAN_CHOICE), NEXT, &[No("/tool_choice"), No("/tools")]),
    row(&[189], (C, ORPHAN_CHOICE), FLASH, &[No("/toolConfig"), No("/tools")]),
    row(&[196], (A, ADAPTIVE), REASONER, &[Is("/reasoning_effort", "\"none\""), Warns("to=none")]),
    row(&[197], (A, ADAPTIVE), OTHER, &[Is("/reasoning_effort", "\"high\""), Quiet]),
    row(&[197], (A, ADAPTIVE), GPT, &[No("/reasoning_effort"), Warns("dropped")]),
    row(
        &[198, 206, 207],
        (C, BOTH_LIMITS),
        SONNET,
        &[
            Is("/max_tokens", "20"),
            Is("/stop_sequences", r#"["END"]"#),
            Is("/temperature", "1"),
            Warns("adapted;field=temperature"),
        ],
    ),
    row(
        &[198, 207],
        (C, BOTH_LIMITS),
        FLASH,
        &[Is("/generationConfig/maxOutputTokens", "20"), Is("/generationConfig/stopSequences", r#"["END"]"#)],
    ),
    row(&[198], (A, PLAIN_A), REASONER, &[Is("/max_completion_tokens", "7"), No("/max_tokens")]),
    row(&[199], (C, PLAIN), SONNET, &[Is("/max_tokens", "64000")]),
    row(
        &[203, 210],
        (C, XHIGH),
        FLASH,
        &[
            Is("/generationConfig/thinkingConfig", r#"{"thinkingBudget":24576}"#),
            Silent("mediaResolution"),
            Warns("detail"),
        ],
    ),
    row(&[209], (C, TWO), NEXT, &[Refuses("n")]),
    row(&[209, 74], (C, TWO), FLASH, &[Is("/generationConfig/candidateCount", "2")]),
    row(
        &[212],
        (C, LATER),
        NEXT,
        &[No("/system"), Then(&["first", "one", "operator", "two"]), Warns("adapted;field=messages[].role")],
    ),
    row(
        &[212, 215],
        (C, LATER),
        FLASH,
        &[
            No("/systemInstruction"),
            Is("/contents/0/role", "\"user\""),
            Is("/contents/1/role", "\"model\""),
            Then(&["first", "one", "operator", "two"]),
        ],
    ),
    row(&[213], (C, SYSTEM_ONLY), NEXT, &[Is("/messages/0/role", "\"user\""), Warns("adapted")]),
    row(
        &[213],
        (C, SYSTEM_ONLY),
        FLASH,
        &[Is("/contents/0/role", "\"user\""), Is("/systemInstruction/parts/0/text", "\"Write.\""), Warns("adapted")],
    ),
    row(&[216], (C, BEGUN), SONNET, &[Is("/messages/1/role", "\"assistant\"")]),
    row(&[216], (C, BEGUN), (A, "claude-opus-4-7"), &[Refuses("messages")]),
    row(&[229], (C, MARKED_RESULT), NEXT, &[Is("/messages/2/content/0/cache_control/type", "\"ephemeral\"")]),
    in_mode(Strict, row(&[5], (C, REPLAYED), NEXT, &[Is("/messages/1/content/0/text", "\"Yes\""), Quiet])),
    in_mode(Strict, row(&[5], (C, REPLAYED), FLASH, &[Quiet])),
    row(&[238], (C, REPLAYED_SOURCES), FLASH, &[Warns("dropped;field=messages[].annotations")]),
    row(&[280], (A, THREAD), GPT, &[Refuses("thread")]),
];
