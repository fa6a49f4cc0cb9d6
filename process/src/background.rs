//! A thread that writes entries from a bounded queue.

use std::{
    convert::Infallible,
    io::{self, BufWriter, Write},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
        mpsc::{Receiver, RecvTimeoutError, Sender, SyncSender, channel, sync_channel},
    },
    thread,
    time::Duration,
};

/// An entry of the queue. The background thread formats it, so that the sender spends no time on that.
pub trait Entry: Send + 'static {
    /// Approximate size in memory while it is queued, in bytes.
    fn size(&self) -> usize;

    /// Writes it, including its line feed.
    ///
    /// # Errors
    /// If the output fails or the entry cannot be serialised.
    fn write_to(&self, out: &mut dyn Write) -> io::Result<()>;
}

/// Size of the queue.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Maximum number of entries.
    pub entries: usize,
    /// Maximum size of all entries together, in bytes.
    pub bytes: usize,
}

/// Writes entries on a thread of its own. [`Background::offer`] never blocks.
pub struct Background<E> {
    queue: SyncSender<Message<E>>,
    bytes: usize,
    shared: Arc<Shared>,
    done: Mutex<Receiver<Infallible>>,
}

enum Message<E> {
    Entry(E),
    /// Wakes the thread, which then checks `closing`.
    Close,
}

struct Shared {
    /// Bytes that are queued or being written.
    queued: AtomicUsize,
    closing: AtomicBool,
    on_lost: Box<dyn Fn() + Send + Sync>,
}

/// Bytes collected per write to the output, as much as a Linux pipe holds by default.
const BUFFER: usize = 64 * 1024;

impl<E: Entry> Background<E> {
    /// Starts the thread. `on_lost` is called for each entry that is dropped, on the sender's or the background thread.
    ///
    /// # Errors
    /// If the thread cannot be started.
    pub fn start(
        name: &str,
        out: impl Write + Send + 'static,
        bounds: Bounds,
        on_lost: impl Fn() + Send + Sync + 'static,
    ) -> io::Result<Self> {
        let (queue, entries) = sync_channel(bounds.entries);
        let (alive, done) = channel();
        let shared = Arc::new(Shared {
            queued: AtomicUsize::new(0),
            closing: AtomicBool::new(false),
            on_lost: Box::new(on_lost),
        });
        let writing = Arc::clone(&shared);
        thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || write(entries, BufWriter::with_capacity(BUFFER, out), &writing, alive))?;
        Ok(Self { queue, bytes: bounds.bytes, shared, done: Mutex::new(done) })
    }

    /// Queues an entry, or drops it if the queue is full.
    pub fn offer(&self, entry: E) {
        let size = entry.size();
        let queued = self.shared.queued.fetch_add(size, Ordering::Relaxed);
        // An empty queue accepts an entry that exceeds the bound by itself.
        let fits = queued == 0 || queued.saturating_add(size) <= self.bytes;
        if !fits || self.queue.try_send(Message::Entry(entry)).is_err() {
            self.shared.queued.fetch_sub(size, Ordering::Relaxed);
            (self.shared.on_lost)();
        }
    }

    /// Writes what is queued and ends the thread. Returns whether the output accepted everything within `limit`. Entries
    /// offered later are dropped. A thread whose write does not return keeps running until the process exits.
    pub fn close(&self, limit: Duration) -> bool {
        self.shared.closing.store(true, Ordering::Release);
        // If the queue is full, the thread is busy and checks `closing` once it is empty.
        let _ = self.queue.try_send(Message::Close);
        let done = self.done.lock().unwrap_or_else(PoisonError::into_inner);
        done.recv_timeout(limit) == Err(RecvTimeoutError::Disconnected)
    }
}

impl<E> std::fmt::Debug for Background<E> {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Background").field("queued", &self.shared.queued).finish_non_exhaustive()
    }
}

/// Writes entries until `closing` is set, and flushes whenever the queue is empty. Drops `alive` when it has ended.
fn write<E: Entry>(queue: Receiver<Message<E>>, mut out: impl Write, shared: &Shared, alive: Sender<Infallible>) {
    let mut next = queue.recv().ok();
    while let Some(message) = next {
        if let Message::Entry(entry) = message {
            if entry.write_to(&mut out).is_err() {
                (shared.on_lost)();
            }
            shared.queued.fetch_sub(entry.size(), Ordering::Relaxed);
        }
        next = queue.try_recv().ok().or_else(|| {
            // An error of the output recurs at the next entry, which is then counted.
            let _ = out.flush();
            // Entries queued while the output blocked are written before the end.
            if shared.closing.load(Ordering::Acquire) { queue.try_recv().ok() } else { queue.recv().ok() }
        });
    }
    // In this order: after `alive` is dropped, an offered entry fails and is counted.
    drop(queue);
    drop(alive);
}

impl<E: Entry + Sync> Entry for Arc<E> {
    fn size(&self) -> usize {
        E::size(self)
    }

    fn write_to(&self, out: &mut dyn Write) -> io::Result<()> {
        E::write_to(self, out)
    }
}

impl Entry for Vec<u8> {
    fn size(&self) -> usize {
        self.capacity()
    }

    fn write_to(&self, out: &mut dyn Write) -> io::Result<()> {
        out.write_all(self)
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::{Condvar, atomic::AtomicU64},
        time::Instant,
    };

    use super::*;

    const BOUNDS: Bounds = Bounds { entries: 1_000, bytes: 1_000_000 };

    /// An output that blocks until it is opened.
    #[derive(Clone, Default)]
    struct Blocked(Arc<(Mutex<Output>, Condvar)>);

    #[derive(Default)]
    struct Output {
        open: bool,
        written: Vec<u8>,
    }

    impl Blocked {
        fn open(&self) {
            self.0.0.lock().unwrap().open = true;
            self.0.1.notify_all();
        }

        fn written(&self) -> String {
            String::from_utf8(self.0.0.lock().unwrap().written.clone()).unwrap()
        }
    }

    impl Write for Blocked {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let (state, changed) = &*self.0;
            let mut state = changed.wait_while(state.lock().unwrap(), |output| !output.open).unwrap();
            state.written.extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn start(out: Blocked, bounds: Bounds) -> (Background<Vec<u8>>, Arc<AtomicU64>) {
        let lost = Arc::new(AtomicU64::new(0));
        let counting = Arc::clone(&lost);
        let on_lost = move || {
            counting.fetch_add(1, Ordering::Relaxed);
        };
        (Background::start("test", out, bounds, on_lost).unwrap(), lost)
    }

    #[test]
    fn closing_writes_what_is_queued() {
        let out = Blocked::default();
        out.open();
        let (background, lost) = start(out.clone(), BOUNDS);
        for at in 0..500 {
            background.offer(format!("{at}\n").into_bytes());
        }
        assert!(background.close(Duration::from_secs(60)));
        let expected: String = (0..500).map(|at| format!("{at}\n")).collect();
        assert_eq!(out.written(), expected);
        assert_eq!(lost.load(Ordering::Relaxed), 0);
        background.offer(b"late\n".to_vec());
        assert_eq!(lost.load(Ordering::Relaxed), 1, "after the end");
    }

    #[test]
    fn a_blocked_output_loses_entries_and_never_blocks_the_sender() {
        for (bounds, most) in [
            (BOUNDS, 1_001),
            (Bounds { entries: 1_000, bytes: 64 * 1024 }, 64), // of 1 KiB
        ] {
            let out = Blocked::default();
            let (background, lost) = start(out.clone(), bounds);
            let mut entry = vec![b'x'; 1023];
            entry.push(b'\n');
            entry.shrink_to_fit();
            // The thread blocks at its first write, so that no entry is written yet.
            for _ in 0..3_000 {
                background.offer(entry.clone());
            }
            let lost_by_now = lost.load(Ordering::Relaxed);
            assert!(lost_by_now >= 3_000 - most - BUFFER as u64 / 1024 - 1, "{lost_by_now} of 3000 were lost");
            let asked = Instant::now();
            assert!(!background.close(Duration::from_millis(10)), "the output is still blocked");
            assert!(asked.elapsed() < Duration::from_secs(30), "it waits no longer than the limit");
            out.open();
            assert!(background.close(Duration::from_secs(60)), "it ends once the output accepts everything");
            let written = out.written().lines().count() as u64;
            assert_eq!(written + lost.load(Ordering::Relaxed), 3_000, "each entry was written or counted");
        }
    }
}
