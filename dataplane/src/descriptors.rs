//! File descriptors: as many as the system grants, and what happens when none is left.
//!
//! A connection takes one, and a request in flight up to two: its client's and its upstream's. The limits of connections
//! follow what there is (see [`connections`]), so that running out is the exception. It is the gateway's own trouble
//! then: no upstream is blamed, clients wait in the kernel's queue, and the log says it once a minute at most.

use std::{
    fs::File,
    io,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Listeners, pipes, files, the connection to the operator, the admin listener, event queues.
const RESERVED_DESCRIPTORS: u64 = 128;

/// Between two lines of the log.
const LOG_INTERVAL: Duration = Duration::from_secs(60);

/// Counts and says that there were no descriptors. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Descriptors {
    exhausted: Family<Operation, Counter>,
    logged_at: Arc<Mutex<Option<Instant>>>,
}

/// What a descriptor was wanted for.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Operation {
    operation: &'static str,
}

/// Raises the soft limit of descriptors to the hard one, which a process may do by itself. Many runtimes and init systems
/// leave the soft one at 1024 for the sake of programs that use `select`. Returns what is in force; none for no limit.
pub fn raise() -> Option<u64> {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current == maximum {
        return current;
    }
    match setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }) {
        Ok(()) => maximum,
        Err(error) => {
            tracing::warn!(%error, "cannot raise the soft limit of file descriptors");
            current
        }
    }
}

/// How many client connections, and as many requests, there can be at once with so many descriptors, if `wanted` are.
pub fn connections(wanted: usize, descriptors: Option<u64>) -> usize {
    let Some(descriptors) = descriptors else { return wanted };
    let possible = descriptors.saturating_sub(RESERVED_DESCRIPTORS).max(descriptors / 2) / 2;
    usize::try_from(possible).unwrap_or(usize::MAX).clamp(1, wanted.max(1))
}

/// Whether an error says that there are no descriptors, of this process or of the whole system.
pub fn is_exhaustion(error: &io::Error) -> bool {
    use rustix::io::Errno;
    let is = |errno: Errno| error.raw_os_error() == Some(errno.raw_os_error());
    is(Errno::MFILE) || is(Errno::NFILE)
}

impl Descriptors {
    /// Names the series; `limit` is what is in force, none for no limit.
    pub fn register(&self, registry: &mut Registry, limit: Option<u64>) {
        let in_force = Gauge::<i64>::default();
        in_force.set(limit.and_then(|limit| i64::try_from(limit).ok()).unwrap_or(i64::MAX));
        registry.register("process_max_fds", "File descriptors that this process may have", in_force);
        for operation in ["accept", "connect"] {
            drop(self.exhausted.get_or_create(&Operation { operation }));
        }
        registry.register(
            "routeapi_descriptors_exhausted",
            "Times that there was no file descriptor to accept a connection or to make one",
            self.exhausted.clone(),
        );
    }

    /// Whether there is none to be had now, which is counted and said if it is so.
    pub fn are_exhausted(&self, operation: &'static str) -> bool {
        let is_out = File::open("/dev/null").is_err_and(|error| is_exhaustion(&error));
        if is_out {
            self.ran_out(operation);
        }
        is_out
    }

    /// Counts that there was none, and says so unless that was just done.
    pub fn ran_out(&self, operation: &'static str) {
        self.exhausted.get_or_create(&Operation { operation }).inc();
        if self.is_log_due(Instant::now()) {
            tracing::error!(
                operation,
                "no file descriptors left: connections wait. Raise the limit (ulimit -n, LimitNOFILE) or lower \
                 --max-connections; said at most once a minute, routeapi_descriptors_exhausted_total counts"
            );
        }
    }

    fn is_log_due(&self, now: Instant) -> bool {
        let mut logged_at = self.logged_at.lock().unwrap_or_else(PoisonError::into_inner);
        if logged_at.is_some_and(|before| now.saturating_duration_since(before) < LOG_INTERVAL) {
            return false;
        }
        *logged_at = Some(now);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connection_limit_follows_available_descriptors() {
        for (wanted, descriptors, connections_at_once) in [
            (10_000, None, 10_000),
            (10_000, Some(1_048_576), 10_000),
            (10_000, Some(4_096), 1_984),
            (10_000, Some(1_024), 448),
            (100, Some(1_024), 100),
            // Where the reserve leaves nothing, half of what there is.
            (10_000, Some(64), 16),
            (10_000, Some(1), 1),
        ] {
            assert_eq!(connections(wanted, descriptors), connections_at_once, "{descriptors:?}");
        }
    }

    #[test]
    fn soft_descriptor_limit_is_raised_to_the_hard_one() {
        let now_in_force = raise();
        assert_eq!(getrlimit(Resource::Nofile), Rlimit { current: now_in_force, maximum: now_in_force });
    }

    #[test]
    fn exhaustion_is_counted_each_time_and_logged_once_a_minute() {
        let descriptors = Descriptors::default();
        let now = Instant::now();
        let at = |seconds| descriptors.is_log_due(now + Duration::from_secs(seconds));
        assert_eq!([at(0), at(1), at(59), at(60), at(61)], [true, false, false, true, false]);
        for _ in 0..3 {
            descriptors.ran_out("accept");
        }
        let counted = descriptors.exhausted.get_or_create(&Operation { operation: "accept" }).get();
        assert_eq!(counted, 3);
    }

    #[test]
    fn only_emfile_and_enfile_are_exhaustion() {
        assert!(is_exhaustion(&io::Error::from_raw_os_error(24)));
        assert!(is_exhaustion(&io::Error::from_raw_os_error(23)));
        assert!(!is_exhaustion(&io::Error::from_raw_os_error(111)));
        assert!(!is_exhaustion(&io::ErrorKind::NotFound.into()));
    }
}
