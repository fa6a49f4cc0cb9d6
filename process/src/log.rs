//! The log of a program: tracing's events on standard error, and panics among them.

use std::{
    any::Any,
    fmt,
    io::{self, IsTerminal, Write},
    panic,
    str::FromStr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric},
    metrics::counter::ConstCounter,
};
use tracing_subscriber::{EnvFilter, filter::LevelFilter, fmt::MakeWriter};

use crate::background::{Background, Bounds};

/// Lines that wait for standard error at most.
const QUEUE: Bounds = Bounds { entries: 8 * 1024, bytes: 4 << 20 };

/// How long the end of the process waits for them.
const FLUSH: Duration = Duration::from_millis(500);

/// Lines that were left out, in this process.
static LOST: AtomicU64 = AtomicU64::new(0);

/// Form of log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// For people; coloured on a terminal.
    Text,
    /// One JSON object per line.
    Json,
}

/// How much is logged: a level, or tracing's directives for modules, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filter(String);

/// A text that is no filter. Displays as what is wrong, and what would be right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidFilter(String);

/// Standard error as a log. Dropping the last clone but tracing's own does nothing: [`Log::close`] ends it.
#[derive(Clone, Debug)]
pub struct Log(Arc<Background<Vec<u8>>>);

/// One line for the log.
#[derive(Debug)]
pub struct Line<'a>(&'a Log);

/// Starts the log of this process. Where a log was started before, that one stays in use.
///
/// # Errors
/// When the thread cannot be started.
pub fn start(format: Format, filter: &Filter) -> io::Result<Log> {
    let on_lost = || {
        LOST.fetch_add(1, Ordering::Relaxed);
    };
    let log = Log(Arc::new(Background::start("log", io::stderr(), QUEUE, on_lost)?));
    let filter = EnvFilter::try_new(&filter.0).unwrap_or_else(|_| EnvFilter::new(Filter::DEFAULT));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(log.clone());
    // Fails only when a log was started before, which is then as good.
    let _ = match format {
        Format::Json => builder.json().flatten_event(true).try_init(),
        Format::Text => builder.with_target(false).with_ansi(io::stderr().is_terminal()).try_init(),
    };
    // The standard hook would wait for standard error on whichever thread panics.
    panic::set_hook(Box::new(|info| {
        let location = info.location().map(ToString::to_string);
        tracing::error!(location, panic = describe(info.payload()), "panic");
    }));
    Ok(log)
}

impl Filter {
    /// What is logged if nothing is said.
    pub const DEFAULT: &str = "info";
}

impl FromStr for Filter {
    type Err = InvalidFilter;

    /// Nothing, as an environment variable that is set to nothing, is the default.
    fn from_str(text: &str) -> Result<Self, InvalidFilter> {
        let text = if text.trim().is_empty() { Self::DEFAULT } else { text };
        for directive in text.split(',').map(str::trim).filter(|directive| !directive.is_empty()) {
            // tracing takes a word that is no level for a module, of which everything is then logged and of all others
            // nothing: a slip in a level would silence the program.
            let level = directive.parse::<LevelFilter>().is_ok();
            if !level && !directive.contains(['=', '[', ':']) {
                return Err(InvalidFilter::of(directive));
            }
        }
        match EnvFilter::try_new(text) {
            Ok(_) => Ok(Self(text.to_owned())),
            Err(_) => Err(InvalidFilter::of(text)),
        }
    }
}

impl InvalidFilter {
    fn of(text: &str) -> Self {
        Self(text.to_owned())
    }
}

impl fmt::Display for InvalidFilter {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            out,
            "{:?} is no level: use off, error, warn, info, debug or trace, or add levels of modules, as in \
             info,routeapi_dataplane::upstream=debug",
            self.0
        )
    }
}

impl std::error::Error for InvalidFilter {}

/// A counter of the lines that this process has left out of its log, because nobody read it.
#[derive(Clone, Copy, Debug)]
pub struct LostLines {
    /// Of the series, without the suffix `_total`.
    pub name: &'static str,
    /// What it says of itself.
    pub help: &'static str,
}

impl Collector for LostLines {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let counter = ConstCounter::new(LOST.load(Ordering::Relaxed));
        let encoder = encoder.encode_descriptor(self.name, self.help, None, counter.metric_type())?;
        counter.encode(encoder)
    }
}

impl Log {
    /// Writes text that is no event, such as problems of manifests.
    pub fn write(&self, text: Vec<u8>) {
        self.0.offer(text);
    }

    /// Writes what is queued, for half a second at most. Belongs at the end of `main`.
    pub fn close(&self) {
        self.0.close(FLUSH);
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = Line<'a>;

    fn make_writer(&'a self) -> Line<'a> {
        Line(self)
    }
}

impl Write for Line<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // The formatter hands over whole lines.
        self.0.write(bytes.to_vec());
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn describe(payload: &(dyn Any + Send)) -> &str {
    let text = payload.downcast_ref::<&'static str>().copied();
    text.or_else(|| payload.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_and_directives_are_filters() {
        for text in
            ["info", "DEBUG", "off", "3", "info,hyper=warn", "routeapi_dataplane::request", "a[b{c=1}]=trace", "", " "]
        {
            assert!(text.parse::<Filter>().is_ok(), "{text:?}: {:?}", text.parse::<Filter>());
        }
        assert_eq!("".parse(), Ok(Filter("info".to_owned())));
    }

    #[test]
    fn a_slip_in_a_level_is_refused_and_not_taken_for_a_module() {
        for text in ["inof", "verbose", "info,wran", "hyper=wran", "a=b=c", "6"] {
            let error = text.parse::<Filter>().expect_err(text).to_string();
            assert!(error.contains("error, warn, info, debug or trace"), "{text}: {error}");
        }
    }
}
