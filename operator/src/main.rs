//! `routeapi-operator`: runs the operator, or prints the kinds' definitions.

use std::{
    io::Write,
    path::{Path, PathBuf},
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

fn main() -> anyhow::Result<()> {
    match Cli::parse().command {
        Command::Run(settings) => run(*settings),
        Command::Crds { dir } => crds(dir.as_deref()),
    }
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
    let mut out = std::io::stdout().lock();
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
