//! User instructions and allocations per request, counted by callgrind. Unlike time they hardly depend on neighbours, so
//! two versions of the gateway can be compared on a busy machine.
//!
//! One connection sends one request after the other. Counting begins after a warm-up, so that neither the start of the
//! process nor what it makes once is in the figures.

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, ensure};

use crate::{
    load::{self, Workload},
    process::Process,
    subject::{self, Subject},
};

/// What to count.
#[derive(clap::Args)]
pub struct Plan {
    /// The `routeapi` binary, optimised and with symbols (allocations are counted by the allocator's names).
    #[arg(long, default_value = "target/profiling/release/routeapi")]
    routeapi: PathBuf,
    /// Requests of each kind.
    #[arg(long, default_value_t = 300)]
    requests: u64,
    /// Where callgrind's files are left for `callgrind_annotate`.
    #[arg(long, default_value = "target/callgrind")]
    out: PathBuf,
}

/// Chunks of the long streams; the short ones have one.
const CHUNKS: u64 = 51;

/// What the allocator offers to Rust, and how often each is called counts as one allocation.
const ALLOCATORS: [&str; 5] = ["_rjem_malloc", "_rjem_mallocx", "_rjem_calloc", "_rjem_realloc", "_rjem_rallocx"];

/// Kinds of requests, in the order in which they are sent: model for the mock, and whether a stream is wanted.
const KINDS: [(&str, bool); 3] = [("whole", false), ("chunks-1", true), ("chunks-51", true)];

/// What some requests took.
#[derive(Clone, Copy, Default)]
struct Counts {
    instructions: u64,
    allocations: u64,
}

/// Counts and prints.
pub async fn run(plan: &Plan) -> anyhow::Result<()> {
    fs::create_dir_all(&plan.out)?;
    let mock = Process::start(0, &std::env::current_exe()?, &["mock"])?;
    let mut out = std::io::stdout().lock();
    writeln!(
        out,
        "instructions and allocations of user code, {} requests of each kind, one connection\n\n{:<16} {:>18} {:>18} {:>18}",
        plan.requests, "", "whole", "stream of 1 chunk", "each more chunk"
    )?;
    for (name, translate) in [("passthrough", false), ("Chat to Messages", true)] {
        let file = plan.out.join(name.replace(' ', "-").to_lowercase());
        let [whole, short, long] = count(plan, &file, &mock, translate).await?;
        let chunk = |short: u64, long: u64| long.saturating_sub(short) as f64 / (plan.requests * (CHUNKS - 1)) as f64;
        let request = |count: u64| count as f64 / plan.requests as f64;
        writeln!(
            out,
            "{name:<16} {:>10.0} {:>7.1} {:>10.0} {:>7.1} {:>10.0} {:>7.1}",
            request(whole.instructions),
            request(whole.allocations),
            request(short.instructions),
            request(short.allocations),
            chunk(short.instructions, long.instructions),
            chunk(short.allocations, long.allocations),
        )?;
    }
    writeln!(out, "\ncallgrind_annotate {}/…: a file per kind, in this order", plan.out.display())?;
    Ok(())
}

/// The counts of each kind of request, through a gateway of its own.
async fn count(plan: &Plan, file: &Path, mock: &Process, translate: bool) -> anyhow::Result<[Counts; 3]> {
    let option = format!("--callgrind-out-file={}", file.display());
    let routeapi = plan.routeapi.to_str().context("path")?;
    // Names in full: what one dump abbreviates, the next one does not explain again.
    let first = ["--tool=callgrind", "--instr-atstart=no", "--compress-strings=no", &option, routeapi];
    let subject = subject::routeapi("routeapi", (Path::new("valgrind"), &first), mock, translate)?;
    let process = subject.process.as_ref().context("no process")?;
    for kind in KINDS {
        send(&subject, kind, 20).await?;
    }
    control(process, "--instr=on")?;
    let mut counts = [Counts::default(); 3];
    for ((kind, counted), number) in KINDS.into_iter().zip(&mut counts).zip(1..) {
        send(&subject, kind, plan.requests).await?;
        // Sets all counters to zero.
        control(process, "--dump")?;
        let dump = format!("{}.{number}", file.display());
        *counted = read(&fs::read_to_string(&dump).with_context(|| format!("read {dump}"))?)?;
    }
    Ok(counts)
}

async fn send(subject: &Subject, (model, stream): (&str, bool), requests: u64) -> anyhow::Result<()> {
    let workload = Workload {
        url: subject.url.clone(),
        token: subject.token.clone(),
        model: model.to_owned(),
        stream,
        requests,
        connections: 1,
    };
    let outcome = load::run(&workload).await?;
    ensure!(outcome.failures == 0, "{} of {requests} requests failed", outcome.failures);
    Ok(())
}

/// Tells callgrind something.
fn control(process: &Process, what: &str) -> anyhow::Result<()> {
    let status = Command::new("callgrind_control")
        .args([what, &process.id().to_string()])
        .stdout(Stdio::null())
        .status()
        .context("start callgrind_control, which is part of valgrind")?;
    ensure!(status.success(), "callgrind_control: {status}");
    Ok(())
}

/// Sums up callgrind's file: its total, and the calls of the allocator by everybody but itself.
fn read(text: &str) -> anyhow::Result<Counts> {
    let mut counts = Counts::default();
    let (mut caller, mut callee) = ("", "");
    for line in text.lines() {
        if let Some(name) = line.strip_prefix("fn=") {
            caller = name;
        } else if let Some(name) = line.strip_prefix("cfn=") {
            callee = name;
        } else if let Some(calls) = line.strip_prefix("calls=") {
            let is_allocation = ALLOCATORS.contains(&callee) && !ALLOCATORS.contains(&caller);
            let calls = calls.split(' ').next().context("calls")?.parse::<u64>()?;
            counts.allocations += if is_allocation { calls } else { 0 };
        } else if let Some(total) = line.strip_prefix("totals: ") {
            counts.instructions += total.trim().parse::<u64>()?;
        }
    }
    ensure!(counts.instructions > 0, "callgrind has counted nothing");
    Ok(counts)
}
