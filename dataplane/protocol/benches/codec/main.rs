//! CPU per KiB: for what clients and upstreams really say, of every pair of dialects; and for hostile input of every decoder,
//! encoder and stream, at growing sizes, where each line should be flat.
//!
//! `cargo bench -p routeapi-protocol --bench codec [-- FILTER]` (or `tests/run codec`) prints two tables and judges nothing:
//! a noisy machine must not fail a change. The last column of the second is the cost at the largest size by that at the
//! smallest; what is above [`FLAT`] is marked. Where a size is refused, which a bound may do, the line says so and what the
//! refusal cost.

mod calls;
mod conversation;
mod inputs;
mod measure;
mod pairs;

use std::{
    error::Error,
    io::{self, Write},
};

use bytes::Bytes;
use calls::{ALL, destination, matched};
use measure::{Outcome, measure};
use routeapi_protocol::{
    codec::{Head, ResponseContext, Target, client_codec, upstream_codec},
    limits::ModelLimits,
    report::{Mode, Report},
    request::ParsedRequest,
};

/// Sizes of inputs, in bytes.
const SIZES: [usize; 4] = [64 << 10, 256 << 10, 1 << 20, 4 << 20];
/// Growth of cost per KiB that is not marked. Caches alone account for some.
const FLAT: f64 = 3.0;

/// Prints one line per operation and kind of input.
struct Table<W> {
    out: W,
    filter: Option<String>,
    steep: usize,
}

fn main() -> Result<(), Box<dyn Error>> {
    let filter = std::env::args().skip(1).find(|argument| !argument.starts_with("--"));
    let mut out = io::stdout().lock();
    pairs::table(&mut out, filter.as_deref())?;
    if filter.as_ref().is_some_and(|filter| filter.starts_with(pairs::NAME)) {
        return Ok(());
    }
    let mut table = Table { out, filter, steep: 0 };
    writeln!(table.out, "CPU in microseconds per KiB of hostile input; `!` where the input is refused\n")?;
    write!(table.out, "{:<60}", "operation and input")?;
    for size in SIZES {
        write!(table.out, "{:>11}", format!("{} KiB", size >> 10))?;
    }
    writeln!(table.out, "{:>9}", "growth")?;
    for kind in inputs::REQUESTS {
        requests(kind, &mut table)?;
    }
    for kind in inputs::ANSWERS {
        answers(kind, &mut table)?;
    }
    for kind in inputs::STREAMS {
        streams(kind, &mut table)?;
    }
    let steep = table.steep;
    writeln!(table.out, "\nlines that grow more than {FLAT} times: {steep}")?;
    Ok(())
}

fn requests(kind: &str, table: &mut Table<impl Write>) -> Result<(), Box<dyn Error>> {
    for from in ALL {
        table.line(&format!("read {}: {kind}", from.name()), |size| {
            let (matched, body) = (matched(from, true), Bytes::from(inputs::request(from, kind, size)));
            move || match ParsedRequest::read(matched.clone(), Head::default(), body.clone()) {
                Ok(call) => {
                    std::hint::black_box((call.needs(), call.estimated_input_tokens()));
                    Outcome::Done
                }
                Err(_) => Outcome::Refused,
            }
        })?;
    }
    for from in ALL {
        let Some(client) = client_codec(from) else { continue };
        let head = Head { model: Some("m".into()), ..Head::default() };
        table.line(&format!("decode {}: {kind}", from.name()), |size| {
            let (body, head) = (inputs::request(from, kind, size), head.clone());
            move || match client.decode_request(body.as_bytes(), &head) {
                Ok(request) => {
                    std::hint::black_box(request);
                    Outcome::Done
                }
                Err(_) => Outcome::Refused,
            }
        })?;
        for to in ALL.into_iter().filter(|to| *to != from) {
            let Some(upstream) = upstream_codec(to) else { continue };
            table.line(&format!("encode {} for {}: {kind}", from.name(), to.name()), |size| {
                let body = inputs::request(from, kind, size);
                let decoded = client.decode_request(body.as_bytes(), &head);
                move || {
                    let Ok(request) = &decoded else { return Outcome::Refused };
                    let mut report = Report::within(Mode::Default, body.len().saturating_mul(4) + (1 << 20));
                    // A model of the second generation takes the narrowest schemas.
                    let target = Target {
                        base_model: None,
                        model: "gemini-2.0-flash",
                        default_max_output: 4_096,
                        limits: ModelLimits::default(),
                    };
                    std::hint::black_box(upstream.encode_request(request, target, from, &mut report));
                    if report.finish().is_ok() { Outcome::Done } else { Outcome::Refused }
                }
            })?;
        }
    }
    Ok(())
}

fn answers(kind: &str, table: &mut Table<impl Write>) -> Result<(), Box<dyn Error>> {
    for from in ALL {
        let Some(upstream) = upstream_codec(from) else { continue };
        table.line(&format!("decode an answer of {}: {kind}", from.name()), |size| {
            let body = inputs::answer(from, kind, size);
            move || match upstream.decode_response(body.as_bytes()) {
                Ok(response) => {
                    std::hint::black_box(response);
                    Outcome::Done
                }
                Err(_) => Outcome::Refused,
            }
        })?;
        for to in ALL {
            let Some(client) = client_codec(to) else { continue };
            table.line(&format!("encode an answer of {} for {}: {kind}", from.name(), to.name()), |size| {
                let response = upstream.decode_response(inputs::answer(from, kind, size).as_bytes());
                move || {
                    let Ok(response) = &response else { return Outcome::Refused };
                    std::hint::black_box(client.encode_response(response, &ResponseContext::default()));
                    Outcome::Done
                }
            })?;
        }
    }
    Ok(())
}

/// Every upstream's stream on its way to every client, also to one of its own dialect.
fn streams(kind: &str, table: &mut Table<impl Write>) -> Result<(), Box<dyn Error>> {
    for from in ALL {
        for to in ALL {
            let body = inputs::request(to, "messages", 1).replacen('{', r#"{"stream":true,"#, 1);
            let call = ParsedRequest::read(matched(to, true), Head::default(), body.into())?;
            let Ok(prepared) = call.prepare(destination(&[from]), Mode::Default) else { continue };
            let reply = call.response_context("id", 1);
            table.line(&format!("stream of {} for {}: {kind}", from.name(), to.name()), |size| {
                let pieces: Vec<Bytes> = inputs::stream(from, kind, size).into_iter().map(Bytes::from).collect();
                let (translation, reply) = (prepared.translation.clone(), reply.clone());
                move || {
                    let mut stream = translation.stream(&reply);
                    for piece in &pieces {
                        std::hint::black_box(stream.push(piece.clone()));
                        std::hint::black_box(stream.stats());
                    }
                    std::hint::black_box(stream.finish());
                    // Every one of these ends before its answer does.
                    Outcome::Done
                }
            })?;
        }
    }
    Ok(())
}

impl<W: Write> Table<W> {
    /// Measures one operation at every size. `prepare` makes the input, which is not counted.
    fn line<R: FnMut() -> Outcome>(
        &mut self,
        name: &str,
        mut prepare: impl FnMut(usize) -> R,
    ) -> Result<(), Box<dyn Error>> {
        if self.filter.as_ref().is_some_and(|filter| !name.contains(filter.as_str())) {
            return Ok(());
        }
        write!(self.out, "{name:<60}")?;
        let mut costs = Vec::new();
        for size in SIZES {
            let (cost, outcome) = measure(prepare(size), size);
            let mark = if outcome == Outcome::Refused { "!" } else { "" };
            write!(self.out, "{:>11}", format!("{mark}{cost:.2}"))?;
            costs.push(cost);
        }
        let growth = costs.last().zip(costs.first()).map_or(1.0, |(last, first)| last / first.max(0.01));
        self.steep += usize::from(growth > FLAT);
        writeln!(self.out, "{growth:>8.1}{}", if growth > FLAT { " <<" } else { "" })?;
        self.out.flush()?;
        Ok(())
    }
}
