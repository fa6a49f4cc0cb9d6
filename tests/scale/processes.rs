//! The operator and the data planes as processes, and what the system says of them.

use std::{fs, net::TcpListener, path::Path, process::ExitCode, time::Duration};

use clap::Parser;
use routeapi_operator::{app, settings::Settings};
use routeapi_tests::process::{Child, Program};

/// First arguments of this program.
pub const OPERATOR: &str = "scale-operator";
pub const GATEWAY: &str = "scale-gateway";

#[derive(Parser)]
struct Flags {
    #[command(flatten)]
    settings: Settings,
}

/// Runs the operator until SIGTERM, as its program does.
pub fn operator(args: &[String]) -> ExitCode {
    let settings = Flags::parse_from(args).settings;
    let _log = routeapi_operator::telemetry::start_logs(&"info".parse().unwrap()).unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()).unwrap();
        let client = kube::Client::try_default().await.unwrap();
        app::run(settings, client, async move {
            terminate.recv().await;
        })
        .await
        .unwrap();
    });
    runtime.shutdown_timeout(Duration::from_millis(500));
    ExitCode::SUCCESS
}

/// This program again.
pub fn again(role: &str, log: &Path) -> Program {
    Program::new(std::env::current_exe().unwrap(), log).args([role])
}

/// A port that nobody has at the moment.
pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// Resident memory in MiB.
pub fn resident(process: &Child) -> f64 {
    let status = fs::read_to_string(format!("/proc/{}/status", process.id())).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or_default();
    line.trim().trim_end_matches(" kB").parse::<f64>().unwrap_or(f64::NAN) / 1024.0
}

/// CPU time so far.
pub fn cpu(process: &Child) -> Duration {
    let stat = fs::read_to_string(format!("/proc/{}/stat", process.id())).unwrap_or_default();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |at: usize| fields.get(at).and_then(|ticks| ticks.parse::<u64>().ok()).unwrap_or_default();
    Duration::from_millis((ticks(11) + ticks(12)) * 10)
}

/// The machine's load, to be printed beside a figure.
pub fn load() -> String {
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let cpus = std::thread::available_parallelism().map_or(0, usize::from);
    format!("load {} on {cpus} CPUs", load.split_whitespace().next().unwrap_or("?"))
}

/// Prints a figure.
pub fn figure(what: &str, value: impl std::fmt::Display) {
    println!("figure: scale: {what}: {value} [{}]", load());
}

/// Median, 99th percentile and maximum.
pub fn spread(mut times: Vec<Duration>) -> String {
    times.sort();
    let at = |share: f64| {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss,
            reason = "an index"
        )]
        let index = ((times.len() - 1) as f64 * share).round() as usize;
        format!("{:.1} ms", times[index].as_secs_f64() * 1e3)
    };
    format!("p50 {}, p99 {}, max {} (n = {})", at(0.5), at(0.99), at(1.0), times.len())
}
