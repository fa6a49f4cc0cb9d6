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

/// Queue of lines for standard error: several seconds of a busy log, in at most 4 MiB of memory.
const QUEUE: Bounds = Bounds { entries: 8 * 1024, bytes: 4 << 20 };

/// How long shutdown waits for queued lines: a reader that is alive needs milliseconds, and a stuck one must not delay
/// the exit noticeably.
const FLUSH: Duration = Duration::from_millis(500);

/// Lines dropped by this process.
static LOST: AtomicU64 = AtomicU64::new(0);

/// Form of log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// For people; coloured on a terminal.
    Text,
    /// One JSON object per line.
    Json,
}

/// A valid log filter: a level, or directives of `tracing` for modules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filter(String);

/// Text that is not a filter. Displays what is accepted instead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidFilter(String);

/// The log on standard error. Dropping it does not flush; [`Log::close`] does.
#[derive(Clone, Debug)]
pub struct Log(Arc<Background<Vec<u8>>>);

/// Writer for one line of the log.
#[derive(Debug)]
pub struct Line<'a>(&'a Log);

/// Starts the log of this process. If one was started before, that one stays in use.
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
    /// Used if no filter is set.
    pub const DEFAULT: &str = "info";
}

impl FromStr for Filter {
    type Err = InvalidFilter;

    /// Empty text, as in an empty environment variable, is the default.
    fn from_str(text: &str) -> Result<Self, InvalidFilter> {
        let text = if text.trim().is_empty() { Self::DEFAULT } else { text };
        for directive in text.split(',').map(str::trim).filter(|directive| !directive.is_empty()) {
            // tracing reads a misspelt level as the name of a module, and would then log that module only.
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
            "{:?} is not a log level: use off, error, warn, info, debug or trace, optionally with levels for modules, such as \
             info,routeapi_dataplane::upstream=debug",
            self.0
        )
    }
}

impl std::error::Error for InvalidFilter {}

/// Metric that counts the log lines that this process has dropped because standard error blocked.
#[derive(Clone, Copy, Debug)]
pub struct LostLines {
    /// Name of the metric, without the suffix `_total`.
    pub name: &'static str,
    /// Help text of the metric.
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
    /// Writes text that is not a log event, such as errors in manifests.
    pub fn write(&self, text: Vec<u8>) {
        self.0.offer(text);
    }

    /// Waits until queued lines are written, for at most half a second. Call it at the end of `main`.
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
    fn a_misspelt_level_is_an_error() {
        for text in ["inof", "verbose", "info,wran", "hyper=wran", "a=b=c", "6"] {
            let error = text.parse::<Filter>().expect_err(text).to_string();
            assert!(error.contains("error, warn, info, debug or trace"), "{text}: {error}");
        }
    }
}
