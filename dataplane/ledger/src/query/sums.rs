//! Sums by what is asked for: from whole hours, and from single requests for the part of an hour at the beginning.

use routeapi_metering::{Nanos, UnixMillis};
use rusqlite::{Connection, Row, params};
use serde::Serialize;

use crate::sqlite::{HOUR_MS, SqliteError};

/// What sums are by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    /// ApiToken.
    Token,
    /// Namespace of the ApiToken.
    Team,
    /// Model as the client asked for it.
    Model,
    /// AIProvider, and the upstream's name in its route.
    Upstream,
    /// Day, UTC.
    Day,
}

/// What was used under one key in one currency.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Sums {
    /// The token, team, model, upstream or day; empty for requests that have none.
    pub key: String,
    /// Requests, counted where their last attempt was made.
    pub requests: u64,
    /// Of these, without the answer that was asked for.
    pub failed: u64,
    /// Attempts at upstreams.
    pub attempts: u64,
    /// Input tokens, caches included.
    pub input_tokens: u64,
    /// Of these, read from a cache.
    pub cache_read_tokens: u64,
    /// Of these, written to a cache.
    pub cache_write_tokens: u64,
    /// Output tokens, reasoning included.
    pub output_tokens: u64,
    /// Of these, reasoning.
    pub reasoning_tokens: u64,
    /// Money, in billionths of the currency.
    pub cost_nano: Nanos,
    /// ISO 4217.
    pub currency: String,
}

impl By {
    /// As an expression over the columns of `hourly`.
    fn key(self) -> &'static str {
        match self {
            Self::Token => "token",
            Self::Team => "namespace",
            Self::Model => "model",
            Self::Upstream => "CASE WHEN provider = '' THEN '' ELSE provider || ' ' || upstream END",
            Self::Day => "strftime('%Y-%m-%d', hour * 3600, 'unixepoch')",
        }
    }

    fn order(self) -> &'static str {
        match self {
            Self::Day => "key",
            Self::Token | Self::Team | Self::Model | Self::Upstream => "cost DESC, tokens DESC, requests DESC, key",
        }
    }
}

/// The hours that are whole, and the attempts of the one that is not, in the same columns.
const PARTS: &str = "
WITH parts AS (
    SELECT hour, namespace, token, model, provider, upstream, currency, requests, failed, attempts, input, cache_read,
        cache_write, output, reasoning, cost_nano
    FROM hourly WHERE hour >= ?1
    UNION ALL
    SELECT r.time_ms / 3600000, coalesce(r.namespace, ''), coalesce(r.token, ''),
        CASE WHEN r.route IS NULL THEN '' ELSE coalesce(r.model, '') END,
        coalesce(a.provider, ''), coalesce(a.upstream, ''), r.currency,
        a.position IS NULL OR a.position = last.position,
        r.failed AND (a.position IS NULL OR a.position = last.position),
        a.position IS NOT NULL,
        coalesce(a.input, 0), coalesce(a.cache_read, 0), coalesce(a.cache_write, 0), coalesce(a.output, 0),
        coalesce(a.reasoning, 0), coalesce(a.cost_nano, 0)
    FROM requests r
    LEFT JOIN attempts a ON a.request = r.row
    LEFT JOIN (SELECT request, max(position) AS position FROM attempts GROUP BY request) last ON last.request = r.row
    WHERE r.time_ms >= ?2 AND r.time_ms < ?3
)";

pub(super) fn usage(from: &Connection, since: UnixMillis, by: By) -> Result<Vec<Sums>, SqliteError> {
    let whole = since.div_euclid(HOUR_MS) + i64::from(since.rem_euclid(HOUR_MS) > 0);
    let (key, order) = (by.key(), by.order());
    let sql = format!(
        "{PARTS} SELECT {key} AS key, currency, sum(requests) AS requests, sum(failed), sum(attempts), sum(input),
             sum(cache_read), sum(cache_write), sum(output), sum(reasoning), sum(cost_nano) AS cost,
             sum(input) + sum(output) AS tokens
         FROM parts GROUP BY key, currency ORDER BY {order}"
    );
    let mut statement = from.prepare(&sql)?;
    let rows = statement.query_map(params![whole, since, whole.saturating_mul(HOUR_MS)], sums)?;
    Ok(rows.collect::<Result<_, _>>()?)
}

fn sums(row: &Row<'_>) -> rusqlite::Result<Sums> {
    Ok(Sums {
        key: row.get(0)?,
        currency: row.get(1)?,
        requests: row.get(2)?,
        failed: row.get(3)?,
        attempts: row.get(4)?,
        input_tokens: row.get(5)?,
        cache_read_tokens: row.get(6)?,
        cache_write_tokens: row.get(7)?,
        output_tokens: row.get(8)?,
        reasoning_tokens: row.get(9)?,
        cost_nano: row.get(10)?,
    })
}
