use super::Encoder;
use crate::{
    codec::{ResponseContext, StreamEncoder},
    dialect::Family,
    ir::{
        BlockKind, Delta, Event,
        FinishReason::{self, Length, Stop},
        Opaque, Usage,
    },
    problem::{Problem, ProblemKind},
};

fn reply() -> ResponseContext {
    ResponseContext { model: "asked".to_owned(), id: "42".to_owned(), ..ResponseContext::default() }
}

/// The `data` of every event, checked against its `event:` line (hard case 57).
fn encode(events: &[Event]) -> Vec<serde_json::Value> {
    let (mut encoder, mut out) = (Encoder::new(&reply()), Vec::new());
    events.iter().for_each(|event| encoder.push(event, &mut out));
    let text = String::from_utf8(out).unwrap();
    let frames = text.split_terminator("\n\n").map(|frame| {
        let (event, data) = frame.split_once('\n').unwrap();
        let data: serde_json::Value = serde_json::from_str(data.strip_prefix("data: ").unwrap()).unwrap();
        assert_eq!(event.strip_prefix("event: "), data["type"].as_str());
        data
    });
    frames.collect()
}

/// A stream as short words: `[index kind` and `index]` around what is said.
fn words(events: &[Event]) -> String {
    let frames = encode(events);
    let words = frames.iter().map(|frame| {
        let index = &frame["index"];
        match frame["type"].as_str().unwrap() {
            "content_block_start" => format!("[{index} {}", frame["content_block"]["type"].as_str().unwrap()),
            "content_block_delta" => {
                let delta = frame["delta"].as_object().unwrap();
                let text = delta.iter().find(|(name, _)| *name != "type").unwrap().1.as_str().unwrap();
                assert!(!text.is_empty(), "an empty delta");
                text.to_owned()
            }
            "content_block_stop" => format!("{index}]"),
            "message_delta" => frame["delta"]["stop_reason"].as_str().unwrap().to_owned(),
            other => other.to_owned(),
        }
    });
    words.collect::<Vec<_>>().join(" ")
}

fn start() -> Event {
    Event::Start { id: Some("chatcmpl-1".to_owned()), model: None, created: None, usage: None }
}

fn begin(block: u32, kind: BlockKind) -> Event {
    Event::BlockStart { block, candidate: 0, kind }
}

fn call(block: u32) -> Event {
    let kind = BlockKind::ToolCall { id: format!("call_{block}"), name: "f".to_owned() };
    begin(block, kind)
}

fn thought(block: u32) -> Event {
    begin(block, BlockKind::Reasoning { redacted: false })
}

fn grow(block: u32, delta: Delta) -> Event {
    Event::BlockDelta { block, delta }
}

fn say(block: u32, text: &str) -> Event {
    grow(block, Delta::Text(text.to_owned()))
}

fn think(block: u32, text: &str) -> Event {
    grow(block, Delta::Reasoning(text.to_owned()))
}

fn args(block: u32, text: &str) -> Event {
    grow(block, Delta::Arguments(text.to_owned()))
}

fn state(block: u32, family: Family) -> Event {
    let value = "s".to_owned();
    grow(block, Delta::State(Opaque { family, value }))
}

fn end(block: u32) -> Event {
    Event::BlockEnd { block }
}

fn finish(reason: FinishReason) -> Event {
    Event::Finish { candidate: 0, finish: reason.into() }
}

fn text() -> Event {
    begin(0, BlockKind::Text)
}

fn check(rows: Vec<(&str, Vec<Event>, &str)>) {
    for (name, events, expected) in rows {
        assert_eq!(words(&events), expected, "{name}");
    }
}

#[test]
fn text_and_calls() {
    check(vec![
        (
            "hard case 101: message_stop",
            vec![start(), text(), say(0, "hi"), end(0), finish(Stop), Event::End],
            "message_start [0 text hi 0] end_turn message_stop",
        ),
        (
            "hard case 85: interleaved calls",
            vec![
                start(),
                call(1),
                call(2),
                args(1, "{"),
                args(2, "{\"b\""),
                args(1, "}"),
                args(2, ":1}"),
                finish(Stop),
                Event::End,
            ],
            "message_start [0 tool_use { } 0] [1 tool_use {\"b\" :1} 1] tool_use message_stop",
        ),
        (
            "hard case 86: dense indices",
            vec![
                start(),
                thought(7),
                think(7, "w"),
                text(),
                say(0, "a"),
                call(9),
                args(9, "{}"),
                finish(Stop),
                Event::End,
            ],
            "message_start [0 thinking w gw1.none.thought. 0] [1 text a 1] [2 tool_use {} 2] tool_use message_stop",
        ),
        (
            "hard case 87: reasoning after text",
            vec![start(), text(), say(0, "a"), thought(1), think(1, "w"), say(0, "b"), finish(Stop), Event::End],
            "message_start [0 text a 0] [1 thinking w gw1.none.thought. 1] [2 text b 2] end_turn message_stop",
        ),
        (
            "a refusal of the model's own",
            vec![start(), begin(0, BlockKind::Refusal), say(0, "no"), end(0), finish(Stop), Event::End],
            "message_start [0 text no 0] refusal message_stop",
        ),
        (
            "hard case 88: one message_start",
            vec![start(), start(), finish(Stop), Event::End],
            "message_start end_turn message_stop",
        ),
        (
            "hard case 89: empty leading text",
            vec![start(), text(), say(0, ""), call(1), args(1, "{}"), end(0), end(1), finish(Stop), Event::End],
            "message_start [0 tool_use {} 0] tool_use message_stop",
        ),
        (
            "hard case 91: whole calls, and one without arguments",
            vec![start(), call(0), args(0, "{\"a\":1}"), end(0), call(1), end(1), finish(Stop), Event::End],
            "message_start [0 tool_use {\"a\":1} 0] [1 tool_use 1] tool_use message_stop",
        ),
        (
            "hard case 99: queued at the end",
            vec![start(), call(0), args(0, "{\"x"), call(1), args(1, "{}"), finish(Length), Event::End],
            "message_start [0 tool_use {\"x 0] [1 tool_use {} 1] max_tokens message_stop",
        ),
        (
            "hard case 175: arguments that are no object",
            vec![start(), call(0), args(0, "\"a"), args(0, "b\""), end(0), finish(Stop), Event::End],
            "message_start [0 tool_use {\"_raw\":\"ab\"} 0] tool_use message_stop",
        ),
    ]);
}

#[test]
fn reasoning_state() {
    check(vec![
        (
            "hard case 145: signed visible text",
            vec![start(), text(), say(0, "a"), state(0, Family::Gemini), end(0), finish(Stop), Event::End],
            "message_start [0 text a 0] [1 thinking gw1.gemini.text.cw 1] end_turn message_stop",
        ),
        (
            "hard case 143: a signed call",
            vec![start(), call(0), state(0, Family::Gemini), args(0, "{}"), end(0), finish(Stop), Event::End],
            "message_start [0 thinking gw1.gemini.call.cw 0] [1 tool_use {} 1] tool_use message_stop",
        ),
        (
            "a signature that comes late",
            vec![start(), call(0), args(0, "{}"), state(0, Family::Gemini), end(0), finish(Stop), Event::End],
            "message_start [0 tool_use {} 0] [1 thinking gw1.gemini.called.cw 1] tool_use message_stop",
        ),
        (
            "native reasoning stays native",
            vec![start(), thought(0), think(0, "w"), state(0, Family::Anthropic), end(0), finish(Stop), Event::End],
            "message_start [0 thinking w s 0] end_turn message_stop",
        ),
        (
            "native hidden reasoning",
            vec![
                start(),
                begin(0, BlockKind::Reasoning { redacted: true }),
                state(0, Family::Anthropic),
                end(0),
                finish(Stop),
                Event::End,
            ],
            "message_start [0 redacted_thinking 0] end_turn message_stop",
        ),
        (
            "foreign reasoning without text",
            vec![start(), thought(0), state(0, Family::OpenAi), end(0), finish(Stop), Event::End],
            "message_start [0 thinking gw1.openai.thought.cw 0] end_turn message_stop",
        ),
    ]);
}

#[test]
fn pings_errors_and_candidates() {
    check(vec![
        (
            "hard case 55: ping before the start",
            vec![Event::Ping, start(), finish(Stop), Event::End],
            "ping message_start end_turn message_stop",
        ),
        (
            "hard case 127: an error ends it",
            vec![
                start(),
                text(),
                say(0, "a"),
                Event::Error(Problem::new(ProblemKind::Upstream, "gone")),
                Event::End,
                Event::Ping,
            ],
            "message_start [0 text a error",
        ),
        (
            "only the first candidate",
            vec![
                start(),
                text(),
                Event::BlockStart { block: 1, candidate: 1, kind: BlockKind::Text },
                say(1, "no"),
                say(0, "a"),
                Event::Finish { candidate: 1, finish: Length.into() },
                finish(Stop),
                Event::End,
            ],
            "message_start [0 text a 0] end_turn message_stop",
        ),
    ]);
}

#[test]
fn hard_case_93_and_96_usage_comes_once_and_merged() {
    let usage =
        |input, output| Event::Usage(Usage { input, output, cache_read: input.map(|_| 80), ..Usage::default() });
    let frames =
        encode(&[start(), usage(Some(20), None), finish(FinishReason::Stop), usage(None, Some(7)), Event::End]);
    assert_eq!(frames.len(), 3);
    assert_eq!(frames[0]["message"]["usage"], serde_json::json!({"input_tokens": 0, "output_tokens": 0}));
    let expected = serde_json::json!({"input_tokens": 20, "cache_read_input_tokens": 80, "output_tokens": 7});
    assert_eq!(frames[1]["usage"], expected);
}

#[test]
fn the_envelope_is_the_clients() {
    let frames = encode(&[start()]);
    let message = &frames[0]["message"];
    assert_eq!((message["id"].as_str(), message["model"].as_str()), (Some("msg_42"), Some("asked")));
    assert_eq!((&message["content"], &message["stop_reason"]), (&serde_json::json!([]), &serde_json::Value::Null));
}

#[test]
fn hard_case_15_and_150_ids_and_index_zero() {
    let kind = BlockKind::ToolCall { id: "functions.Bash:0".to_owned(), name: "f".to_owned() };
    let frames = encode(&[start(), begin(3, kind), args(3, "{}")]);
    assert_eq!(frames[1]["index"], 0);
    assert!(frames[1]["content_block"]["id"].as_str().unwrap().starts_with("functions_Bash_0_"));
    assert_eq!(frames[1]["content_block"]["input"], serde_json::json!({}));
}

#[test]
fn a_flood_of_interleaved_blocks_is_an_error() {
    let flood = "x".repeat(crate::codec::block_sequencer::MAX_WAITING_BYTES + 1);
    let text = words(&[start(), call(0), args(0, "{"), call(1), args(1, &flood), Event::End]);
    assert_eq!(text, "message_start [0 tool_use { error");
}
