//! Attacks on the gateway as a hostile tenant would make them, while an innocent one works.
//!
//! Each attack gets a gateway process of its own (`routeapi run`, as it is shipped) under a memory limit, a scripted
//! upstream, and an innocent client that sends requests at a steady rate to the same providers. Printed per attack: peak
//! memory, CPU seconds, the innocent's longest wait, its failures, and whether the ledgers balance.
//!
//! Judged: the process survives, no innocent request fails, the ledgers balance, and what the attack itself finds.
//! Wall-clock times are printed and never judged: a noisy machine must not fail a change.
//!
//! To add an attack, write a function and a line in [`attacks::ALL`].

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test program stops at the first surprise and prints what it found"
)]

mod attacks;
mod balance;
mod confine;
mod ground;
mod innocent;
mod wire;

use std::{path::PathBuf, process::ExitCode, time::Duration};

use anyhow::Result;
use clap::Parser;

use attacks::{ALL, Attack, Findings, Scale};
use ground::Ground;

#[derive(Parser)]
#[command(about = "Attack a gateway under a memory limit and see what an innocent tenant feels")]
struct Cli {
    /// The `routeapi` binary, optimised.
    #[arg(long)]
    routeapi: PathBuf,
    /// Memory limit in MiB.
    #[arg(long, default_value_t = 512)]
    memory: u64,
    /// Smaller numbers and no waiting: what a change has to pass.
    #[arg(long)]
    short: bool,
    /// Only attacks whose name contains one of these.
    only: Vec<String>,
}

/// Faults shown per attack.
const MOST_FAULTS: usize = 6;

/// What came of one attack.
struct Outcome {
    attack: &'static Attack,
    peak_mib: u64,
    cpu: Duration,
    innocent: innocent::Tally,
    findings: Findings,
}

#[tokio::main]
async fn main() -> ExitCode {
    let cli = Cli::parse();
    let scale = if cli.short { Scale::Short } else { Scale::Long };
    let wanted = |attack: &&Attack| {
        (scale == Scale::Long || attack.in_short)
            && (cli.only.is_empty() || cli.only.iter().any(|part| attack.name.contains(part.as_str())))
    };
    println!("{}", confine::describe(cli.memory));
    println!("{:<34} {:>8} {:>7} {:>9} {:>9}  verdict", "attack", "peak MiB", "CPU s", "wait ms", "innocents");
    let mut failed = 0;
    for attack in ALL.iter().filter(wanted) {
        match replay(&cli, scale, attack).await {
            Ok(outcome) => failed += u32::from(!print(&outcome)),
            Err(error) => {
                failed += 1;
                println!("{:<34} FAILED: {error:#}", attack.name);
            }
        }
    }
    println!("{failed} failed");
    ExitCode::from(u8::from(failed > 0))
}

async fn replay(cli: &Cli, scale: Scale, attack: &'static Attack) -> Result<Outcome> {
    let ground = Ground::start(&cli.routeapi, cli.memory << 20, &(attack.setup)(scale)).await?;
    let innocent = innocent::Innocent::start(&ground);
    let mut findings = (attack.run)(&ground, scale).await?;
    let mut innocent = innocent.stop().await;
    let (peak_mib, cpu) = (ground.peak_kib() >> 10, ground.cpu());
    if attack.ends {
        // The innocent lost its gateway, as it had to.
        innocent.failures.clear();
        return Ok(Outcome { attack, peak_mib, cpu, innocent, findings });
    }
    match ground.death() {
        Some(death) => findings.fault(death),
        None => findings.faults.extend(balance::check(&ground, &innocent).await),
    }
    Ok(Outcome { attack, peak_mib, cpu, innocent, findings })
}

/// Whether it passed.
fn print(outcome: &Outcome) -> bool {
    let Outcome { attack, peak_mib, cpu, innocent, findings } = outcome;
    let passed = findings.faults.is_empty() && innocent.failures.is_empty();
    let served = format!("{}/{}", innocent.sent - innocent.failures.len(), innocent.sent);
    println!(
        "{:<34} {peak_mib:>8} {:>7.2} {:>9} {served:>9}  {}",
        attack.name,
        cpu.as_secs_f64(),
        innocent.longest.as_millis(),
        if passed { "ok" } else { "FAILED" }
    );
    findings.notes.iter().for_each(|note| println!("    {note}"));
    let distinct: std::collections::BTreeSet<&String> = findings.faults.iter().collect();
    distinct.iter().take(MOST_FAULTS).for_each(|fault| println!("    FAULT {fault:.400}"));
    if distinct.len() > MOST_FAULTS {
        println!("    and {} more", distinct.len() - MOST_FAULTS);
    }
    innocent
        .failures
        .iter()
        .take(3)
        .for_each(|failure| println!("    FAULT an innocent request failed: {failure:.400}"));
    passed
}
