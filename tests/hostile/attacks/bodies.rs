//! Request bodies that cost more than they weigh.

use std::io::Write as _;

use anyhow::Result;
use tokio::task::JoinSet;

use super::{Findings, Scale, shapes};
use crate::{
    ground::Ground,
    wire::{exchange, post, status},
};

/// Models by provider, so that every dialect is translated to every other.
const MODELS: [&str; 3] = ["chat-x", "claude-x", "gem-x"];

/// How many times its own size a request may become. JSON escapes of two bytes grow to six, translations add names.
const MOST_GROWTH: f64 = 8.0;

struct Sent {
    what: String,
    request: Vec<u8>,
}

/// Sends all, four at a time, and says what came of it and how large the largest upstream body was.
async fn send(ground: &Ground, all: Vec<Sent>) -> Result<Findings> {
    let mut findings = Findings::default();
    let (mut bytes, mut statuses) = (0, std::collections::BTreeMap::<u16, usize>::new());
    let largest = all.iter().map(|sent| sent.request.len()).max().unwrap_or(0);
    let mut waiting = all.into_iter();
    let mut running = JoinSet::new();
    loop {
        while running.len() < 4 {
            let Some(sent) = waiting.next() else { break };
            bytes += sent.request.len();
            let gateway = ground.gateway;
            running.spawn(async move { (exchange(gateway, &sent.request).await, sent.what) });
        }
        let Some(done) = running.join_next().await else { break };
        let (answer, what) = done?;
        match answer {
            Ok(answer) => {
                let status = status(&answer);
                *statuses.entry(status).or_default() += 1;
                findings.expect(status != 0 && status != 500, || format!("{what}: answered {answer:.200}"));
            }
            Err(error) => findings.fault(format!("{what}: {error:#}")),
        }
    }
    let upstream = ground.upstream.received().iter().map(|received| received.body.len()).max().unwrap_or(0);
    let growth = upstream as f64 / largest.max(1) as f64;
    findings.note(format!(
        "{} KiB sent, statuses {statuses:?}; largest body {} KiB in, {} KiB to an upstream",
        bytes >> 10,
        largest >> 10,
        upstream >> 10
    ));
    findings.expect(growth <= MOST_GROWTH, || format!("a body grew to {growth:.0} times the largest that was sent"));
    Ok(findings)
}

pub async fn schemas(ground: &Ground, scale: Scale) -> Result<Findings> {
    let size = scale.of(50_000, 1_600_000);
    let mut all = Vec::new();
    for model in MODELS {
        for (what, schema) in [
            ("doubling", shapes::doubling(scale.of(8, 10), size)),
            ("recursive", shapes::recursive(size)),
            ("wide", shapes::wide(500, size / 4)),
            ("wide and deep", shapes::doubling(scale.of(10, 12), size / 16)),
        ] {
            let body = shapes::with_schema(model, &schema);
            for _ in 0..scale.of(1, 2) {
                let request = post("/v1/chat/completions", "", body.as_bytes());
                all.push(Sent { what: format!("{what} to {model}"), request });
            }
        }
    }
    send(ground, all).await
}

/// One long value that a translation might copy for each of many others.
pub async fn repeated(ground: &Ground, scale: Scale) -> Result<Findings> {
    let (count, size) = (scale.of(300, 3_000), scale.of(50_000, 400_000));
    let long = "y".repeat(size);
    let tool = |number| {
        format!(
            r#"{{"id":"call_{number}","type":"function","function":{{"name":"f{}","arguments":"{{}}"}}}}"#,
            number % 7
        )
    };
    let calls: Vec<String> = (0..count).map(tool).collect();
    let results: Vec<String> = (0..count)
        .map(|number| format!(r#"{{"role":"tool","tool_call_id":"call_{number}","content":"ok"}}"#))
        .collect();
    let mut all = Vec::new();
    for model in MODELS {
        let conversation = format!(
            r#"{{"model":"{model}","messages":[{{"role":"system","content":"{long}"}},{{"role":"user","content":"hi"}},{{"role":"assistant","tool_calls":[{}]}},{}]}}"#,
            calls.join(","),
            results.join(",")
        );
        let user = shapes::plain(0, model, &format!(r#""user":"{long}","stop":["{long}"]"#), "");
        let name = shapes::plain(0, model, "", &format!(r#""name":"{long}""#));
        for (what, body) in [("tool results", conversation), ("user", user), ("name", name)] {
            all.push(Sent {
                what: format!("{what} to {model}"),
                request: post("/v1/chat/completions", "", body.as_bytes()),
            });
        }
    }
    send(ground, all).await
}

pub async fn members(ground: &Ground, scale: Scale) -> Result<Findings> {
    let count = scale.of(20_000, 80_000);
    let mut all = Vec::new();
    for (call, _) in shapes::CALLS.iter().enumerate() {
        for model in MODELS {
            let (top, inner) = (shapes::members(count, "u", "1"), shapes::members(count / 2, "é\\n", "[0]"));
            for (what, body) in [
                ("unknown at the top", shapes::plain(call, model, &top, "")),
                ("unknown in a message", shapes::plain(call, model, "", &inner)),
            ] {
                let request = post(&shapes::path(call, model), "", body.as_bytes());
                all.push(Sent { what: format!("{what}, dialect {call} to {model}"), request });
            }
        }
    }
    let findings = send(ground, all).await?;
    let log = ground.process.log();
    let line = log.lines().map(str::len).max().unwrap_or(0);
    Ok(with_line(findings, line))
}

fn with_line(mut findings: Findings, line: usize) -> Findings {
    findings.note(format!("longest log line {} KiB", line >> 10));
    findings.expect(line <= 64 << 10, || format!("a log line has {line} bytes"));
    findings
}

pub async fn many(ground: &Ground, scale: Scale) -> Result<Findings> {
    let count = scale.of(20_000, 100_000);
    let turn = r#"{"role":"user","content":"a"},{"role":"assistant","content":"b"}"#;
    let part = r#"{"type":"text","text":"a"}"#;
    let mut all = Vec::new();
    for model in MODELS {
        let tools: Vec<String> = (0..count / 10)
            .map(|number| {
                format!(r#"{{"type":"function","function":{{"name":"f{number}","parameters":{{"type":"object"}}}}}}"#)
            })
            .collect();
        let named = format!(r#"{{"model":"{model}","messages":[{}]"#, shapes::times(count / 2, turn));
        let parts = format!(r#"{{"role":"user","content":[{}]}}"#, shapes::times(count, part));
        let warned: Vec<String> =
            (0..count / 4).map(|number| format!(r#"{{"role":"user","content":"a","w{number}":1}}"#)).collect();
        for (what, body) in [
            ("messages", format!("{named}}}")),
            ("parts", format!(r#"{{"model":"{model}","messages":[{parts}]}}"#)),
            ("tools", shapes::plain(0, model, &format!(r#""tools":[{}]"#, tools.join(",")), "")),
            ("warnings", format!(r#"{{"model":"{model}","messages":[{}]}}"#, warned.join(","))),
            ("stops", shapes::plain(0, model, &format!(r#""stop":[{}]"#, shapes::times(count, r#""s""#)), "")),
        ] {
            all.push(Sent {
                what: format!("{what} to {model}"),
                request: post("/v1/chat/completions", "", body.as_bytes()),
            });
        }
    }
    let findings = send(ground, all).await?;
    let line = ground.process.log().lines().map(str::len).max().unwrap_or(0);
    Ok(with_line(findings, line))
}

/// Nesting and names that repeat.
pub async fn deep(ground: &Ground, scale: Scale) -> Result<Findings> {
    let count = scale.of(20_000, 200_000);
    let (open, close) = ("[".repeat(count), "]".repeat(count));
    let objects = format!("{}1{}", r#"{"a":"#.repeat(count), "}".repeat(count));
    let same = vec![r#""temperature":1"#; count / 4].join(",");
    let models = vec![r#""model":"chat-x""#; count / 4].join(",");
    let mut all = Vec::new();
    for (call, _) in shapes::CALLS.iter().enumerate() {
        for model in MODELS {
            for (what, top) in [
                ("arrays", format!(r#""metadata":{open}{close}"#)),
                ("unclosed arrays", format!(r#""metadata":{open}"#)),
                ("objects", format!(r#""metadata":{objects}"#)),
                ("one name", same.clone()),
                ("the model's name", models.clone()),
            ] {
                let body = shapes::plain(call, model, &top, "");
                let request = post(&shapes::path(call, model), "", body.as_bytes());
                all.push(Sent { what: format!("{what}, dialect {call} to {model}"), request });
            }
        }
    }
    send(ground, all).await
}

pub async fn gzip(ground: &Ground, scale: Scale) -> Result<Findings> {
    let mut all = Vec::new();
    for mebibytes in [scale.of(4, 16), scale.of(40, 400)] {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        write!(encoder, r#"{{"model":"claude-x","messages":[{{"role":"user","content":""#)?;
        let block = vec![b'a'; 1 << 20];
        for _ in 0..mebibytes {
            encoder.write_all(&block)?;
        }
        write!(encoder, r#""}}]}}"#)?;
        let body = encoder.finish()?;
        for _ in 0..scale.of(4, 16) {
            let request = post("/v1/chat/completions", "content-encoding: gzip\r\n", &body);
            all.push(Sent { what: format!("{mebibytes} MiB in gzip"), request });
        }
    }
    let mut findings = send(ground, all).await?;
    // What grows here is the compression's own doing; the bound on bodies holds for what comes out of it.
    findings.faults.retain(|fault| !fault.contains("times the largest"));
    Ok(findings)
}
