//! Requests: the neighbours of what was reported. The same kinds of fault in other fields, dialects and directions, and
//! what users of other gateways met.

use routeapi_protocol::{dialect::Operation, report::Mode};

use super::run::{
    A, C, G, Request,
    Want::{self, Is, No, Once, Quiet, Refuses, Says, Silent, Warns},
};

const fn row(
    (from, body): (Operation, &'static str),
    (to, model): (Operation, &'static str),
    wants: &'static [Want],
) -> Request {
    Request { cases: &[], from, body, to, model, mode: Mode::Default, wants }
}

const SONNET: (Operation, &str) = (A, "claude-sonnet-4-5");
const OPUS: (Operation, &str) = (A, "claude-opus-4-7");
const FLASH: (Operation, &str) = (G, "gemini-2.5-flash");
const OLDER: (Operation, &str) = (G, "gemini-1.5-pro");
const GPT: (Operation, &str) = (C, "gpt-4.1");

const HARD_IN_8000: &str = r#"{"model":"m","messages":[{"role":"user","content":"x"}],"reasoning_effort":"high","max_completion_tokens":8000}"#;
const HARD_IN_600: &str =
    r#"{"model":"m","messages":[{"role":"user","content":"x"}],"reasoning_effort":"high","max_completion_tokens":600}"#;
const BUDGET_IN_8000: &str = r#"{"model":"m","max_tokens":8000,"messages":[{"role":"user","content":"x"}],"thinking":{"type":"enabled","budget_tokens":7000}}"#;
const LITTLE: &str =
    r#"{"contents":[{"parts":[{"text":"x"}]}],"generationConfig":{"thinkingConfig":{"thinkingBudget":600}}}"#;
const MINIMAL: &str = r#"{"model":"m","messages":[{"role":"user","content":"x"}],"reasoning_effort":"minimal"}"#;
const LONG_NAME: &str = r#"{"model":"m","messages":[{"role":"user","content":"x"}],"user":"uuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuu"}"#;
const PENALISED: &str = r#"{"model":"m","messages":[{"role":"user","content":"x"}],"presence_penalty":0.5,"frequency_penalty":0.0,"seed":9007199254740993}"#;

const PICTURE_AS_URL: &str = r#"{"model":"m","max_tokens":9,"messages":[{"role":"user","content":[{"type":"image","source":{"type":"base64","media_type":"image/png","data":"data:image/png;base64,AAE="}}]}]}"#;
const PICTURE_AS_URL_G: &str =
    r#"{"contents":[{"parts":[{"inlineData":{"mimeType":"image/png","data":"data:image/png;base64,AAE="}}]}]}"#;
const SOUND_AS_URL: &str = r#"{"model":"m","messages":[{"role":"user","content":[{"type":"input_audio","input_audio":{"format":"wav","data":"data:audio/wav;base64,AAE="}}]}]}"#;
const BLOCKS_OF_A_DOCUMENT: &str = r#"{"model":"m","max_tokens":9,"messages":[{"role":"user","content":[{"type":"document","title":"plan","source":{"type":"content","content":[{"type":"text","text":"alpha"},{"type":"image","source":{"type":"base64","media_type":"image/png","data":"AAE="}}]}},{"type":"text","text":"so?"}]}]}"#;
const DOCUMENT_IN_A_RESULT: &str = r#"{"model":"m","max_tokens":9,"messages":[{"role":"user","content":"x"},{"role":"assistant","content":[{"type":"tool_use","id":"t1","name":"f","input":{}}]},{"role":"user","content":[{"type":"tool_result","tool_use_id":"t1","content":[{"type":"text","text":"found:"},{"type":"document","title":"log","source":{"type":"text","media_type":"text/plain","data":"words of it"}}]}]}]}"#;
const MARKDOWN: &str = r#"{"model":"m","messages":[{"role":"user","content":[{"type":"file","file":{"filename":"n.md","file_data":"data:text/markdown;base64,SGVsbG8="}}]}]}"#;

const UPLOADED_BEFORE: &str = r#"{"model":"m","max_tokens":9,"messages":[{"role":"user","content":[{"type":"container_upload","file_id":"file_2"},{"type":"text","text":"use it"}]},{"role":"assistant","content":"done"},{"role":"user","content":"and now?"}]}"#;
const UPLOADED_NOW: &str = r#"{"model":"m","max_tokens":9,"messages":[{"role":"user","content":"x"},{"role":"assistant","content":"y"},{"role":"user","content":[{"type":"container_upload","file_id":"file_2"},{"type":"text","text":"use it"}]}]}"#;
const ODD_PART_BEFORE: &str = r#"{"model":"m","messages":[{"role":"user","content":[{"type":"location","city":"Brest"},{"type":"text","text":"x"}]},{"role":"assistant","content":"y"},{"role":"user","content":"z"}]}"#;
const RAN_BY_CLAUDE: &str = r#"{"model":"m","max_tokens":9,"messages":[{"role":"user","content":"x"},{"role":"assistant","content":[{"type":"server_tool_use","id":"s1","name":"bash_code_execution","input":{"command":"ls"}},{"type":"bash_code_execution_tool_result","tool_use_id":"s1","content":{"type":"bash_code_execution_result","stdout":"a.txt","return_code":0}},{"type":"mcp_tool_use","id":"m1","name":"q","server_name":"s","input":{}},{"type":"mcp_tool_result","tool_use_id":"m1","content":[{"type":"text","text":"rows"}]},{"type":"compaction","content":"what was before"},{"type":"redacted_thinking","data":"SECRETEo"},{"type":"text","text":"ok"}]},{"role":"user","content":"z"}]}"#;
const RAN_BY_GOOGLE: &str = r#"{"contents":[{"role":"user","parts":[{"text":"x"}]},{"role":"model","parts":[{"toolCall":{"id":"1","toolType":"GOOGLE_SEARCH_WEB","args":{"queries":["tides"]}}},{"toolResponse":{"id":"1","toolType":"GOOGLE_SEARCH_WEB","response":{"r":"high"}}},{"text":"y"}]},{"role":"user","parts":[{"text":"z"}]}]}"#;

const CHOICE_OF_NOTHING: &str = r#"{"model":"m","messages":[{"role":"user","content":"x"}],"tools":[],"tool_choice":{"type":"function","function":{"name":"f"}}}"#;
const CHOICE_OF_NOTHING_A: &str =
    r#"{"model":"m","max_tokens":9,"messages":[{"role":"user","content":"x"}],"tool_choice":{"type":"any"}}"#;
const CHOICE_OF_NOTHING_G: &str =
    r#"{"contents":[{"parts":[{"text":"x"}]}],"toolConfig":{"functionCallingConfig":{"mode":"ANY"}}}"#;

const DRAWN: &str = r#"{"model":"m","messages":[{"role":"user","content":"draw"},{"role":"assistant","content":"here","images":[{"type":"image_url","image_url":{"url":"data:image/png;base64,AAE="}}]},{"role":"user","content":"bluer"}]}"#;
const DRAWN_G: &str = r#"{"contents":[{"role":"user","parts":[{"text":"draw"}]},{"role":"model","parts":[{"text":"here"},{"inlineData":{"mimeType":"image/png","data":"AAE="}}]},{"role":"user","parts":[{"text":"bluer"}]}]}"#;
const DRAWN_A: &str = r#"{"model":"m","max_tokens":9,"messages":[{"role":"user","content":"draw"},{"role":"assistant","content":[{"type":"image","source":{"type":"base64","media_type":"image/png","data":"AAE="}},{"type":"text","text":"here"}]},{"role":"user","content":"bluer"}]}"#;
const DRAWN_SIGNED: &str = r#"{"contents":[{"role":"user","parts":[{"text":"draw"}]},{"role":"model","parts":[{"inlineData":{"mimeType":"image/png","data":"AAE="},"thoughtSignature":"U2lnbmVk"}]},{"role":"user","parts":[{"text":"bluer"}]}]}"#;

const ALTERNATIVES: &str = r#"{"model":"m","messages":[{"role":"user","content":"x"}],"tools":[{"type":"function","function":{"name":"f","parameters":{"anyOf":[{"type":"object","properties":{"a":{}},"required":["a"]},{"type":"object","properties":{"b":{}}}]}}}]}"#;
const REFERRED: &str = r##"{"model":"m","messages":[{"role":"user","content":"x"}],"tools":[{"type":"function","function":{"name":"f","parameters":{"$ref":"#/$defs/A","$defs":{"A":{"type":"object","properties":{"a":{"type":"string"}}}}}}}]}"##;
const LIST: &str = r#"{"model":"m","messages":[{"role":"user","content":"x"}],"tools":[{"type":"function","function":{"name":"f","parameters":{"type":"array","items":{}}}}]}"#;
const NULLS_IN_SCHEMA: &str = r#"{"model":"m","max_tokens":9,"messages":[{"role":"user","content":"x"}],"tools":[{"name":"f","input_schema":{"type":"object","properties":{"n":{"type":"number","minimum":0,"exclusiveMinimum":true,"description":null},"pair":{"type":"array","items":[{"type":"string"},{"type":"string"}]}},"required":null}}]}"#;
const NULLS_IN_SCHEMA_C: &str = r#"{"model":"m","messages":[{"role":"user","content":"x"}],"tools":[{"type":"function","function":{"name":"f","parameters":{"type":"OBJECT","properties":{"n":{"type":"STRING","enum":null}},"required":null}}}]}"#;

const CALLED: &str = r#"{"model":"m","max_tokens":4000,"messages":[{"role":"user","content":"x"},{"role":"assistant","content":[{"type":"text","text":"let me look"},{"type":"tool_use","id":"toolu_01AbC","name":"f","input":{}}]},{"role":"user","content":[{"type":"tool_result","tool_use_id":"toolu_01AbC","content":"1"}]}],"thinking":{"type":"enabled","budget_tokens":2000}}"#;
const CALLED_WITHOUT_THINKING: &str = r#"{"model":"m","max_tokens":4000,"messages":[{"role":"user","content":"x"},{"role":"assistant","content":"y"},{"role":"user","content":"z"}],"thinking":{"type":"disabled"}}"#;
const THOUGHT_BY_CHAT: &str = r#"{"contents":[{"role":"user","parts":[{"text":"x"}]},{"role":"model","parts":[{"text":"I need it","thought":true,"thoughtSignature":"Z3cxLm9wZW5haS50aG91Z2h0Lg=="},{"functionCall":{"id":"a","name":"f","args":{}}}]},{"role":"user","parts":[{"functionResponse":{"id":"a","name":"f","response":{"output":"1"}}}]}]}"#;
const REASONED_IN_TEXT: &str = r#"{"model":"m","messages":[{"role":"user","content":"x"},{"role":"assistant","content":"y","reasoning_content":"hm"},{"role":"user","content":"z"}]}"#;

const NO_EFFORT: &str = r#"{"model":"m","messages":[{"role":"user","content":"x"}],"reasoning_effort":"none"}"#;
const FORCED: &str = r#"{"model":"m","messages":[{"role":"user","content":"x"}],"tools":[{"type":"function","function":{"name":"f"}}],"tool_choice":{"type":"function","function":{"name":"f"}}}"#;

/// What Claude Code writes beside a tool and beside its messages.
const CLAUDE_CODE: &str = r#"{"model":"m","max_tokens":32000,"system":[{"type":"text","text":"x-anthropic-billing-header: a"},{"type":"text","text":"You are","cache_control":{"type":"ephemeral","scope":"global"}}],"messages":[{"role":"user","content":[{"type":"text","text":"x","cache_control":{"type":"ephemeral"}}]}],"tools":[{"name":"f","input_schema":{"type":"object"},"defer_loading":true,"input_examples":[{"a":1}],"eager_input_streaming":true}],"context_management":{"edits":[{"type":"clear_tool_uses_20250919"}]},"metadata":{"user_id":"u"},"thinking":{"type":"adaptive","display":"summarized"},"output_config":{"effort":"high"}}"#;

pub const ROWS: &[Request] = &[
    // Thinking leaves room for an answer, where thoughts are a part of the output limit as well.
    row(
        (C, HARD_IN_8000),
        FLASH,
        &[
            Is("/generationConfig/thinkingConfig/thinkingBudget", "6000"),
            Is("/generationConfig/maxOutputTokens", "8000"),
            Warns("field=reasoning_effort;from=high;to=6000"),
        ],
    ),
    row((C, HARD_IN_600), FLASH, &[Is("/generationConfig/thinkingConfig/thinkingBudget", "450")]),
    row((C, HARD_IN_600), (G, "gemini-2.5-pro"), &[Is("/generationConfig/thinkingConfig/thinkingBudget", "450")]),
    row((A, BUDGET_IN_8000), FLASH, &[Is("/generationConfig/thinkingConfig/thinkingBudget", "7000"), Quiet]),
    // A small wish stays one, and the warning says what was sent.
    row(
        (G, LITTLE),
        OPUS,
        &[
            Is("/output_config/effort", "\"low\""),
            Warns("field=generationConfig.thinkingConfig.thinkingBudget;from=600;to=low"),
        ],
    ),
    row((G, LITTLE), SONNET, &[Is("/thinking/budget_tokens", "1024")]),
    row((C, MINIMAL), (G, "gemini-3-pro-preview"), &[Is("/generationConfig/thinkingConfig/thinkingLevel", "\"LOW\"")]),
    row((C, MINIMAL), SONNET, &[Is("/thinking/budget_tokens", "1024")]),
    // Anthropic's id of a user has a length of its own.
    row((C, LONG_NAME), SONNET, &[Silent("uuuu"), Warns("field=user")]),
    // Penalties are refused since Gemini 2.5, but for zero; seeds have 32 bits.
    row(
        (C, PENALISED),
        FLASH,
        &[Silent("presencePenalty"), Says("\"frequencyPenalty\":0.0"), Warns("presence_penalty"), Warns("seed")],
    ),
    row((C, PENALISED), (G, "gemini-2.0-flash"), &[Says("\"presencePenalty\":0.5")]),
    // A data URL where base64 is due.
    row((A, PICTURE_AS_URL), GPT, &[Says("\"url\":\"data:image/png;base64,AAE=\"")]),
    row((A, PICTURE_AS_URL), FLASH, &[Says("\"data\":\"AAE=\"")]),
    row((G, PICTURE_AS_URL_G), SONNET, &[Says("\"data\":\"AAE=\"")]),
    row((C, SOUND_AS_URL), FLASH, &[Says("\"data\":\"AAE=\"")]),
    // Documents of text, wherever they stand.
    row((A, BLOCKS_OF_A_DOCUMENT), GPT, &[Says("plan:\\nalpha"), Says("\"image_url\""), Says("so?"), Quiet]),
    row((A, BLOCKS_OF_A_DOCUMENT), FLASH, &[Says("\"mimeType\":\"image/png\""), Says("so?")]),
    row(
        (A, DOCUMENT_IN_A_RESULT),
        GPT,
        &[Is("/messages/2/content", "\"found:\\nlog:\\nwords of it\""), No("/messages/3")],
    ),
    row(
        (C, MARKDOWN),
        SONNET,
        &[Is("/messages/0/content/0/source", r#"{"type":"text","media_type":"text/plain","data":"Hello"}"#)],
    ),
    // Blocks that one vendor alone has: told where the model has answered them, refused in the question.
    row((A, UPLOADED_BEFORE), GPT, &[Says("[container_upload: "), Warns("container_upload;to=text")]),
    row((A, UPLOADED_BEFORE), FLASH, &[Says("[container_upload: "), Warns("container_upload;to=text")]),
    row((A, UPLOADED_NOW), GPT, &[Refuses("messages[].content[]")]),
    row((A, UPLOADED_NOW), FLASH, &[Refuses("messages[].content[]")]),
    row((C, ODD_PART_BEFORE), SONNET, &[Says("[location: "), Says("Brest"), Warns("location;to=text")]),
    row(
        (A, RAN_BY_CLAUDE),
        GPT,
        &[Says("a.txt"), Says("rows"), Says("what was before"), Silent("SECRET"), Warns("mcp_tool_result;to=text")],
    ),
    row((A, RAN_BY_CLAUDE), FLASH, &[Says("a.txt"), Says("rows"), Says("what was before"), Silent("SECRET")]),
    row((G, RAN_BY_GOOGLE), GPT, &[Says("tides"), Says("high"), Warns("toolResponse;to=text")]),
    row((G, RAN_BY_GOOGLE), SONNET, &[Says("tides"), Says("high")]),
    // A choice among nothing.
    row((C, CHOICE_OF_NOTHING), SONNET, &[No("/tool_choice"), No("/tools"), Warns("field=tool_choice")]),
    row((C, CHOICE_OF_NOTHING), FLASH, &[No("/toolConfig"), No("/tools"), Warns("field=tool_choice")]),
    row((A, CHOICE_OF_NOTHING_A), GPT, &[No("/tool_choice"), Warns("field=tool_choice")]),
    row((A, CHOICE_OF_NOTHING_A), FLASH, &[No("/toolConfig"), Warns("field=tool_choice")]),
    row((G, CHOICE_OF_NOTHING_G), GPT, &[No("/tool_choice"), Warns("field=toolConfig.functionCallingConfig")]),
    row((G, CHOICE_OF_NOTHING_G), SONNET, &[No("/tool_choice"), Warns("field=toolConfig.functionCallingConfig")]),
    // Pictures that the model gave.
    row((C, DRAWN), SONNET, &[Says("[image left out"), Warns("field=messages[].content[];from=image;to=text")]),
    row((G, DRAWN_G), SONNET, &[Says("[image left out"), Warns("from=image;to=text")]),
    row((G, DRAWN_G), GPT, &[Says("[image left out"), Warns("from=image;to=text")]),
    row((A, DRAWN_A), GPT, &[Says("[image left out"), Says("here")]),
    row((A, DRAWN_A), FLASH, &[Is("/contents/1/parts/0/inlineData/data", "\"AAE=\""), Silent("Signature")]),
    row((C, DRAWN), FLASH, &[Is("/contents/1/parts/1/inlineData/data", "\"AAE=\""), Silent("Signature"), Quiet]),
    row(
        (C, DRAWN),
        (G, "gemini-3-pro-image-preview"),
        &[
            Is("/contents/1/parts/0/thoughtSignature", "\"c2tpcF90aG91Z2h0X3NpZ25hdHVyZV92YWxpZGF0b3I=\""),
            Is("/contents/1/parts/1/thoughtSignature", "\"c2tpcF90aG91Z2h0X3NpZ25hdHVyZV92YWxpZGF0b3I=\""),
            Warns("skip_thought_signature_validator"),
        ],
    ),
    row((G, DRAWN_SIGNED), (G, "gemini-3-pro-image-preview"), &[Once("U2lnbmVk"), Silent("c2tpcF90"), Quiet]),
    // Roots of schemas toward Anthropic.
    row(
        (C, ALTERNATIVES),
        SONNET,
        &[
            Is("/tools/0/input_schema/type", "\"object\""),
            No("/tools/0/input_schema/anyOf"),
            Is("/tools/0/input_schema/properties", r#"{"a":{},"b":{}}"#),
            Warns("field=tools[].function.parameters"),
        ],
    ),
    row(
        (C, REFERRED),
        SONNET,
        &[Is("/tools/0/input_schema/properties/a/type", "\"string\""), No("/tools/0/input_schema/$ref"), Quiet],
    ),
    row((C, LIST), SONNET, &[Refuses("tools[].function.parameters")]),
    // Schemas of older drafts, and of serialisers that write null for what is absent.
    row(
        (A, NULLS_IN_SCHEMA),
        GPT,
        &[
            No("/tools/0/function/parameters/required"),
            Is("/tools/0/function/parameters/properties/n", r#"{"type":"number","exclusiveMinimum":0}"#),
            Is("/tools/0/function/parameters/properties/pair/prefixItems/1/type", "\"string\""),
            Is("/tools/0/function/parameters/properties/pair/items", "{}"),
            Quiet,
        ],
    ),
    row((A, NULLS_IN_SCHEMA), OLDER, &[Silent("null"), Silent("prefixItems\":[")]),
    row(
        (C, NULLS_IN_SCHEMA_C),
        SONNET,
        &[Is("/tools/0/input_schema", r#"{"type":"object","properties":{"n":{"type":"string"}}}"#), Quiet],
    ),
    // Mistral's models take ids of nine letters and digits, the call's and the result's alike.
    row((A, CALLED), (C, "mistral-large-latest"), &[Silent("toolu_01AbC"), Says("\"tool_call_id\":\"")]),
    row((A, CALLED), (C, "qwen3"), &[Says("\"id\":\"toolu_01AbC\""), Says("\"tool_call_id\":\"toolu_01AbC\"")]),
    // DeepSeek and Kimi refuse a thinking conversation with a turn that has no reasoning.
    row(
        (A, CALLED),
        (C, "deepseek-v4-pro"),
        &[
            Is("/messages/1/reasoning_content", "\" \""),
            Warns("field=messages[].content[].thinking;from=none;to=a blank"),
        ],
    ),
    row((A, CALLED), (C, "moonshotai/kimi-k2-thinking"), &[Is("/messages/1/reasoning_content", "\" \"")]),
    row((A, CALLED), (C, "qwen3"), &[No("/messages/1/reasoning_content")]),
    row((A, CALLED_WITHOUT_THINKING), (C, "deepseek-v4-pro"), &[No("/messages/1/reasoning_content")]),
    row((G, THOUGHT_BY_CHAT), (C, "deepseek-v4-pro"), &[Is("/messages/1/reasoning_content", "\"I need it\""), Quiet]),
    row((G, THOUGHT_BY_CHAT), SONNET, &[Silent("I need it"), Warns("contents[].parts[].thought")]),
    row((C, REASONED_IN_TEXT), SONNET, &[Silent("hm"), Warns("field=messages[].reasoning_content")]),
    // The newest models think whatever they are told, and one takes no forced tool.
    row(
        (C, NO_EFFORT),
        (A, "claude-opus-5-5"),
        &[No("/thinking"), Is("/max_tokens", "128000"), Warns("reasoning_effort")],
    ),
    row((C, NO_EFFORT), (A, "claude-haiku-5-5"), &[Is("/thinking/type", "\"disabled\""), Quiet]),
    row((C, FORCED), (A, "claude-sonnet-5-5"), &[Is("/tool_choice/type", "\"auto\""), Warns("field=tool_choice")]),
    row((C, FORCED), (A, "claude-sonnet-5"), &[Is("/tool_choice/type", "\"tool\""), Quiet]),
    // What Claude Code sends of its own is no reason to refuse it, and none of it is dropped in silence.
    row(
        (A, CLAUDE_CODE),
        (C, "qwen3-coder"),
        &[
            Silent("billing"),
            Silent("context_management"),
            Is("/max_tokens", "32000"),
            Warns("field=context_management"),
            Warns("field=tools[].defer_loading"),
            Warns("field=tools[].input_examples"),
        ],
    ),
    row((A, CLAUDE_CODE), FLASH, &[Silent("billing"), Warns("field=context_management")]),
];
