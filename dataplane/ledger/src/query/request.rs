//! One request, read back into the schema in which it was written.

use rusqlite::{Connection, OptionalExtension, Row, types::Type};
use serde::de::DeserializeOwned;

use crate::{
    entry::{Attempt, PriceUsed, Request, Served, Tokens},
    sqlite::SqliteError,
};

const ATTEMPTS: &str = "
SELECT a.*, p.input_nano, p.cache_read_nano, p.cache_write_nano, p.output_nano
FROM attempts a LEFT JOIN prices p ON p.id = a.price
WHERE a.request = ?1 ORDER BY a.position";

/// The request with this id.
pub(super) fn find(from: &Connection, id: &str) -> Result<Option<Request>, SqliteError> {
    let found = from
        .query_row("SELECT * FROM requests WHERE id = ?1", [id], |row| Ok((row.get::<_, i64>("row")?, request(row)?)))
        .optional()?;
    let Some((row, mut request)) = found else { return Ok(None) };
    let mut statement = from.prepare(ATTEMPTS)?;
    request.attempts = statement.query_map([row], attempt)?.collect::<Result<_, _>>()?;
    Ok(Some(request))
}

fn request(row: &Row<'_>) -> rusqlite::Result<Request> {
    let upstream: Option<String> = row.get("upstream")?;
    let served = upstream.map(|upstream| {
        Ok::<_, rusqlite::Error>(Served {
            upstream,
            provider: row.get::<_, Option<_>>("provider")?.unwrap_or_default(),
            model: row.get::<_, Option<_>>("served_model")?.unwrap_or_default(),
        })
    });
    let warnings: Option<String> = row.get("warnings")?;
    Ok(Request {
        id: row.get("id")?,
        time_unix_ms: row.get("time_ms")?,
        duration_ms: row.get("duration_ms")?,
        first_content_ms: row.get("first_content_ms")?,
        trace_id: row.get("trace_id")?,
        namespace: row.get("namespace")?,
        token: row.get("token")?,
        key_id: row.get("key_id")?,
        session: row.get("session")?,
        route: row.get("route")?,
        operation: row.get("operation")?,
        stream: row.get("stream")?,
        model: row.get("model")?,
        served: served.transpose()?,
        status: row.get("status")?,
        outcome: word(row, "outcome")?,
        error: row.get("error")?,
        message: row.get("message")?,
        tokens: tokens(row)?,
        usage_source: word(row, "usage_source")?,
        cost_nano: row.get("cost_nano")?,
        currency: row.get("currency")?,
        warnings: warnings.and_then(|list| serde_json::from_str(&list).ok()).unwrap_or_default(),
        attempts: Vec::new(),
    })
}

fn attempt(row: &Row<'_>) -> rusqlite::Result<Attempt> {
    let price: Option<String> = row.get("price")?;
    let price = price.map(|id| {
        Ok::<_, rusqlite::Error>(PriceUsed {
            id,
            input: row.get("input_nano")?,
            cache_read: row.get("cache_read_nano")?,
            cache_write: row.get("cache_write_nano")?,
            output: row.get("output_nano")?,
        })
    });
    Ok(Attempt {
        upstream: row.get("upstream")?,
        provider: row.get("provider")?,
        model: row.get("model")?,
        status: row.get("status")?,
        error: row.get("error")?,
        duration_ms: row.get("duration_ms")?,
        tokens: tokens(row)?,
        usage_source: word(row, "usage_source")?,
        cost_nano: row.get("cost_nano")?,
        price: price.transpose()?,
    })
}

fn tokens(row: &Row<'_>) -> rusqlite::Result<Tokens> {
    Ok(Tokens {
        input: row.get("input")?,
        cache_read: row.get("cache_read")?,
        cache_write: row.get("cache_write")?,
        output: row.get("output")?,
        reasoning: row.get("reasoning")?,
    })
}

/// A word of a closed set.
fn word<T: DeserializeOwned>(row: &Row<'_>, column: &str) -> rusqlite::Result<T> {
    let text: String = row.get(column)?;
    serde_json::from_value(serde_json::Value::String(text))
        .map_err(|error| rusqlite::Error::FromSqlConversionFailure(0, Type::Text, Box::new(error)))
}
