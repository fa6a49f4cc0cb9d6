//! `routeapi run`: a gateway on this machine.

use std::{io, net::SocketAddr, process::ExitCode, sync::Arc, time::Duration};

use clap::Args as ClapArgs;
use routeapi_channel::ObjectId;
use routeapi_process::{Background, Bounds, Log};

use super::{
    ledger::LedgerOptions,
    limit_store::LimitStoreOptions,
    manifests::{self, Manifests},
    options::{Clients, on_this_machine},
    output,
};
use crate::{
    app::{App, Files, Settings, ShutdownTimeouts, Source},
    config::local::{Loaded, problem::ManifestProblem, values::Values},
    upstream::Egress,
};

/// Nobody balances load onto a workstation.
const SHUTDOWN: ShutdownTimeouts =
    ShutdownTimeouts { delay: Duration::ZERO, timeout: Duration::from_secs(5), on_signals: true };

const EXAMPLES: &str = "\
Examples:
  routeapi run -f examples/quickstart.yaml
  OPENAI_API_KEY=sk-1 ANTHROPIC_API_KEY=sk-2 GEMINI_API_KEY=k3 \\
    routeapi run -f examples/multi-vendor --listen 8081 --admin 9091
  cat examples/quickstart.yaml | routeapi run -f -

Manifests are reloaded when they change. An invalid edit, or one that empties a file or removes all tokens, changes
nothing and prints why (see --allow-empty). Upstreams on this machine, such as http://localhost:11434/v1, are allowed. A
token's value comes from the key `token` of its Secret; without one, it is generated and printed. Values from Secrets are
never printed.
What was used is kept in a ledger on disk; `routeapi usage` and `routeapi request` read it.
HTTPS_PROXY, HTTP_PROXY, ALL_PROXY, NO_PROXY, SSL_CERT_FILE and SSL_CERT_DIR apply to upstreams.";

/// What `run` takes.
#[derive(Debug, ClapArgs)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    #[command(flatten)]
    manifests: Manifests,
    /// Address to serve on: ADDRESS:PORT, or a port of this machine.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8080", value_parser = on_this_machine)]
    listen: SocketAddr,
    /// Address of /metrics, /livez, /readyz and /config.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:9090", value_parser = on_this_machine)]
    admin: SocketAddr,
    /// Write one JSON line per request to standard error.
    #[arg(long)]
    access_log: bool,
    #[command(flatten)]
    ledger: LedgerOptions,
    #[command(flatten)]
    clients: Clients,
    #[command(flatten)]
    limit_store: LimitStoreOptions,
}

/// What waits for a reader of standard output at most: `run` says little, but whoever started it may not read it.
const OUTPUT_QUEUE: Bounds = Bounds { entries: 64, bytes: 4 << 20 };

/// How long the end waits for that reader.
const OUTPUT_FLUSH_TIMEOUT: Duration = Duration::from_millis(250);

/// Runs until it is told to stop.
pub(super) fn run(args: &Args, log: &Log) -> anyhow::Result<ExitCode> {
    let mut loader = args.manifests.loader(Values::random())?;
    let loaded = loader.load(&manifests::environment);
    manifests::remarks(&mut io::stderr().lock(), &loaded)?;
    if !loaded.problems.is_empty() {
        manifests::print(&mut io::stderr().lock(), "error", &loaded.problems)?;
        return Ok(ExitCode::FAILURE);
    }
    let out = Arc::new(Background::start("output", io::stdout(), OUTPUT_QUEUE, || {})?);
    let shown = Loaded { compiled: loaded.compiled.clone(), tokens: loaded.tokens.clone(), ..Loaded::default() };
    let mut known: Vec<_> = loaded.tokens.iter().map(|token| token.id.clone()).collect();
    let (log, output) = (log.clone(), Arc::clone(&out));
    let on_reload = move |result: Result<&Loaded, &[ManifestProblem]>| {
        if let Err(error) = reloaded(result, &mut known, &output, &log) {
            tracing::warn!(%error, "cannot print what changed");
        }
    };
    let egress = Egress::read(manifests::environment)?;
    let ledger = args.ledger.settings()?;
    let running = App::start(Settings {
        listen: args.listen,
        listen_tls: None,
        admin: args.admin,
        source: Source::Files(Box::new(Files { loader, loaded, on_reload: Box::new(on_reload) })),
        limits: args.clients.limits(),
        requests: args.clients.requests(),
        upstreams: args.clients.upstreams(),
        limit_store: args.limit_store.open(&egress, manifests::environment)?,
        egress,
        cloud: manifests::cloud(),
        shutdown: SHUTDOWN,
        workers: args.clients.workers,
        ledger,
        access_log: args.access_log.then(|| Box::new(io::stderr()) as Box<dyn io::Write + Send>),
    })?;
    let mut welcome = Vec::new();
    output::welcome(&mut welcome, running.gateway, running.admin, &shown)?;
    out.offer(welcome);
    running.join();
    out.close(OUTPUT_FLUSH_TIMEOUT);
    Ok(ExitCode::SUCCESS)
}

/// Tells what came of changed manifests: tokens that are new, or every problem.
fn reloaded(
    result: Result<&Loaded, &[ManifestProblem]>,
    known: &mut Vec<ObjectId>,
    out: &Background<Vec<u8>>,
    log: &Log,
) -> io::Result<()> {
    let mut text = Vec::new();
    match result {
        Ok(loaded) => {
            tracing::info!("the changed manifests are in force");
            let new: Vec<_> = loaded.tokens.iter().filter(|token| !known.contains(&token.id)).cloned().collect();
            *known = loaded.tokens.iter().map(|token| token.id.clone()).collect();
            output::tokens(&mut text, &new)?;
            out.offer(text);
        }
        Err(problems) => {
            tracing::error!(
                problems = problems.len(),
                "the changed manifests are rejected; the previous configuration stays in force"
            );
            manifests::print(&mut text, "error", problems)?;
            log.write(text);
        }
    }
    Ok(())
}
