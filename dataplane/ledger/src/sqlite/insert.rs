//! An entry becomes rows.

use routeapi_metering::{Outcome, UnixMillis};
use rusqlite::{Connection, named_params, params};
use serde::Serialize;

use crate::{
    entry::{Attempt, Entry, Gap, Request, Tokens},
    sink::Sunk,
};

/// Milliseconds of an hour.
pub(crate) const HOUR_MS: i64 = 3_600_000;

/// The largest number that is stored: sums of a thousand of them are still whole numbers, and JSON and spreadsheets know
/// it exactly.
const MOST: u64 = 1 << 53;

/// Writes an entry, unless it is there.
pub(super) fn insert(to: &Connection, entry: &Sunk, now: UnixMillis) -> rusqlite::Result<()> {
    match entry {
        Sunk::Entry(Entry::Request(request)) => insert_request(to, request),
        Sunk::Entry(Entry::Gap(gap)) => insert_gap(to, gap),
        Sunk::Unread { bytes, why } => {
            let sql = "INSERT OR IGNORE INTO unread (entry, time_ms, why) VALUES (?1, ?2, ?3)";
            to.prepare_cached(sql)?.execute(params![bytes, now, why]).map(drop)
        }
    }
}

const REQUEST: &str = "
INSERT OR IGNORE INTO requests (
    id, time_ms, duration_ms, first_content_ms, trace_id, namespace, token, key_id, session, route, operation, stream, model,
    provider, upstream, served_model, status, outcome, failed, error, message, input, cache_read, cache_write, output,
    reasoning, usage_source, cost_nano, currency, warnings
) VALUES (
    :id, :time_ms, :duration_ms, :first_content_ms, :trace_id, :namespace, :token, :key_id, :session, :route, :operation,
    :stream, :model, :provider, :upstream, :served_model, :status, :outcome, :failed, :error, :message, :input,
    :cache_read, :cache_write, :output, :reasoning, :usage_source, :cost_nano, :currency, :warnings
)";

fn insert_request(to: &Connection, request: &Request) -> rusqlite::Result<()> {
    let (served, tokens) = (request.served.as_ref(), request.tokens);
    let warnings = (!request.warnings.is_empty()).then(|| word(&request.warnings));
    let new = to.prepare_cached(REQUEST)?.execute(named_params! {
        ":id": request.id,
        ":time_ms": request.time_unix_ms,
        ":duration_ms": number(request.duration_ms),
        ":first_content_ms": request.first_content_ms.map(number),
        ":trace_id": request.trace_id,
        ":namespace": request.namespace,
        ":token": request.token,
        ":key_id": request.key_id,
        ":session": request.session,
        ":route": request.route,
        ":operation": request.operation,
        ":stream": request.stream,
        ":model": request.model,
        ":provider": served.map(|served| &served.provider),
        ":upstream": served.map(|served| &served.upstream),
        ":served_model": served.map(|served| &served.model),
        ":status": request.status,
        ":outcome": word(&request.outcome),
        ":failed": is_failed(request),
        ":error": request.error,
        ":message": request.message,
        ":input": tokens.input.map(number),
        ":cache_read": tokens.cache_read.map(number),
        ":cache_write": tokens.cache_write.map(number),
        ":output": tokens.output.map(number),
        ":reasoning": tokens.reasoning.map(number),
        ":usage_source": word(&request.usage_source),
        ":cost_nano": number(request.cost_nano),
        ":currency": request.currency,
        ":warnings": warnings,
    })?;
    if new == 0 {
        return Ok(());
    }
    let row = to.last_insert_rowid();
    for (position, attempt) in request.attempts.iter().enumerate() {
        insert_attempt(to, row, position, attempt, &request.currency)?;
    }
    add_to_hour(to, request)
}

const ATTEMPT: &str = "
INSERT INTO attempts (
    request, position, upstream, provider, model, status, error, duration_ms, input, cache_read, cache_write, output,
    reasoning, usage_source, cost_nano, price
) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16)";

const PRICE: &str = "
INSERT OR IGNORE INTO prices (id, currency, input_nano, cache_read_nano, cache_write_nano, output_nano)
VALUES (?1, ?2, ?3, ?4, ?5, ?6)";

fn insert_attempt(
    to: &Connection,
    row: i64,
    position: usize,
    attempt: &Attempt,
    currency: &str,
) -> rusqlite::Result<()> {
    let tokens = attempt.tokens;
    to.prepare_cached(ATTEMPT)?.execute(params![
        row,
        position,
        attempt.upstream,
        attempt.provider,
        attempt.model,
        attempt.status,
        attempt.error,
        number(attempt.duration_ms),
        tokens.input.map(number),
        tokens.cache_read.map(number),
        tokens.cache_write.map(number),
        tokens.output.map(number),
        tokens.reasoning.map(number),
        word(&attempt.usage_source),
        number(attempt.cost_nano),
        attempt.price.as_ref().map(|price| &price.id),
    ])?;
    if let Some(price) = &attempt.price {
        let [input, read, write, output] = [price.input, price.cache_read, price.cache_write, price.output].map(number);
        to.prepare_cached(PRICE)?.execute(params![price.id, currency, input, read, write, output])?;
    }
    Ok(())
}

const HOUR: &str = "
INSERT INTO hourly (
    hour, namespace, token, model, provider, upstream, currency, requests, failed, attempts, input, cache_read, cache_write,
    output, reasoning, cost_nano
) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16)
ON CONFLICT DO UPDATE SET
    requests = requests + excluded.requests,
    failed = failed + excluded.failed,
    attempts = attempts + excluded.attempts,
    input = min(1 << 53, input + excluded.input),
    cache_read = min(1 << 53, cache_read + excluded.cache_read),
    cache_write = min(1 << 53, cache_write + excluded.cache_write),
    output = min(1 << 53, output + excluded.output),
    reasoning = min(1 << 53, reasoning + excluded.reasoning),
    cost_nano = min(1 << 53, cost_nano + excluded.cost_nano)";

/// Adds a request to the sums of its hour: tokens and money where each attempt used them, the request itself where the last
/// attempt was made.
fn add_to_hour(to: &Connection, request: &Request) -> rusqlite::Result<()> {
    let mut statement = to.prepare_cached(HOUR)?;
    let hour = request.time_unix_ms.div_euclid(HOUR_MS);
    let failed = is_failed(request);
    let mut add = |provider: &str, upstream: &str, counts: [bool; 3], tokens: Tokens, cost: u64| {
        let [is_request, is_failed, is_attempt] = counts;
        let count = |tokens: Option<u64>| number(tokens.unwrap_or(0));
        statement.execute(params![
            hour,
            request.namespace.as_deref().unwrap_or_default(),
            request.token.as_deref().unwrap_or_default(),
            // Without a route, the model is whatever a client wrote.
            request.route.as_ref().and(request.model.as_deref()).unwrap_or_default(),
            provider,
            upstream,
            request.currency,
            is_request,
            is_failed,
            is_attempt,
            count(tokens.input),
            count(tokens.cache_read),
            count(tokens.cache_write),
            count(tokens.output),
            count(tokens.reasoning),
            number(cost),
        ])
    };
    let Some((last, others)) = request.attempts.split_last() else {
        return add("", "", [true, failed, false], request.tokens, request.cost_nano).map(drop);
    };
    for attempt in others {
        add(&attempt.provider, &attempt.upstream, [false, false, true], attempt.tokens, attempt.cost_nano)?;
    }
    add(&last.provider, &last.upstream, [true, failed, true], last.tokens, last.cost_nano).map(drop)
}

/// Whether the client did not get the answer it asked for, through no choice of its own.
fn is_failed(request: &Request) -> bool {
    match request.outcome {
        Outcome::Completed => request.status >= 400,
        Outcome::ClientCancelled => false,
        Outcome::UpstreamFailed | Outcome::LimitStopped | Outcome::GatewayStopped => true,
    }
}

fn insert_gap(to: &Connection, gap: &Gap) -> rusqlite::Result<()> {
    let sql = "INSERT OR IGNORE INTO gaps (id, time_ms, reason, lost, from_sequence, to_sequence, bytes)
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";
    let (lost, from, to_sequence) = (gap.lost.map(number), gap.from_sequence.map(number), gap.to_sequence.map(number));
    let mut statement = to.prepare_cached(sql)?;
    let row = params![gap.id, gap.time_unix_ms, gap.reason.as_str(), lost, from, to_sequence, number(gap.bytes)];
    statement.execute(row).map(drop)
}

/// A number that SQLite can hold and add up.
fn number(number: u64) -> i64 {
    i64::try_from(number.min(MOST)).unwrap_or(i64::MAX)
}

/// As it stands in JSON; a bare word without its quotes.
fn word(value: &impl Serialize) -> String {
    let text = serde_json::to_string(value).unwrap_or_default();
    text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).map_or(text.clone(), str::to_owned)
}
