//! `routeapi usage`: what was used, by whom, and what it cost, as the ledger of `run` has it.

use std::{
    io::{self, Write},
    process::ExitCode,
};

use clap::{Args as ClapArgs, ValueEnum};
use jiff::Timestamp;
use routeapi_ledger::query::{By, Gaps, Sums};
use serde_json::json;

use super::{
    ledger::LedgerFile,
    options::duration,
    table::{Table, bar, csv, decimal, thousands},
};
use crate::clock;

const EXAMPLES: &str = "\
Examples:
  routeapi usage
  routeapi usage --since 30d --by team
  routeapi usage --since 7d --by day --csv

Reads the ledger that `routeapi run` writes; it may be running. Input tokens include those read from and written to caches,
output tokens include reasoning. Days are in UTC. A team is the namespace of an ApiToken.";

/// Characters of the longest bar.
const BAR: u64 = 24;

/// Digits of money in the table at least.
const MONEY_DIGITS: usize = 4;

/// What `usage` takes.
#[derive(Debug, ClapArgs)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// How far back: 30m, 24h, 7d.
    #[arg(long, value_name = "DURATION", default_value = "24h", value_parser = since)]
    since: i64,
    /// What to sum up by.
    #[arg(long, value_enum, default_value_t = Group::Token)]
    by: Group,
    /// Print comma-separated values.
    #[arg(long, conflicts_with = "json")]
    csv: bool,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    ledger: LedgerFile,
}

/// What sums are by.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Group {
    Token,
    Team,
    Model,
    Upstream,
    Day,
}

/// Prints what was used.
pub(super) fn usage(args: &Args) -> anyhow::Result<ExitCode> {
    let reader = args.ledger.open()?;
    let since = clock::now().unix_ms.saturating_sub(args.since);
    let rows = reader.usage(since, args.by.by())?;
    let gaps = reader.gaps(since)?;
    let since = Timestamp::from_millisecond(since)?;
    let mut out = io::stdout().lock();
    if args.json {
        let gaps: Vec<_> =
            gaps.iter().map(|gap| json!({"reason": gap.reason, "gaps": gap.count, "lost": gap.lost})).collect();
        let all = json!({"since": since.to_string(), "by": args.by.name(), "rows": rows, "gaps": gaps});
        serde_json::to_writer_pretty(&mut out, &all)?;
        writeln!(out)?;
    } else if args.csv {
        out.write_all(as_csv(args.by, &rows).as_bytes())?;
        tell_gaps(&mut io::stderr().lock(), &gaps)?;
    } else {
        writeln!(out, "usage since {}, by {}\n", since.strftime("%Y-%m-%d %H:%M UTC"), args.by.name())?;
        as_table(args.by, &rows).iter().try_for_each(|line| writeln!(out, "{line}"))?;
        tell_gaps(&mut out, &gaps)?;
    }
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}

impl Group {
    fn by(self) -> By {
        match self {
            Self::Token => By::Token,
            Self::Team => By::Team,
            Self::Model => By::Model,
            Self::Upstream => By::Upstream,
            Self::Day => By::Day,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Token => "token",
            Self::Team => "team",
            Self::Model => "model",
            Self::Upstream => "upstream",
            Self::Day => "day",
        }
    }
}

/// Rows with a bar for the share of money, or of tokens where nothing has a price, and the sum of all.
fn as_table(by: Group, rows: &[Sums]) -> Vec<String> {
    if rows.is_empty() {
        return vec!["nothing was used".to_owned()];
    }
    let mut table = Table::default();
    let head = [by.name(), "requests", "failed", "input", "cached", "output", "cost", ""];
    table.row(head.map(str::to_owned));
    rows.iter().for_each(|row| table.row(cells(row, by)));
    for total in totals(rows) {
        table.row(cells(&total, by));
    }
    let has_price = rows.iter().any(|row| row.cost_nano > 0);
    let weight = |row: &Sums| {
        if has_price { row.cost_nano } else { row.input_tokens.saturating_add(row.output_tokens) }
    };
    let most = rows.iter().map(weight).max().unwrap_or(0);
    let mut lines = table.lines();
    for (line, row) in lines.iter_mut().skip(1).zip(rows) {
        let bar = bar(weight(row), most, BAR);
        *line = format!("{line}  {bar}").trim_end().to_owned();
    }
    lines
}

fn cells(row: &Sums, by: Group) -> [String; 8] {
    let key = if row.key.is_empty() { format!("(no {})", by.name()) } else { row.key.clone() };
    [
        key,
        thousands(row.requests),
        thousands(row.failed),
        thousands(row.input_tokens),
        thousands(row.cache_read_tokens),
        thousands(row.output_tokens),
        decimal(row.cost_nano, MONEY_DIGITS),
        row.currency.clone(),
    ]
}

/// One row for each currency.
fn totals(rows: &[Sums]) -> Vec<Sums> {
    let mut totals: Vec<Sums> = Vec::new();
    for row in rows {
        match totals.iter_mut().find(|total| total.currency == row.currency) {
            None => totals.push(Sums { key: "total".to_owned(), ..row.clone() }),
            Some(total) => {
                total.requests = total.requests.saturating_add(row.requests);
                total.failed = total.failed.saturating_add(row.failed);
                total.input_tokens = total.input_tokens.saturating_add(row.input_tokens);
                total.cache_read_tokens = total.cache_read_tokens.saturating_add(row.cache_read_tokens);
                total.output_tokens = total.output_tokens.saturating_add(row.output_tokens);
                total.cost_nano = total.cost_nano.saturating_add(row.cost_nano);
            }
        }
    }
    totals
}

fn as_csv(by: Group, rows: &[Sums]) -> String {
    let names = [
        by.name(),
        "requests",
        "failed",
        "attempts",
        "input_tokens",
        "cache_read_tokens",
        "cache_write_tokens",
        "output_tokens",
        "reasoning_tokens",
        "cost",
        "currency",
    ];
    let mut out = csv(&names.map(str::to_owned));
    for row in rows {
        out.push_str(&csv(&[
            row.key.clone(),
            row.requests.to_string(),
            row.failed.to_string(),
            row.attempts.to_string(),
            row.input_tokens.to_string(),
            row.cache_read_tokens.to_string(),
            row.cache_write_tokens.to_string(),
            row.output_tokens.to_string(),
            row.reasoning_tokens.to_string(),
            decimal(row.cost_nano, 0),
            row.currency.clone(),
        ]));
    }
    out
}

fn tell_gaps(out: &mut impl Write, gaps: &[Gaps]) -> io::Result<()> {
    for gap in gaps {
        let Gaps { reason, count, lost, at_least } = gap;
        match gap.is_certain() {
            true => {
                let least = if *at_least { "at least " } else { "" };
                writeln!(out, "warning: {least}{lost} requests are missing ({reason}, {count} times)")?;
            }
            false => writeln!(out, "note: the gateway was killed {count} times; its last requests may be missing")?,
        }
    }
    Ok(())
}

/// A duration in milliseconds, in days as well.
fn since(text: &str) -> Result<i64, String> {
    let most = i64::MAX / 4;
    if let Some(days) = text.strip_suffix('d').and_then(|days| days.parse::<i64>().ok()) {
        return Ok(days.max(0).saturating_mul(86_400_000).min(most));
    }
    let duration = duration(text).map_err(|error| format!("{error}; or a number of days, such as 7d"))?;
    Ok(i64::try_from(duration.as_millis()).unwrap_or(most).min(most))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(key: &str, cost_nano: u64) -> Sums {
        Sums {
            key: key.to_owned(),
            requests: 1_200,
            failed: 3,
            attempts: 1_300,
            input_tokens: 50_000,
            cache_read_tokens: 10,
            cache_write_tokens: 0,
            output_tokens: 700,
            reasoning_tokens: 0,
            cost_nano,
            currency: "USD".to_owned(),
        }
    }

    #[test]
    fn table_has_bars_and_a_total() {
        let lines = as_table(Group::Token, &[row("apps/a", 2_000_000_000), row("", 500_000_000)]);
        assert!(lines[1].starts_with("apps/a ") && lines[1].ends_with(&"█".repeat(24)), "{lines:#?}");
        assert!(lines[2].starts_with("(no token)") && lines[2].ends_with(&"█".repeat(6)), "{lines:#?}");
        assert!(lines[3].contains("2,400") && lines[3].contains("2.5000"), "{lines:#?}");
    }

    #[test]
    fn names_of_tenants_stay_text() {
        let csv = as_csv(Group::Model, &[row("=cmd()", 1)]);
        assert!(csv.contains("\r\n\"'=cmd()\",1200,3,1300,50000,10,0,700,0,0.000000001,USD\r\n"), "{csv}");
        let lines = as_table(Group::Model, &[row("\u{1b}]0;x\u{7}", 1)]);
        assert!(lines.iter().all(|line| !line.contains(char::is_control)), "{lines:?}");
    }

    #[test]
    fn days_are_durations_too() {
        assert_eq!((since("7d"), since("90m")), (Ok(7 * 86_400_000), Ok(5_400_000)));
        assert!(since("99999999999999999d").is_ok() && since("soon").is_err());
    }
}
