//! A history in which every call has exactly one result, right behind it: what Gemini demands and Chat servers expect.
//!
//! Runs of the model's turns are merged, since a call and its siblings must stand in one turn. Results move to the front
//! of the following user turn, in the order of the calls; of several for one call the last is kept. A result that
//! belongs to no call becomes text, a call without a result gets an error result if the conversation went on. Nothing is
//! moved across a user turn that says something else.

use std::{
    borrow::Cow,
    collections::{HashMap, HashSet},
};

use crate::ir::{Block, Role, Text, ToolResult, Turn};

/// What stands in for a result that is missing.
const UNANSWERED: &str = "No result was given for this call.";

/// One speaker's part, in order.
#[derive(Clone, Debug)]
pub struct Part<'a> {
    /// Who speaks.
    pub role: Role,
    /// What is said.
    pub blocks: Vec<Cow<'a, Block>>,
    /// The participant's name.
    pub name: Option<&'a str>,
}

/// Whether neighbours of one speaker are merged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Neighbours {
    /// Always.
    Merge,
    /// Only the model's, where calls are involved.
    Keep,
}

/// The paired history. Empty turns are left out.
pub fn paired(turns: &[Turn], neighbours: Neighbours) -> Vec<Part<'_>> {
    let mut parts = answered(runs(turns, neighbours));
    strip_orphans(&mut parts);
    parts.retain(|part| !part.blocks.is_empty());
    parts
}

/// The history as parts, neighbours merged.
fn runs(turns: &[Turn], neighbours: Neighbours) -> Vec<Part<'_>> {
    let mut parts: Vec<Part<'_>> = Vec::with_capacity(turns.len());
    // Of the last part: whether it holds a call, and whether it holds results only.
    let (mut has_calls, mut only_results) = (false, false);
    for turn in turns.iter().filter(|turn| !turn.blocks.is_empty()) {
        let calls = turn.blocks.iter().any(|block| matches!(block, Block::ToolCall(_)));
        let results = turn.blocks.iter().all(is_result);
        let merges = match (neighbours, turn.role) {
            (Neighbours::Merge, _) => true,
            (Neighbours::Keep, Role::Assistant) => has_calls || calls,
            // Results that came in several turns are one answer.
            (Neighbours::Keep, Role::User) => only_results && results,
            (Neighbours::Keep, Role::System) => false,
        };
        let blocks = turn.blocks.iter().map(Cow::Borrowed);
        match parts.last_mut() {
            Some(last) if last.role == turn.role && merges => {
                last.blocks.extend(blocks);
                (has_calls, only_results) = (has_calls || calls, only_results && results);
            }
            _ => {
                parts.push(Part { role: turn.role, blocks: blocks.collect(), name: turn.name.as_deref() });
                (has_calls, only_results) = (calls, results);
            }
        }
    }
    parts
}

/// Gives every call its result, at the front of the part behind it, unless nothing follows.
fn answered(mut parts: Vec<Part<'_>>) -> Vec<Part<'_>> {
    let mut out = Vec::with_capacity(parts.len());
    let mut rest = parts.as_mut_slice();
    while let Some((part, behind)) = rest.split_first_mut() {
        let ids = calls(part);
        out.push(std::mem::replace(part, Part { role: part.role, blocks: Vec::new(), name: None }));
        if !ids.is_empty() && !behind.is_empty() {
            let results = results_of(&ids, behind);
            match behind.first_mut() {
                Some(next) if next.role == Role::User => {
                    next.blocks.splice(0..0, results);
                }
                _ => out.push(Part { role: Role::User, blocks: results, name: None }),
            }
        }
        rest = behind;
    }
    out
}

/// Takes the results of the calls out of the parts behind them; stands one in for each that is missing.
fn results_of<'a>(ids: &[&'a str], behind: &mut [Part<'a>]) -> Vec<Cow<'a, Block>> {
    let wanted: HashSet<&str> = ids.iter().copied().collect();
    let mut found: HashMap<&str, Cow<'a, Block>> = HashMap::new();
    for part in behind {
        if part.role == Role::Assistant {
            break;
        }
        if part.blocks.iter().any(|block| is_result(block)) {
            let mut kept = Vec::with_capacity(part.blocks.len());
            for block in part.blocks.drain(..) {
                match block {
                    Cow::Borrowed(Block::ToolResult(result)) if wanted.contains(result.call_id.as_str()) => {
                        found.insert(&result.call_id, block);
                    }
                    other => kept.push(other),
                }
            }
            part.blocks = kept;
        }
        if part.role == Role::User && !part.blocks.is_empty() {
            break;
        }
    }
    let results = ids.iter().map(|id| found.remove(id).unwrap_or_else(|| Cow::Owned(unanswered(id))));
    results.collect()
}

/// Turns results without a call into text.
fn strip_orphans(parts: &mut [Part<'_>]) {
    let mut open: HashSet<&str> = HashSet::new();
    for part in parts {
        if part.role == Role::Assistant {
            open = calls(part).into_iter().collect();
            continue;
        }
        for block in &mut part.blocks {
            if let Block::ToolResult(result) = block.as_ref()
                && !open.contains(result.call_id.as_str())
            {
                let text = Text { text: text_of(&result.content), ..Text::default() };
                *block = Cow::Owned(Block::Text(text));
            }
        }
    }
}

/// The ids of the model's calls, which are the client's own blocks.
fn calls<'a>(part: &Part<'a>) -> Vec<&'a str> {
    let ids = part.blocks.iter().filter_map(|block| match block {
        Cow::Borrowed(Block::ToolCall(call)) if part.role == Role::Assistant => Some(call.id.as_str()),
        _ => None,
    });
    ids.collect()
}

const fn is_result(block: &Block) -> bool {
    matches!(block, Block::ToolResult(_))
}

fn unanswered(id: &str) -> Block {
    Block::ToolResult(ToolResult {
        call_id: id.to_owned(),
        name: None,
        content: vec![Block::Text(Text { text: UNANSWERED.to_owned(), ..Text::default() })],
        is_error: Some(true),
        cache: None,
    })
}

/// The words of some blocks, one per line.
pub fn text_of<'b>(blocks: impl IntoIterator<Item = &'b Block>) -> String {
    let words: Vec<&str> = blocks
        .into_iter()
        .filter_map(|block| match block {
            Block::Text(text) => Some(text.text.as_str()),
            Block::Refusal(text) => Some(text.as_str()),
            _ => None,
        })
        .collect();
    words.join("\n")
}

#[cfg(test)]
mod tests {
    use super::{Neighbours, paired};
    use crate::ir::{Block, Role, Text, ToolCall, ToolResult, Turn};

    fn turn(role: Role, blocks: Vec<Block>) -> Turn {
        Turn { role, blocks, name: None }
    }
    fn text(words: &str) -> Block {
        Block::Text(Text { text: words.into(), ..Text::default() })
    }
    fn call(id: &str) -> Block {
        let (name, arguments) = ("f".into(), "{}".into());
        Block::ToolCall(ToolCall { id: id.into(), name, arguments, state: None, cache: None })
    }
    fn result(id: &str, words: &str) -> Block {
        let (call_id, content) = (id.into(), vec![text(words)]);
        Block::ToolResult(ToolResult { call_id, name: None, content, is_error: None, cache: None })
    }
    /// `A(c1 c2) U(r1=x r2=y "hi")`
    fn shape(turns: &[Turn], neighbours: Neighbours) -> String {
        let parts = paired(turns, neighbours);
        let part = |part: &super::Part<'_>| {
            let blocks: Vec<String> = part
                .blocks
                .iter()
                .map(|block| match block.as_ref() {
                    Block::ToolCall(call) => call.id.clone(),
                    Block::ToolResult(result) => format!("{}={}", result.call_id, super::text_of(&result.content)),
                    Block::Text(text) => format!("{:?}", text.text),
                    _ => "?".into(),
                })
                .collect();
            format!("{:?}({})", part.role, blocks.join(" "))
        };
        parts.iter().map(part).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn results_follow_the_order_of_the_calls() {
        let turns = [
            turn(Role::Assistant, vec![call("a"), call("b")]),
            turn(Role::User, vec![result("b", "2")]),
            turn(Role::User, vec![text("and"), result("a", "1")]),
        ];
        assert_eq!(shape(&turns, Neighbours::Merge), r#"Assistant(a b) User(a=1 b=2 "and")"#);
        assert_eq!(shape(&turns, Neighbours::Keep), r#"Assistant(a b) User(a=1 b=2) User("and")"#);
    }

    #[test]
    fn the_last_of_duplicates_is_kept_and_orphans_become_text() {
        let turns = [
            turn(Role::Assistant, vec![call("a")]),
            turn(Role::User, vec![result("a", "old"), result("a", "new"), result("z", "lost")]),
        ];
        assert_eq!(shape(&turns, Neighbours::Merge), r#"Assistant(a) User(a=new "lost")"#);
    }

    #[test]
    fn an_unanswered_call_is_answered_only_if_the_conversation_went_on() {
        let mut turns = vec![turn(Role::Assistant, vec![call("a")])];
        assert_eq!(shape(&turns, Neighbours::Merge), "Assistant(a)");
        turns.push(turn(Role::User, vec![text("hi")]));
        assert_eq!(shape(&turns, Neighbours::Merge), r#"Assistant(a) User(a=No result was given for this call. "hi")"#);
    }

    #[test]
    fn calls_of_neighbouring_model_turns_are_one_step() {
        let turns = [
            turn(Role::Assistant, vec![text("so")]),
            turn(Role::Assistant, vec![call("a")]),
            turn(Role::System, vec![text("rule")]),
            turn(Role::User, vec![result("a", "1")]),
        ];
        assert_eq!(shape(&turns, Neighbours::Keep), r#"Assistant("so" a) User(a=1) System("rule")"#);
    }
}
