//! Every golden request, answer and stream of one dialect, translated into every other one and compared with the file
//! beside it. `UPDATE=1 cargo test -p routeapi-protocol --test golden` rewrites the files; the diff is the review.
//!
//! A dialect joins as soon as `codec::codec` knows its operation: nothing here names a codec.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may stop at the first surprise, and so may what it calls"
)]

#[path = "corpus/corpus.rs"]
mod corpus;

use corpus::{Case, Kind, client_reply, clients, decode_stream, models, prettied, readable, upstreams};
use routeapi_protocol::{
    codec::{Head, Target, client_codec, upstream_codec},
    dialect::Operation,
    framing::Framing,
    host::{Asked, Host},
    ir::{Event, Request, Usage},
    limits::ModelLimits,
    report::{Mode, Report},
};

#[test]
fn requests() {
    corpus::check(Kind::Requests, |case, target| {
        let request = decode(case).unwrap_or_else(|error| panic!("{}: {error}", case.name));
        let mut snapshot = String::new();
        let mut last = String::new();
        for model in models(target) {
            let section = sent(&request, case.operation, target, model);
            // A second model is worth a section only if it is told something else.
            if section.replace(model, "MODEL") != last {
                snapshot.push_str(&section);
            }
            last = section.replace(model, "MODEL");
        }
        snapshot
    });
}

/// What goes to one model, or why nothing does.
fn sent(request: &Request, from: Operation, to: Operation, model: &str) -> String {
    let mut report = Report::new(Mode::Default);
    let target = Target { base_model: None, model, default_max_output: 8192, limits: ModelLimits::default() };
    let encoded = upstream_codec(to).unwrap().encode_request(request, target, from, &mut report);
    let mut section = format!("## {model}\n");
    match report.finish() {
        Err(refusal) => section.push_str(&format!("refused: {refusal}\n")),
        Ok(warnings) => {
            let framing = if request.stream { Framing::Sse } else { Framing::Whole };
            let asked = Asked { operation: to, model, framing, query: None, head: None, surface: None };
            let place = Host::Vendor.place(&asked).unwrap();
            section.push_str(&format!("POST {}\n", place.path));
            for (name, value) in &place.headers {
                section.push_str(&format!("{name}: {value}\n"));
            }
            section.push_str(&prettied(&encoded.body));
            for warning in warnings {
                section.push_str(&format!("warning: {warning}\n"));
            }
        }
    }
    section
}

fn decode(case: &Case) -> Result<Request, String> {
    let head =
        Head { model: Some("the-clients-model".into()), stream: case.name.ends_with("stream"), ..Head::default() };
    client_codec(case.operation)
        .unwrap()
        .decode_request(&case.input, &head)
        .map_err(|error| format!("{:?}: {}", error.field, error.message))
}

#[test]
fn answers() {
    corpus::check(Kind::Responses, |case, client| {
        match upstream_codec(case.operation).unwrap().decode_response(&case.input) {
            Err(problem) => format!("problem: {problem:?}\n"),
            Ok(response) => {
                let body = client_codec(client).unwrap().encode_response(&response, &client_reply());
                format!("{}usage: {}\n", prettied(&body), counts(response.usage))
            }
        }
    });
}

#[test]
fn streams() {
    corpus::check(Kind::Streams, |case, client| {
        let mut encoder = client_codec(client).unwrap().stream_encoder(&client_reply());
        let mut out = Vec::new();
        let mut usage = None::<Usage>;
        for event in decode_stream(case.operation, &[&case.input]) {
            encoder.push(&event, &mut out);
            match event {
                Event::Start { usage: Some(new), .. } | Event::Usage(new) => usage.get_or_insert_default().merge(new),
                _ => {}
            }
        }
        format!("{}usage: {}\n", readable(out), counts(usage))
    });
}

fn counts(usage: Option<Usage>) -> String {
    usage.map_or_else(|| "none".to_owned(), |usage| format!("{usage:?}"))
}

/// Illegal bodies: the client is told which member is wrong, in its own words.
#[test]
fn refusals_of_illegal_bodies() {
    let rows = [
        (Operation::ChatCompletions, "[]", "None: the body is not a JSON object"),
        (Operation::ChatCompletions, r#"{"model":"m"}"#, r#"Some("messages"): is required"#),
        (
            Operation::ChatCompletions,
            r#"{"model":"m","messages":[{"role":"elf"}]}"#,
            r#"Some("messages[0].role"): unknown role"#,
        ),
        (
            Operation::ChatCompletions,
            r#"{"model":"m","messages":[{"role":"user","content":[{"type":"image_url"}]}]}"#,
            r#"Some("messages[0].content[0].image_url"): is required"#,
        ),
        (Operation::ChatCompletions, r#"{"model":"m","messages":[],"temperature":"hot"}"#, r#"Some("temperature"): "#),
        (Operation::ChatCompletions, r#"{"model":"m","messages":[],"max_tokens":-1}"#, r#"Some("max_tokens"): "#),
        (
            Operation::GenerateContent,
            r#"{"contents":[{"parts":[{"text":1}]}]}"#,
            r#"Some("contents[0].parts[0].text"): "#,
        ),
        (Operation::GenerateContent, "{}", r#"Some("contents"): is required"#),
        (
            Operation::GenerateContent,
            r#"{"contents":[],"toolConfig":{"functionCallingConfig":{"mode":"SOME"}}}"#,
            r#"Some("toolConfig.functionCallingConfig.mode"): unknown mode"#,
        ),
    ];
    for (operation, body, expected) in rows {
        let case = Case { name: "illegal".into(), operation, input: body.into() };
        let error = decode(&case).map(|_| ()).unwrap_err();
        assert!(error.starts_with(expected), "{body}: {error}");
    }
}

/// Nothing that names a codec may go missing from the matrix.
#[test]
fn the_matrix_is_not_empty() {
    for known in [clients(), upstreams()] {
        assert!(
            known.len() >= 3
                && known.contains(&Operation::ChatCompletions)
                && known.contains(&Operation::GenerateContent)
        );
    }
}
