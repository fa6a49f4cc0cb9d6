use proptest::prelude::*;

use super::{BlockSequencer, MAX_WAITING_BYTES, Overflow, Sink};
use crate::ir::{BlockKind, Delta};

/// Writes `[kind:content]` per block and fails on any overlap.
#[derive(Default)]
struct Tape {
    text: String,
    open: bool,
}

impl Sink for Tape {
    fn open(&mut self, kind: &BlockKind) {
        assert!(!self.open, "overlap after {}", self.text);
        self.open = true;
        self.text.push('[');
        self.text.push_str(match kind {
            BlockKind::Text => "text:",
            BlockKind::Reasoning { .. } => "think:",
            BlockKind::ToolCall { name, .. } => name,
            BlockKind::Refusal => "refusal:",
            BlockKind::Media(_) => "media",
            BlockKind::Unknown { .. } => "unknown",
        });
    }

    fn grow(&mut self, delta: &Delta) {
        assert!(self.open, "delta without a block after {}", self.text);
        let (Delta::Text(text) | Delta::Arguments(text) | Delta::Reasoning(text)) = delta else {
            return;
        };
        self.text.push_str(text);
    }

    fn close(&mut self) {
        assert!(self.open, "close without a block after {}", self.text);
        self.open = false;
        self.text.push(']');
    }
}

/// `t0` starts text 0, `k` reasoning, `c` a call; `0:x` is a delta for block 0, in its kind; `0.` ends it.
fn run(script: &[&str]) -> String {
    let (mut serialiser, mut tape) = (BlockSequencer::default(), Tape::default());
    let mut kinds = std::collections::BTreeMap::new();
    for step in script {
        let (head, rest) = step.split_at(1);
        if let (Ok(number), Some(text)) = (head.parse::<u32>(), rest.strip_prefix(':')) {
            let delta = match kinds.get(&number) {
                Some('t') => Delta::Text(text.to_owned()),
                Some('k') => Delta::Reasoning(text.to_owned()),
                _ => Delta::Arguments(text.to_owned()),
            };
            serialiser.grow(number, &delta, &mut tape).unwrap();
        } else if let (Ok(number), ".") = (head.parse::<u32>(), rest) {
            serialiser.end(number, &mut tape);
        } else {
            let number: u32 = rest.parse().unwrap();
            let letter = head.chars().next().unwrap();
            kinds.insert(number, letter);
            let kind = match letter {
                't' => BlockKind::Text,
                'k' => BlockKind::Reasoning { redacted: false },
                _ => BlockKind::ToolCall { id: format!("id{number}"), name: format!("f{number}") },
            };
            serialiser.start(number, kind, &mut tape).unwrap();
        }
    }
    serialiser.flush(&mut tape);
    assert!(!tape.open, "left open: {}", tape.text);
    tape.text
}

#[test]
fn blocks_go_out_one_after_the_other() {
    let rows: [(&str, &[&str], &str); 13] = [
        ("plain", &["t0", "0:a", "0:b", "0."], "[text:ab]"),
        (
            "hard case 85: interleaved calls",
            &["c0", "c1", "0:{\"a\"", "1:{\"b\"", "0::1}", "1::2}"],
            "[f0{\"a\":1}][f1{\"b\":2}]",
        ),
        ("second call streams once the first is whole", &["c0", "0:{}", "c1", "1:{", "1:}"], "[f0{}][f1{}]"),
        ("hard case 87: reasoning after text", &["t0", "0:a", "k1", "1:why", "0:b"], "[text:a][think:why][text:b]"),
        ("hard case 89: empty text", &["t0", "0:", "c1", "1:{}", "0.", "1."], "[f1{}]"),
        ("hard case 99: waits until the end", &["c0", "c1", "0:{", "1:{\"x\":1}"], "[f0{][f1{\"x\":1}]"),
        ("text waits behind an unfinished call", &["c0", "0:{", "t1", "1:hi", "0:}"], "[f0{}][text:hi]"),
        ("a call without arguments", &["c0", "0.", "c1", "1."], "[f0][f1]"),
        ("such a call after open text", &["t0", "0:a", "c1", "1.", "0:b", "0."], "[text:a][f1][text:b]"),
        ("braces in strings", &["c0", "c1", "0:{\"a\":\"}", "1:{}", "0:\\\"}\"}"], "[f0{\"a\":\"}\\\"}\"}][f1{}]"),
        ("hard case 174: glued objects", &["c0", "0:{\"a\":1}{\"a\":2}", "0."], "[f0{\"a\":1}][f0{\"a\":2}]"),
        (
            "glued in a later delta",
            &["c0", "0:{\"a\":1}", "0: \n", "0:{\"a\":", "0:2}", "0."],
            "[f0{\"a\":1}][f0{\"a\":2}]",
        ),
        ("glued while waiting", &["c0", "c1", "0:{", "1:{}{\"z\":1}", "0:}"], "[f0{}][f1{}][f1{\"z\":1}]"),
    ];
    for (name, script, expected) in rows {
        assert_eq!(run(script), expected, "{name}");
    }
}

#[test]
fn a_glued_call_has_an_id_of_its_own() {
    #[derive(Default)]
    struct Ids(Vec<String>);
    impl Sink for Ids {
        fn open(&mut self, kind: &BlockKind) {
            if let BlockKind::ToolCall { id, .. } = kind {
                self.0.push(id.clone());
            }
        }
        fn grow(&mut self, _: &Delta) {}
        fn close(&mut self) {}
    }
    let (mut serialiser, mut ids) = (BlockSequencer::default(), Ids::default());
    let kind = BlockKind::ToolCall { id: "call_1".to_owned(), name: "f".to_owned() };
    serialiser.start(0, kind, &mut ids).unwrap();
    serialiser.grow(0, &Delta::Arguments("{}{}{}".to_owned()), &mut ids).unwrap();
    serialiser.flush(&mut ids);
    assert_eq!(ids.0.len(), 3);
    assert_eq!(ids.0[0], "call_1");
    assert!(ids.0[1] != ids.0[2] && ids.0[1] != "call_1" && ids.0[2] != "call_1");
}

#[test]
fn what_waits_is_bounded() {
    let (mut serialiser, mut tape) = (BlockSequencer::default(), Tape::default());
    for number in 0..2 {
        let kind = BlockKind::ToolCall { id: format!("id{number}"), name: "f".to_owned() };
        serialiser.start(number, kind, &mut tape).unwrap();
    }
    serialiser.grow(0, &Delta::Arguments("{".to_owned()), &mut tape).unwrap();
    let much = Delta::Arguments(format!("{{\"a\":\"{}", "x".repeat(MAX_WAITING_BYTES)));
    assert_eq!(serialiser.grow(1, &much, &mut tape), Err(Overflow));
}

/// What every block said, whatever the order on the wire; calls apart from prose.
#[derive(Default)]
struct PerBlock {
    said: std::collections::BTreeMap<String, String>,
    open: Option<String>,
}

impl Sink for PerBlock {
    fn open(&mut self, kind: &BlockKind) {
        assert!(self.open.is_none());
        let name = match kind {
            BlockKind::ToolCall { id, .. } => {
                assert!(!self.said.contains_key(id), "a call was opened twice");
                id.clone()
            }
            _ => "prose".to_owned(),
        };
        self.said.entry(name.clone()).or_default();
        self.open = Some(name);
    }

    fn grow(&mut self, delta: &Delta) {
        let (Delta::Text(text) | Delta::Arguments(text) | Delta::Reasoning(text)) = delta else { return };
        self.said.get_mut(self.open.as_ref().unwrap()).unwrap().push_str(text);
    }

    fn close(&mut self) {
        assert!(self.open.take().is_some());
    }
}

proptest! {
    /// Whatever order the pieces of three calls and one text come in, each call goes out once and whole, and no word is
    /// lost.
    #[test]
    fn interleaving_loses_nothing(order in prop::collection::vec(0_usize..4, 0..60)) {
        let scripts = ["{\"a\":[1,{\"}\":0}]}", "{}", "{\"b\":\"\\\"{\"}", "some words"];
        let (mut serialiser, mut sink) = (BlockSequencer::default(), PerBlock::default());
        let mut sent = [0_usize; 4];
        for number in 0..4_u32 {
            let kind = match number {
                3 => BlockKind::Text,
                _ => BlockKind::ToolCall { id: number.to_string(), name: "f".to_owned() },
            };
            serialiser.start(number, kind, &mut sink).unwrap();
        }
        for choice in order {
            let Some(piece) = scripts[choice].get(sent[choice]..=sent[choice]) else { continue };
            sent[choice] += 1;
            let delta = if choice == 3 { Delta::Text(piece.to_owned()) } else { Delta::Arguments(piece.to_owned()) };
            serialiser.grow(u32::try_from(choice).unwrap(), &delta, &mut sink).unwrap();
        }
        serialiser.flush(&mut sink);
        prop_assert!(sink.open.is_none());
        for (number, script) in scripts.iter().enumerate() {
            let name = if number == 3 { "prose".to_owned() } else { number.to_string() };
            let said = sink.said.get(&name).map_or("", String::as_str);
            prop_assert_eq!(said, &script[..sent[number]]);
        }
    }
}
