//! CPU per KiB of what clients and upstreams really say, for every client's dialect with every upstream's.

use std::{
    error::Error,
    io::{self, Write},
};

use bytes::Bytes;
use routeapi_protocol::{
    codec::{Head, ResponseContext},
    dialect::Operation,
    report::Mode,
    request::{ParsedRequest, Prepared},
};

use crate::{
    calls::{ALL, destination, matched},
    conversation::{self, SIZE},
    measure::{Outcome, kibibytes, measure},
};

/// How the lines begin, for the filter.
pub const NAME: &str = "pair";

/// Prints a line per pair whose name holds the filter.
pub fn table(out: &mut impl Write, filter: Option<&str>) -> Result<(), Box<dyn Error>> {
    let pairs: Vec<(Operation, Operation, String)> = ALL
        .into_iter()
        .flat_map(|client| ALL.map(|upstream| (client, upstream, name(client, upstream))))
        .filter(|(_, _, name)| filter.is_none_or(|filter| name.contains(filter)))
        .collect();
    if pairs.is_empty() {
        return Ok(());
    }
    writeln!(
        out,
        "A conversation with tools, its answer, and the answer as a stream, about {} KiB each in Chat Completions:\n\
         CPU in microseconds per KiB of what the client sends (read and prepared) and of what the upstream sends (turned into \
         the client's)\n",
        SIZE >> 10
    )?;
    heading(out, "size of the same in each API format, KiB")?;
    for operation in ALL {
        let stream: usize = conversation::stream(operation)?.iter().map(Bytes::len).sum();
        let (request, answer) =
            (conversation::request(operation, false)?.len(), conversation::answer(operation)?.len());
        line(out, operation.name(), [request, answer, stream].map(kibibytes))?;
    }
    writeln!(out)?;
    heading(out, "client and upstream")?;
    for (client, upstream, name) in pairs {
        line(out, &name, [of_request(client, upstream)?, of_answer(client, upstream)?, of_stream(client, upstream)?])?;
    }
    writeln!(out)?;
    Ok(())
}

fn heading(out: &mut impl Write, what: &str) -> io::Result<()> {
    writeln!(out, "{what:<60}{:>11}{:>11}{:>11}", "request", "answer", "stream")
}

fn line(out: &mut impl Write, name: &str, [request, answer, stream]: [f64; 3]) -> io::Result<()> {
    writeln!(out, "{name:<60}{request:>11.2}{answer:>11.2}{stream:>11.2}")
}

fn name(client: Operation, upstream: Operation) -> String {
    let lane = if client == upstream { " (passed through)" } else { "" };
    format!("{NAME} {} to {}{lane}", client.name(), upstream.name())
}

fn read(client: Operation, body: Bytes, streamed: bool) -> Result<ParsedRequest, String> {
    ParsedRequest::read(matched(client, streamed), Head::default(), body).map_err(|malformed| malformed.to_string())
}

fn of_request(client: Operation, upstream: Operation) -> Result<f64, Box<dyn Error>> {
    let body = conversation::request(client, false)?;
    let run = || match read(client, body.clone(), false) {
        Ok(call) => match call.prepare(destination(&[upstream]), Mode::Default) {
            Ok(prepared) => {
                std::hint::black_box(prepared);
                Outcome::Done
            }
            Err(_) => Outcome::Refused,
        },
        Err(_) => Outcome::Refused,
    };
    done(measure(run, body.len()), "the request")
}

fn of_answer(client: Operation, upstream: Operation) -> Result<f64, Box<dyn Error>> {
    let (prepared, context) = prepared(client, upstream, false)?;
    let body = conversation::answer(upstream)?;
    let run = || match prepared.translation.whole(&context, 200, Some("application/json"), body.clone()) {
        Ok(whole) => {
            std::hint::black_box(whole);
            Outcome::Done
        }
        Err(_) => Outcome::Refused,
    };
    done(measure(run, body.len()), "the answer")
}

fn of_stream(client: Operation, upstream: Operation) -> Result<f64, Box<dyn Error>> {
    let (prepared, context) = prepared(client, upstream, true)?;
    let events = conversation::stream(upstream)?;
    let run = || {
        let mut stream = prepared.translation.stream(&context);
        for event in &events {
            std::hint::black_box(stream.push(event.clone()));
        }
        std::hint::black_box(stream.finish());
        if stream.stats().complete { Outcome::Done } else { Outcome::Refused }
    };
    done(measure(run, events.iter().map(Bytes::len).sum()), "the stream")
}

fn prepared(
    client: Operation,
    upstream: Operation,
    streamed: bool,
) -> Result<(Prepared, ResponseContext), Box<dyn Error>> {
    let call = read(client, conversation::request(client, streamed)?, streamed)?;
    let prepared = call.prepare(destination(&[upstream]), Mode::Default)?;
    Ok((prepared, call.response_context("id", 1)))
}

/// What was measured is worth printing only if all of it was done.
fn done((cost, outcome): (f64, Outcome), what: &str) -> Result<f64, Box<dyn Error>> {
    match outcome {
        Outcome::Done => Ok(cost),
        Outcome::Refused => Err(format!("{what} that the benchmark makes is refused").into()),
    }
}
