//! Rounds over all subjects, and the table.

use std::{
    io::Write,
    path::{Path, PathBuf},
    time::Duration,
};

use crate::{
    load::{self, Workload},
    process::Process,
    subject::{self, Subject},
};

/// How much to measure.
#[derive(clap::Args)]
pub struct Plan {
    /// The `routeapi` binary, built with `--release` for figures worth quoting.
    #[arg(long, default_value = "target/release/routeapi")]
    routeapi: PathBuf,
    /// Rounds over all subjects; medians are printed.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Whole requests per round.
    #[arg(long, default_value_t = 10_000)]
    requests: u64,
    /// Streams per round.
    #[arg(long, default_value_t = 160)]
    streams: u64,
}

const LOAD_CPU: u32 = 0;
const CHUNKS: u64 = 200;
const CONNECTIONS: u64 = 8;
const STREAM_CONNECTIONS: u64 = 32;

/// One subject's figures, one per round.
#[derive(Default)]
struct Figures {
    cpu_per_request: Vec<f64>,
    cpu_per_chunk: Vec<f64>,
    p50: Vec<f64>,
    p99: Vec<f64>,
    idle_kib: u64,
    start: Duration,
    failures: u64,
}

/// Measures and prints.
pub async fn run(plan: &Plan) -> anyhow::Result<()> {
    let mock = Process::start(LOAD_CPU, &std::env::current_exe()?, &["mock"])?;
    let subjects = [
        subject::direct(&mock),
        subject::nginx(&mock)?,
        subject::bare(&mock)?,
        subject::routeapi("routeapi, Chat passthrough", (&plan.routeapi, &[]), &mock, false)?,
        subject::routeapi("routeapi, Chat to Messages", (&plan.routeapi, &[]), &mock, true)?,
    ];
    let mut figures: Vec<Figures> = Vec::new();
    for subject in &subjects {
        let mut figure = Figures::default();
        if let Some(process) = &subject.process {
            figure.idle_kib = process.resident_kib()?;
            figure.start = process.started_in;
        }
        measure(subject, 500, 32, &mut figure).await?; // warm-up, thrown away
        figures.push(Figures { idle_kib: figure.idle_kib, start: figure.start, ..Figures::default() });
    }
    for _ in 0..plan.rounds {
        for (subject, figure) in subjects.iter().zip(&mut figures) {
            measure(subject, plan.requests, plan.streams, figure).await?;
        }
    }
    print(plan, &subjects, &figures)
}

async fn measure(subject: &Subject, requests: u64, streams: u64, figures: &mut Figures) -> anyhow::Result<()> {
    let whole = Workload {
        url: subject.url.clone(),
        token: subject.token.clone(),
        model: "whole".to_owned(),
        stream: false,
        requests,
        connections: CONNECTIONS,
    };
    let (cpu, outcome) = cpu_of(subject, &whole).await?;
    figures.cpu_per_request.push(cpu / requests as f64);
    figures.p50.push(outcome.latency.value_at_quantile(0.5) as f64);
    figures.p99.push(outcome.latency.value_at_quantile(0.99) as f64);
    figures.failures += outcome.failures;
    // The slope between short and long streams: set-up and tear-down of a stream cancel out.
    let stream = |chunks: u64| Workload {
        model: format!("chunks-{chunks}"),
        stream: true,
        requests: streams,
        connections: STREAM_CONNECTIONS,
        ..whole.clone()
    };
    let (short, first) = cpu_of(subject, &stream(1)).await?;
    let (long, second) = cpu_of(subject, &stream(CHUNKS + 1)).await?;
    figures.cpu_per_chunk.push((long - short) / (streams * CHUNKS) as f64);
    figures.failures += first.failures + second.failures;
    Ok(())
}

/// CPU microseconds that the subject spent on a workload.
async fn cpu_of(subject: &Subject, workload: &Workload) -> anyhow::Result<(f64, load::Outcome)> {
    let read = || subject.process.as_ref().map_or(Ok(Duration::ZERO), Process::cpu);
    let before = read()?;
    let outcome = load::run(workload).await?;
    Ok(((read()?.saturating_sub(before)).as_secs_f64() * 1e6, outcome))
}

fn print(plan: &Plan, subjects: &[Subject], figures: &[Figures]) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(
        out,
        "rounds {}, per round {} requests at {CONNECTIONS} connections and {} streams of {CHUNKS} chunks at {STREAM_CONNECTIONS}; medians",
        plan.rounds, plan.requests, plan.streams
    )?;
    writeln!(out, "one CPU for the subject, one for load and mock; CPU time is the kernel's, per process tree\n")?;
    writeln!(
        out,
        "{:<28} {:>12} {:>8} {:>10} {:>8} {:>9} {:>9} {:>9} {:>9} {:>6}",
        "", "µs CPU/req", "×nginx", "µs/chunk", "×nginx", "p50 µs", "p99 µs", "idle MiB", "start ms", "failed"
    )?;
    let nginx = figures.get(1).map(|nginx| (median(&nginx.cpu_per_request), median(&nginx.cpu_per_chunk)));
    let (nginx_request, nginx_chunk) = nginx.unwrap_or((f64::NAN, f64::NAN));
    for (subject, figure) in subjects.iter().zip(figures) {
        let (request, chunk) = (median(&figure.cpu_per_request), median(&figure.cpu_per_chunk));
        writeln!(
            out,
            "{:<28} {:>12.1} {:>8.2} {:>10.2} {:>8.2} {:>9.0} {:>9.0} {:>9.1} {:>9.0} {:>6}",
            subject.name,
            request,
            request / nginx_request,
            chunk,
            chunk / nginx_chunk,
            median(&figure.p50),
            median(&figure.p99),
            figure.idle_kib as f64 / 1024.0,
            figure.start.as_secs_f64() * 1e3,
            figure.failures,
        )?;
    }
    writeln!(out, "\nbinary {}: {:.1} MiB", plan.routeapi.display(), size(&plan.routeapi)?)?;
    Ok(())
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
}

fn size(file: &Path) -> anyhow::Result<f64> {
    Ok(std::fs::metadata(file)?.len() as f64 / f64::from(1 << 20))
}
