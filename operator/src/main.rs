//! `routeapi-operator`: runs the operator, or prints the CustomResourceDefinitions.

use std::{
    io::{self, IsTerminal, Write},
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use anyhow::Context;
use clap::{Parser, Subcommand};
use routeapi_crds::schema;
use routeapi_operator::{app, settings::Settings, telemetry};
use routeapi_process::{Filter, exit_after, usage_error_line};
use tikv_jemallocator::Jemalloc;
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::oneshot,
};

// Gives memory back after a burst, as in the data plane; the root Cargo.toml says how it was chosen.
#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

/// The RouteAPI operator
#[derive(Parser)]
#[command(version, about)]
struct Cli {
    /// Log level (off, error, warn, info, debug, trace), or levels per module: info,routeapi_operator::push=debug
    #[arg(long, global = true, default_value = Filter::DEFAULT, env = "ROUTEAPI_LOG", value_name = "FILTER")]
    log: Filter,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the operator until SIGTERM
    Run(Box<Settings>),
    /// Print the CustomResourceDefinitions, or write one file per kind
    Crds {
        /// Directory to write aiproviders.yaml, airoutes.yaml and apitokens.yaml to
        #[arg(long)]
        dir: Option<PathBuf>,
    },
}

/// From the first signal to the end of the process, whatever is still waiting then, such as a log that nobody reads. More than
/// a graceful shutdown takes, less than the grace period of 30 s that Kubernetes grants by default.
const SHUTDOWN_DEADLINE: Duration = Duration::from_secs(12);

/// The same after a second signal, which asks to stop immediately.
const SECOND_SIGNAL_DEADLINE: Duration = Duration::from_secs(1);

fn main() -> ExitCode {
    match Cli::try_parse() {
        Ok(Cli { command: Command::Run(settings), log }) => run(*settings, &log),
        Ok(Cli { command: Command::Crds { dir }, .. }) => exit_code(crds(dir.as_deref())),
        Err(error) => print_usage_error(&error),
    }
}

fn exit_code(done: anyhow::Result<()>) -> ExitCode {
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "error: {error:#}"); // nobody reads it
            ExitCode::FAILURE
        }
    }
}

/// Prints an error in the command line, or the help. In a pod's log an error is one line.
fn print_usage_error(error: &clap::Error) -> ExitCode {
    let printed = if error.use_stderr() && !io::stderr().is_terminal() {
        writeln!(io::stderr(), "{}", usage_error_line(&error.to_string()))
    } else {
        error.print()
    };
    drop(printed); // nobody reads it
    ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2))
}

/// Runs until a signal. An error is the last line of the log, as plain text.
fn run(settings: Settings, filter: &Filter) -> ExitCode {
    let log = match telemetry::start_logs(filter) {
        Ok(log) => log,
        Err(error) => return exit_code(Err(error.into())),
    };
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return exit_code(Err(error.into())),
    };
    let done = runtime.block_on(operate(settings));
    // Threads that still wait for a name server are abandoned.
    runtime.shutdown_timeout(Duration::from_millis(500));
    let code = match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            log.write(format!("error: {error:#}\n").into_bytes());
            ExitCode::FAILURE
        }
    };
    log.close();
    code
}

async fn operate(settings: Settings) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let client = client().await?;
    let (stop_sender, stop) = oneshot::channel();
    tokio::spawn(async move {
        let mut next = async || {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
        };
        next().await;
        exit_after(SHUTDOWN_DEADLINE);
        // Nobody receives it if the operator has ended by itself.
        let _ = stop_sender.send(());
        next().await;
        tracing::warn!("received a second signal, stopping immediately");
        exit_after(SECOND_SIGNAL_DEADLINE);
    });
    app::run(settings, client, async { drop(stop.await) }).await
}

/// A client of the API server of the pod's own cluster, or of the kubeconfig.
async fn client() -> anyhow::Result<kube::Client> {
    let config = kube::Config::infer().await.map_err(|error| anyhow::anyhow!(no_api_server(&error)))?;
    Ok(kube::Client::try_from(config)?)
}

/// The error itself repeats its causes and quotes the file that does not parse.
fn no_api_server(error: &kube::config::InferConfigError) -> String {
    let source = std::error::Error::source(error).map(ToString::to_string).unwrap_or_default();
    let source = source.lines().next().unwrap_or_default();
    format!(
        "cannot find an API server: not running in a pod with a ServiceAccount, and no usable kubeconfig ({source}). Set \
         KUBECONFIG to run the operator outside a cluster, or install charts/routeapi to run it in one"
    )
}

fn crds(dir: Option<&Path>) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    for (at, definition) in schema::all().iter().enumerate() {
        let text = schema::to_yaml(definition)?;
        if let Some(dir) = dir {
            let path = dir.join(schema::file_name(definition));
            std::fs::write(&path, text).with_context(|| path.display().to_string())?;
        } else {
            let separator = if at > 0 { "---\n" } else { "" };
            write!(out, "{separator}{text}")?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_usage_error_is_one_line() {
        let error = Cli::try_parse_from(["routeapi-operator", "run", "--gatway-url=http://x"]).err().unwrap();
        assert_eq!(
            usage_error_line(&error.to_string()),
            "error: unexpected argument '--gatway-url' found; a similar argument exists: '--gateway-url'"
        );
    }
}
