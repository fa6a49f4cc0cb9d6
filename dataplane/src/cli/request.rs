//! `routeapi request ID`: the story of one request, as the ledger of `run` has it.

use std::{
    fmt::Write as _,
    io::{self, Write},
    process::ExitCode,
};

use anyhow::bail;
use clap::Args as ClapArgs;
use jiff::Timestamp;
use routeapi_ledger::{Attempt, Entry, Request, Tokens};
use routeapi_metering::{Outcome, UsageSource};

use super::{
    ledger::LedgerFile,
    table::{decimal, thousands},
};
use crate::request::printable;

const EXAMPLES: &str = "\
Examples:
  routeapi request 5f0c9a4be2d14f6c8f7d3b1a90e2c4d6
  routeapi request 5f0c9a4be2d14f6c8f7d3b1a90e2c4d6 --json

The ID is in the header x-routeapi-request-id of every response, and in the access log.";

/// Most characters of a text from the ledger.
const MAX_CHARS: usize = 600;

/// What `request` takes.
#[derive(Debug, ClapArgs)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// The request's ID.
    #[arg(value_name = "ID")]
    id: String,
    /// Print the usage record as JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    ledger: LedgerFile,
}

/// Prints what became of a request.
pub(super) fn request(args: &Args) -> anyhow::Result<ExitCode> {
    let reader = args.ledger.open()?;
    let Some(request) = reader.request(args.id.trim())? else {
        bail!(
            "the ledger has no request {}: it may be older than --ledger-retention, or of another gateway",
            printable(&args.id, MAX_CHARS)
        );
    };
    let mut out = io::stdout().lock();
    if args.json {
        out.write_all(&Entry::Request(request).to_json()?)?;
        writeln!(out)?;
    } else {
        story(&request).iter().try_for_each(|line| writeln!(out, "{}", printable(line, MAX_CHARS)))?;
    }
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}

/// What became of it, line by line.
fn story(request: &Request) -> Vec<String> {
    let mut lines = vec![format!("request {}", request.id), ended(request)];
    let mut fact = |name: &str, value: Option<String>| {
        lines.extend(value.map(|value| format!("  {name:<10} {value}")));
    };
    let arrived = Timestamp::from_millisecond(request.time_unix_ms);
    fact("arrived", arrived.ok().map(|time| time.to_string()));
    let key = request.key_id.as_ref().map_or(String::new(), |key| format!(" (key {key})"));
    fact("token", request.token.as_ref().map(|token| format!("{token}{key}")));
    fact("session", request.session.clone());
    fact("trace", request.trace_id.clone());
    let streamed = if request.stream { ", streamed" } else { "" };
    fact("operation", request.operation.as_ref().map(|operation| format!("{operation}{streamed}")));
    fact("model", request.model.clone());
    fact("route", request.route.clone());
    let served = request.served.as_ref();
    fact("served by", served.map(|by| format!("{}, upstream {}, model {}", by.provider, by.upstream, by.model)));
    for warning in &request.warnings {
        fact("changed", Some(warning.clone()));
    }
    fact("tokens", Some(used(&request.tokens, request.usage_source)));
    fact("cost", Some(format!("{} {}", decimal(request.cost_nano, 2), request.currency)));
    if !request.attempts.is_empty() {
        lines.push("attempts".to_owned());
    }
    for (at, attempt) in request.attempts.iter().enumerate() {
        lines.extend(told(at + 1, attempt, &request.currency));
    }
    lines
}

/// How it ended, in a line.
fn ended(request: &Request) -> String {
    let outcome = match request.outcome {
        Outcome::Completed => "completed",
        Outcome::ClientCancelled => "cancelled by the client",
        Outcome::UpstreamFailed => "failed at the upstream",
        Outcome::LimitStopped => "stopped by a limit or an invalid token",
        Outcome::GatewayStopped => "stopped by the gateway",
    };
    let mut line = match request.status {
        0 => format!("{outcome} before a status was sent"),
        status => format!("{outcome}, status {status}"),
    };
    let _ = write!(line, ", after {} ms", thousands(request.duration_ms)); // a String takes everything
    if let Some(first) = request.first_content_ms {
        let _ = write!(line, ", first content after {} ms", thousands(first));
    }
    for why in [&request.error, &request.message].into_iter().flatten() {
        let _ = write!(line, ": {why}");
    }
    line
}

fn told(position: usize, attempt: &Attempt, currency: &str) -> Vec<String> {
    let Attempt { upstream, provider, model, status, error, duration_ms, tokens, usage_source, cost_nano, price } =
        attempt;
    let answered = status.map_or("no answer".to_owned(), |status| format!("status {status}"));
    let became = error.as_deref().unwrap_or("served");
    let cost = match price {
        Some(price) => format!("{} {currency} at {}", decimal(*cost_nano, 2), price.id),
        None => "no price".to_owned(),
    };
    vec![
        format!("  {position}. {upstream} ({provider}), model {model}"),
        format!("     {became}, {answered}, after {} ms", thousands(*duration_ms)),
        format!("     {}; {cost}", used(tokens, *usage_source)),
    ]
}

/// What was used, in words.
fn used(tokens: &Tokens, source: UsageSource) -> String {
    let source = match source {
        UsageSource::Reported => "reported by the upstream",
        UsageSource::Counted => "counted from what was delivered",
        UsageSource::Estimated => "estimated",
        UsageSource::None => return "none used".to_owned(),
    };
    let part = |count: Option<u64>, what: &str| {
        count.filter(|count| *count > 0).map(|count| format!("{} {what}", thousands(count)))
    };
    let inside = |parts: [Option<String>; 2]| {
        let parts: Vec<_> = parts.into_iter().flatten().collect();
        if parts.is_empty() { String::new() } else { format!(" ({})", parts.join(", ")) }
    };
    let input = inside([part(tokens.cache_read, "read from a cache"), part(tokens.cache_write, "written to a cache")]);
    let output = inside([part(tokens.reasoning, "reasoning"), None]);
    let count = |count: Option<u64>| thousands(count.unwrap_or(0));
    format!("{} input{input}, {} output{output}, {source}", count(tokens.input), count(tokens.output))
}

#[cfg(test)]
mod tests {
    use routeapi_ledger::PriceUsed;

    use super::*;

    fn attempt(upstream: &str, error: Option<&str>) -> Attempt {
        Attempt {
            upstream: upstream.to_owned(),
            provider: "ai/p".to_owned(),
            model: "gpt-x".to_owned(),
            status: Some(if error.is_some() { 500 } else { 200 }),
            error: error.map(str::to_owned),
            duration_ms: 1_234,
            tokens: Tokens { input: Some(95), cache_read: Some(80), output: Some(10), ..Tokens::default() },
            usage_source: if error.is_some() { UsageSource::None } else { UsageSource::Reported },
            cost_nano: 99,
            price: Some(PriceUsed {
                id: "manifest:ai/p/b#1".to_owned(),
                input: 1,
                cache_read: 1,
                cache_write: 1,
                output: 1,
            }),
        }
    }

    #[test]
    fn story_names_each_attempt_and_why_it_failed() {
        let request = Request {
            id: "r1".to_owned(),
            time_unix_ms: 0,
            duration_ms: 2_000,
            first_content_ms: Some(300),
            trace_id: None,
            namespace: Some("apps".to_owned()),
            token: Some("apps/chat".to_owned()),
            key_id: None,
            session: None,
            route: Some("apps/m".to_owned()),
            operation: Some("chat_completions".to_owned()),
            stream: true,
            model: Some("m\u{1b}[2J".to_owned()),
            served: None,
            status: 200,
            outcome: Outcome::Completed,
            error: None,
            message: None,
            tokens: Tokens::default(),
            usage_source: UsageSource::Reported,
            cost_nano: 99,
            currency: "USD".to_owned(),
            warnings: vec!["dropped;field=seed".to_owned()],
            attempts: vec![attempt("a", Some("server_error")), attempt("b", None)],
        };
        let told = story(&request).join("\n");
        for part in [
            "completed, status 200, after 2,000 ms, first content after 300 ms",
            "changed    dropped;field=seed",
            "1. a (ai/p), model gpt-x\n     server_error, status 500, after 1,234 ms\n     none used",
            "95 input (80 read from a cache), 10 output, reported by the upstream; 0.000000099 USD at manifest:ai/p/b#1",
        ] {
            assert!(told.contains(part), "{part}:\n{told}");
        }
    }
}
