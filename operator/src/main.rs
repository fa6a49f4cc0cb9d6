//! `routeapi-operator`: runs the operator, or prints the kinds' definitions.

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
use routeapi_process::{Filter, exit_after};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::oneshot,
};

/// The operator of RouteAPI.
#[derive(Parser)]
#[command(version, about)]
struct Cli {
    /// Log level (off, error, warn, info, debug, trace), or levels of modules: info,routeapi_operator::push=debug.
    #[arg(long, global = true, default_value = Filter::DEFAULT, env = "ROUTEAPI_LOG", value_name = "FILTER")]
    log: Filter,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Watches, compiles, pushes and writes status until SIGTERM.
    Run(Box<Settings>),
    /// Prints the CustomResourceDefinitions, or writes one file per kind.
    Crds {
        /// Where to write them: aiproviders.yaml, airoutes.yaml, apitokens.yaml.
        #[arg(long)]
        dir: Option<PathBuf>,
    },
}

/// From the signal to the end of the process: streams end, the lease is let go, and after that the process ends whatever
/// waits, such as a log that nobody reads.
const GRACE: Duration = Duration::from_secs(12);

/// The same after a second signal.
const AT_ONCE: Duration = Duration::from_secs(1);

fn main() -> ExitCode {
    match Cli::try_parse() {
        Ok(Cli { command: Command::Run(settings), log }) => run(*settings, &log),
        Ok(Cli { command: Command::Crds { dir }, .. }) => exit_code(crds(dir.as_deref())),
        Err(error) => refuse(&error),
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

/// Says what is wrong with the command line, or what was asked of it (`--help`): to a pod's log in one line, so that the
/// last line says it.
fn refuse(error: &clap::Error) -> ExitCode {
    let said = match error.use_stderr() && !io::stderr().is_terminal() {
        true => writeln!(io::stderr(), "{}", one_line(&error.to_string())),
        false => error.print(),
    };
    drop(said); // nobody reads it
    ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2))
}

/// Without the usage, which `--help` tells.
fn one_line(text: &str) -> String {
    let said = text.split("\n\nUsage:").next().unwrap_or_default();
    let said = said.split("\n\nFor more information").next().unwrap_or_default();
    said.split_whitespace().collect::<Vec<_>>().join(" ").replace(" tip: ", "; ")
}

/// Runs until a signal. What goes wrong is the last line of the log, as text, so that it is read.
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
    // Threads that wait for a name server are left behind.
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
    let client = api_server().await?;
    let (asked, stop) = oneshot::channel();
    tokio::spawn(async move {
        let mut next = async || {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
        };
        next().await;
        exit_after(GRACE);
        // Nobody listens if it has ended by itself.
        let _ = asked.send(());
        next().await;
        tracing::warn!("a second signal: ending at once");
        exit_after(AT_ONCE);
    });
    app::run(settings, client, async { drop(stop.await) }).await
}

/// The API server of the pod's own cluster, else of the kubeconfig.
async fn api_server() -> anyhow::Result<kube::Client> {
    let config = kube::Config::infer().await.map_err(|error| anyhow::anyhow!(no_api_server(&error)))?;
    Ok(kube::Client::try_from(config)?)
}

/// The error itself names its causes several times over, and shows the place in a file that does not parse.
fn no_api_server(error: &kube::config::InferConfigError) -> String {
    let source = std::error::Error::source(error).map(ToString::to_string).unwrap_or_default();
    let source = source.lines().next().unwrap_or_default();
    format!(
        "no API server is known: this is no pod with a ServiceAccount, and there is no usable kubeconfig ({source}). Set \
         KUBECONFIG to run the operator outside a cluster; charts/routeapi installs it in one"
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
    fn a_wrong_flag_is_said_in_one_line() {
        let error = Cli::try_parse_from(["routeapi-operator", "run", "--gatway-url=http://x"]).err().unwrap();
        assert_eq!(
            one_line(&error.to_string()),
            "error: unexpected argument '--gatway-url' found; a similar argument exists: '--gateway-url'"
        );
    }
}
