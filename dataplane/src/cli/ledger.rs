//! Where the usage ledger is: the options of `run`, and those of the commands that read it.

use std::{
    convert::Infallible,
    env,
    path::{Path, PathBuf},
    str::FromStr,
    time::Duration,
};

use anyhow::{Context, bail};
use clap::{Args, ValueEnum};
use routeapi_ledger::{
    OnFull, Settings,
    query::Reader,
    spool::SpoolLimits,
    sqlite::{SqliteError, SqliteSink, spool_of},
};

/// Below the user's directory for state.
const DEFAULT: &str = "routeapi/usage.sqlite";

/// The ledger of `run`.
#[derive(Debug, Args)]
pub(super) struct LedgerOptions {
    /// Keep a usage record of every request in this SQLite file, or off. Several gateways may share one. Default:
    /// $XDG_STATE_HOME/routeapi/usage.sqlite, where XDG_STATE_HOME is ~/.local/state if it is not set.
    #[arg(long, value_name = "PATH|off", env = "ROUTEAPI_LEDGER")]
    ledger: Option<Location>,
    /// What to do when usage cannot be recorded because the disk or the ledger's spool (256 MiB) is full: serve requests,
    /// drop their records and count them, or reject requests with 503.
    #[arg(long, value_enum, ignore_case = true, default_value = "DropAndCount", value_name = "POLICY")]
    ledger_full: Full,
    /// Days for which the ledger keeps single requests. Hourly sums are kept for at least 800 days.
    #[arg(long, value_name = "DAYS", default_value_t = 90, value_parser = clap::value_parser!(u32).range(1..=36_500))]
    ledger_retention: u32,
}

/// The ledger that is read.
#[derive(Debug, Args)]
pub(super) struct LedgerFile {
    /// The ledger's SQLite file. Default: that of `routeapi run`.
    #[arg(long, value_name = "PATH", env = "ROUTEAPI_LEDGER")]
    ledger: Option<Location>,
}

/// A file, or none.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Location {
    Off,
    File(PathBuf),
}

/// What happens to requests whose records cannot be kept.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Full {
    /// Serve them; drop and count their records.
    #[value(name = "DropAndCount")]
    DropAndCount,
    /// Reject them.
    #[value(name = "Reject")]
    Reject,
}

impl LedgerOptions {
    /// The ledger that was asked for; none if it is off. The default one is a convenience: if its place cannot be written,
    /// the gateway runs without it and says so.
    pub(super) fn settings(&self) -> anyhow::Result<Option<Settings>> {
        let (path, is_default) = match &self.ledger {
            Some(Location::Off) => return Ok(None),
            Some(Location::File(path)) => (path.clone(), false),
            None => match default_path(|name| env::var_os(name).map(PathBuf::from)) {
                Some(path) => (path, true),
                None => {
                    tracing::warn!("no usage ledger: neither XDG_STATE_HOME nor HOME is set (see --ledger)");
                    return Ok(None);
                }
            },
        };
        match self.open(&path) {
            Ok(settings) => {
                tracing::info!(path = %path.display(), "usage is recorded in a ledger");
                Ok(Some(settings))
            }
            Err(error) if is_default => {
                tracing::warn!(path = %path.display(), %error, "no usage ledger: it cannot be opened (see --ledger)");
                Ok(None)
            }
            Err(error) => Err(error).with_context(|| format!("--ledger {}", path.display())),
        }
    }

    fn open(&self, path: &Path) -> Result<Settings, SqliteError> {
        let retention = Duration::from_secs(u64::from(self.ledger_retention) * 86_400);
        let sink = Box::new(SqliteSink::open(path, retention)?);
        let on_full = match self.ledger_full {
            Full::DropAndCount => OnFull::DropAndCount,
            Full::Reject => OnFull::Reject,
        };
        Ok(Settings { spool: spool_of(path), limits: SpoolLimits::default(), on_full, sink })
    }
}

impl LedgerFile {
    /// Opens it.
    pub(super) fn open(&self) -> anyhow::Result<Reader> {
        let path = match &self.ledger {
            Some(Location::Off) => bail!("the ledger is off (ROUTEAPI_LEDGER); name one with --ledger PATH"),
            Some(Location::File(path)) => path.clone(),
            None => default_path(|name| env::var_os(name).map(PathBuf::from))
                .context("neither XDG_STATE_HOME nor HOME is set; name the ledger with --ledger PATH")?,
        };
        if !path.exists() {
            bail!("there is no usage ledger at {}: `routeapi run` makes it (see --ledger)", path.display());
        }
        Reader::open(&path).with_context(|| format!("cannot read the usage ledger {}", path.display()))
    }
}

impl FromStr for Location {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(if text.eq_ignore_ascii_case("off") { Self::Off } else { Self::File(text.into()) })
    }
}

/// Where the ledger is if nobody says otherwise, as the XDG Base Directory Specification has it for state.
fn default_path(variable: impl Fn(&str) -> Option<PathBuf>) -> Option<PathBuf> {
    let absolute = |name| variable(name).filter(|path| path.is_absolute());
    let state = absolute("XDG_STATE_HOME").or_else(|| absolute("HOME").map(|home| home.join(".local/state")));
    state.map(|state| state.join(DEFAULT))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn default_ledger_is_in_the_users_state_directory() {
        let path = |state: Option<&str>, home: Option<&str>| {
            default_path(|name| if name == "HOME" { home } else { state }.map(PathBuf::from))
        };
        let default = Some(PathBuf::from("/home/me/.local/state/routeapi/usage.sqlite"));
        assert_eq!(path(Some("/state"), Some("/home/me")), Some("/state/routeapi/usage.sqlite".into()));
        assert_eq!(path(None, Some("/home/me")), default);
        assert_eq!(path(Some("relative"), Some("/home/me")), default, "relative paths are invalid");
        assert_eq!(path(Some(""), None), None);
    }

    #[test]
    fn off_is_no_file() {
        assert_eq!("OFF".parse(), Ok(Location::Off));
        assert_eq!("./off".parse(), Ok(Location::File("./off".into())));
    }
}
