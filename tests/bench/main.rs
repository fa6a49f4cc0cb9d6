//! Prints what the gateway costs, beside nginx and a bare hyper proxy measured in the same run: CPU per request and per
//! chunk, memory at rest, size and start; and what a sidecar costs. It prints and never judges: a noisy machine must not fail a change.
//!
//! Every program under test is a process of its own on CPU 1; load and mock share CPU 0. Blocks of requests go through
//! each in turn, several rounds, so that a drift of the machine hits all alike; medians are printed.

mod bare;
mod instructions;
mod load;
mod lookups;
mod mock;
mod process;
mod report;
mod sidecar;
mod subject;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(about = "What the gateway costs, beside nginx and a bare proxy")]
struct Cli {
    #[command(subcommand)]
    part: Part,
}

#[derive(Subcommand)]
enum Part {
    /// Measure everything and print the table.
    Run(report::Plan),
    /// Count instructions and allocations per request; needs valgrind.
    Instructions(instructions::Plan),
    /// Measure what a sidecar costs beside calling its gateway.
    Sidecar(sidecar::Plan),
    /// Measure how long the route of a model id takes to find.
    Lookups,
    /// (internal) The upstream: pre-rendered answers, as cheap as possible.
    Mock,
    /// (internal) A proxy of hyper alone: the floor.
    Bare {
        /// Where to send everything.
        upstream: String,
    },
}

fn main() -> anyhow::Result<()> {
    let runtime = |threads| tokio::runtime::Builder::new_multi_thread().worker_threads(threads).enable_all().build();
    match Cli::parse().part {
        Part::Run(plan) => runtime(1)?.block_on(report::run(&plan)),
        Part::Instructions(plan) => runtime(1)?.block_on(instructions::run(&plan)),
        Part::Sidecar(plan) => sidecar::run(&plan),
        Part::Lookups => lookups::run(),
        Part::Mock => runtime(1)?.block_on(mock::serve()),
        Part::Bare { upstream } => runtime(1)?.block_on(bare::serve(&upstream)),
    }
}
