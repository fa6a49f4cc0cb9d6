//! The control plane at company size: a real etcd and kube-apiserver, the operator and data planes as processes of their own.
//! Prints figures with the machine's load beside them; asserts only rates that do not depend on how fast the machine is.
//!
//! `tests/run scale` runs the full size, `tests/run` a short form without restarts, many data planes and faults: the variable
//! ROUTEAPI_SCALE says `full` or `short`.
//!
//! The operator and the data planes are this program again, with another first argument: what they link is what the tests
//! were built with, and they have the allocator of the real programs.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "it stops at the first surprise, with the text of what went wrong, and prints figures"
)]

mod changes;
mod company;
mod faults;
mod filling;
mod ground;
mod planes;
mod processes;

use std::{process::ExitCode, time::Duration};

use clap::Parser;
use tikv_jemallocator::Jemalloc;

#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

/// How large the company is.
#[derive(Clone, Copy, Debug)]
pub struct Size {
    /// AIProviders.
    pub providers: usize,
    /// AIRoutes.
    pub routes: usize,
    /// ApiTokens.
    pub tokens: usize,
    /// Teams.
    pub namespaces: usize,
    /// Changes whose cost is measured.
    pub changes: usize,
    /// Simulated data planes.
    pub planes: usize,
    /// How long nothing is done, to count what the operator asks for meanwhile.
    pub idle: Duration,
    /// Whether restarts, many data planes and faults are part of it.
    pub all: bool,
}

const FULL: Size = Size {
    providers: 200,
    routes: 5_000,
    tokens: 10_000,
    namespaces: 50,
    changes: 100,
    planes: 500,
    idle: Duration::from_secs(60),
    all: true,
};
const SHORT: Size = Size {
    providers: 20,
    routes: 500,
    tokens: 1_000,
    namespaces: 5,
    changes: 20,
    planes: 20,
    idle: Duration::from_secs(5),
    all: false,
};

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().collect();
    match args.get(1).map(String::as_str) {
        Some(processes::OPERATOR) => return processes::operator(&args[1..]),
        Some(processes::GATEWAY) => {
            let serve = ["routeapi", "serve"].into_iter().chain(args[2..].iter().map(String::as_str));
            return routeapi_dataplane::cli::Cli::parse_from(serve).run();
        }
        // What `cargo test` asks of every test program.
        Some("--list") => return ExitCode::SUCCESS,
        _ => {}
    }
    let size = if std::env::var("ROUTEAPI_SCALE").is_ok_and(|size| size == "full") { FULL } else { SHORT };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(run(size));
    ExitCode::SUCCESS
}

async fn run(size: Size) {
    println!("figure: scale: {size:?}");
    let ground = ground::Ground::start(size).await;
    let mut company = company::Company::found(&ground).await;
    filling::routes(&mut company).await;
    filling::tokens(&mut company).await;
    changes::measure(&mut company).await;
    if !size.all {
        return;
    }
    changes::restart(&mut company).await;
    planes::measure(&mut company).await;
    faults::inflict(&mut company).await;
}
