//! The command line: what each command takes, and the exit code it ends with.
//!
//! Results go to standard output, everything said about the work to standard error. Exit code 0 means done, 1 that what
//! was asked about is wrong, 2 that the command line is.

mod check;
mod explain;
mod inject;
mod ledger;
mod limit_store;
mod manifests;
mod options;
mod output;
mod render;
mod request;
mod run;
mod selftest;
mod serve;
mod sidecar;
mod table;
mod usage;

use std::{
    io::{self, IsTerminal, Write},
    process::ExitCode,
};

use clap::{Parser, Subcommand, ValueEnum};
use routeapi_process::{Filter, Format, Log, usage_error_line};

/// One endpoint and one API key for every model vendor: translates API formats, falls back, limits and meters.
#[derive(Debug, Parser)]
#[command(name = "routeapi", version, propagate_version = true, after_help = EXAMPLES)]
pub struct Cli {
    /// Log format on standard error.
    #[arg(long, value_enum, global = true, default_value_t = LogFormat::Auto, env = "ROUTEAPI_LOG_FORMAT")]
    log_format: LogFormat,
    /// Log level (off, error, warn, info, debug, trace), or levels of modules: info,routeapi_dataplane::upstream=debug.
    #[arg(long, global = true, default_value = Filter::DEFAULT, env = "ROUTEAPI_LOG", value_name = "FILTER")]
    log: Filter,
    #[command(subcommand)]
    command: Command,
}

const EXAMPLES: &str = "\
Examples, in a checkout of the repository:
  # Run a gateway on this machine, without network or keys
  routeapi run -f examples/quickstart.yaml
  # Validate manifests before you apply them
  routeapi check -f examples/multi-vendor
  # Show what would be sent where, and what it may cost
  routeapi explain -f examples/multi-vendor --as chat examples/requests/chat.json
  # Show what each token used in the last day
  routeapi usage --since 24h --by token
  # Check that a running gateway is reachable and answers as apps expect
  routeapi selftest --gateway http://localhost:8080";

/// Format of log lines.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum LogFormat {
    /// Text on a terminal, JSON otherwise.
    Auto,
    /// For people.
    Text,
    /// One JSON object per line.
    Json,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run a gateway on this machine, from the same manifests as in a cluster.
    Run(Box<run::Args>),
    /// Run a gateway in a pod, configured by the operator.
    Serve(Box<serve::Args>),
    /// Run the gateway's localhost address in an app's pod, which calls with the pod's ServiceAccount token.
    Sidecar(Box<sidecar::Args>),
    /// Validate manifests.
    Check(check::Args),
    /// Print the configuration that manifests compile to, with secrets redacted.
    Render(render::Args),
    /// Show how one request would be routed, translated and priced. Sends nothing.
    Explain(explain::Args),
    /// Show what was used, by whom, and what it cost, from the ledger of `run`.
    Usage(usage::Args),
    /// Tell the story of one request, from the ledger of `run`.
    Request(request::Args),
    /// Test a running gateway the way an app uses it, and suggest what to check if something fails.
    Selftest(selftest::Args),
}

impl Cli {
    /// Does what was asked.
    pub fn run(self) -> ExitCode {
        let log = match self.start_log() {
            Ok(log) => log,
            Err(error) => {
                let _ = writeln!(io::stderr(), "error: cannot start logging: {error}"); // nobody reads it
                return ExitCode::FAILURE;
            }
        };
        let code = self.command.run(&log);
        log.close();
        code
    }

    fn start_log(&self) -> io::Result<Log> {
        let format = match self.log_format {
            LogFormat::Auto if io::stderr().is_terminal() => Format::Text,
            LogFormat::Auto | LogFormat::Json => Format::Json,
            LogFormat::Text => Format::Text,
        };
        routeapi_process::start(format, &self.log)
    }
}

impl Command {
    fn run(self, log: &Log) -> ExitCode {
        // A pod's log is read by programs, the others' output by people.
        let is_pod = match &self {
            Self::Serve(_) => true,
            Self::Sidecar(args) => args.serves(),
            _ => false,
        };
        let result = match self {
            Self::Run(args) => run::run(&args, log),
            Self::Serve(args) => serve::serve(*args),
            Self::Sidecar(args) => sidecar::sidecar(*args),
            Self::Check(args) => check::check(&args),
            Self::Render(args) => render::render(&args),
            Self::Explain(args) => explain::explain(&args),
            Self::Usage(args) => usage::usage(&args),
            Self::Request(args) => request::request(&args),
            Self::Selftest(args) => selftest::selftest(&args),
        };
        match result {
            Ok(code) => code,
            // Whoever reads our output has seen enough; `routeapi render … | head` is no failure.
            Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
            Err(error) => {
                if is_pod {
                    tracing::error!("{error:#}");
                } else {
                    log.write(format!("error: {error:#}\n").into_bytes());
                }
                ExitCode::FAILURE
            }
        }
    }
}

/// Says what is wrong with the command line, or what was asked of it (`--help`): to a pod's log in one line, as everything
/// else there, so that the last line says it.
pub fn refuse(error: &clap::Error) -> ExitCode {
    let said = match error.use_stderr() && !io::stderr().is_terminal() {
        true => writeln!(io::stderr(), "{}", usage_error_line(&error.to_string())),
        false => error.print(),
    };
    drop(said); // nobody reads it
    ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2))
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error
        .chain()
        .any(|cause| cause.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn command_line_definition_is_valid() {
        Cli::command().debug_assert();
    }

    #[test]
    fn invalid_flag_is_reported_in_one_line() {
        let told = |args: &[&str]| usage_error_line(&Cli::try_parse_from(args).unwrap_err().to_string());
        let serve = ["routeapi", "serve", "--operator=https://o", "--operator-ca=ca"];
        assert_eq!(
            told(&[&serve[..], &["--drain-timeuot=5s"]].concat()),
            "error: unexpected argument '--drain-timeuot' found; a similar argument exists: '--drain-timeout'"
        );
        assert_eq!(
            told(&serve[..3]),
            "error: the following required arguments were not provided: --operator-ca <FILE>"
        );
        let invalid = told(&[&serve[..], &["--drain-timeout=soon"]].concat());
        assert!(invalid.starts_with("error: invalid value 'soon' for '--drain-timeout <DURATION>': "), "{invalid}");
    }
}
