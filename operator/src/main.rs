//! `routeapi-operator`: runs the operator, or prints the kinds' definitions.

use std::{
    io::{self, IsTerminal, Write},
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::Context;
use clap::{Parser, Subcommand};
use routeapi_crds::schema;
use routeapi_operator::{app, settings::Settings, telemetry};
use tokio::signal::unix::{SignalKind, signal};

/// The operator of RouteAPI.
#[derive(Parser)]
#[command(version, about)]
struct Cli {
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

fn main() -> ExitCode {
    let done = match Cli::try_parse() {
        Ok(Cli { command: Command::Run(settings) }) => run(*settings),
        Ok(Cli { command: Command::Crds { dir } }) => crds(dir.as_deref()),
        Err(error) => return refuse(&error),
    };
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

#[tokio::main]
async fn run(settings: Settings) -> anyhow::Result<()> {
    telemetry::start_logs();
    let mut terminate = signal(SignalKind::terminate())?;
    let client = kube::Client::try_default().await.context("no way to the API server: in a pod, or with KUBECONFIG")?;
    let stop = async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = tokio::signal::ctrl_c() => {}
        }
    };
    app::run(settings, client, stop).await
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
