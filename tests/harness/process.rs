//! Child processes of a test: started from one thread that lives as long as the test binary, killed with it, signalled
//! by the pid that we got when we started them, never by name.
//!
//! A child is started through `setpriv --pdeathsig` where that exists, so it dies even when the test binary is killed
//! and no destructor runs. The kernel ties that signal to the *thread* that started the child; a test's own thread ends
//! with its test, which is why [`Child::start`] hands the work to a thread that does not.

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use std::ffi::OsString;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::{Mutex, OnceLock, mpsc};
use std::time::{Duration, Instant};

/// A program, its arguments and environment, to be started any number of times.
#[derive(Clone, Debug)]
pub struct Program {
    /// The executable.
    pub path: PathBuf,
    /// Its arguments.
    pub args: Vec<OsString>,
    /// Environment variables added to those of the test.
    pub env: Vec<(String, String)>,
    /// Where stdout and stderr go (appended).
    pub log: PathBuf,
}

impl Program {
    /// A program whose output goes to `log`.
    pub fn new(path: impl Into<PathBuf>, log: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), args: Vec::new(), env: Vec::new(), log: log.into() }
    }

    /// Adds arguments.
    #[must_use]
    pub fn args<I: IntoIterator<Item = A>, A: Into<OsString>>(mut self, args: I) -> Self {
        self.args.extend(args.into_iter().map(Into::into));
        self
    }

    /// Adds an environment variable.
    #[must_use]
    pub fn env(mut self, name: &str, value: impl Into<String>) -> Self {
        self.env.push((name.to_owned(), value.into()));
        self
    }
}

/// A running program. Dropping it kills it and waits for it.
#[derive(Debug)]
pub struct Child {
    child: Mutex<std::process::Child>,
    pid: Pid,
    log: PathBuf,
    name: String,
}

impl Child {
    /// Starts `program`.
    ///
    /// # Errors
    /// When the executable or the log file cannot be opened.
    pub fn start(program: &Program) -> Result<Self> {
        let (reply, answer) = mpsc::channel();
        starter().lock().unwrap().send((program.clone(), reply)).context("the starting thread is gone")?;
        let child = answer.recv().context("the starting thread is gone")??;
        let pid = Pid::from_child(&child);
        let name = program.path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        Ok(Self { child: Mutex::new(child), pid, log: program.log.clone(), name })
    }

    /// The operating system's id of the process.
    pub fn id(&self) -> u32 {
        self.child.lock().unwrap().id()
    }

    /// Asks it to end (SIGTERM) and waits at most `limit`.
    ///
    /// # Errors
    /// When it is still there after `limit`.
    pub fn terminate(&self, limit: Duration) -> Result<ExitStatus> {
        self.signal(Signal::TERM)?;
        let started = Instant::now();
        while started.elapsed() < limit {
            if let Some(status) = self.exited()? {
                return Ok(status);
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        bail!("{} (pid {}) was still running {limit:?} after SIGTERM", self.name, self.id())
    }

    /// Ends it at once (SIGKILL), as a crash does, and waits until it is gone.
    ///
    /// # Errors
    /// When the system refuses the wait.
    pub fn kill(&self) -> Result<()> {
        let mut child = self.child.lock().unwrap();
        let _ = child.kill(); // it may have ended by itself
        child.wait()?;
        Ok(())
    }

    /// Freezes it (SIGSTOP): connections are accepted by the kernel, and nothing is answered.
    ///
    /// # Errors
    /// When it has ended.
    pub fn pause(&self) -> Result<()> {
        self.signal(Signal::STOP)
    }

    /// Lets it go on (SIGCONT).
    ///
    /// # Errors
    /// When it has ended.
    pub fn resume(&self) -> Result<()> {
        self.signal(Signal::CONT)
    }

    /// Its exit status, once it has ended.
    ///
    /// # Errors
    /// When the system refuses the question.
    pub fn exited(&self) -> Result<Option<ExitStatus>> {
        Ok(self.child.lock().unwrap().try_wait()?)
    }

    /// All that it has written so far.
    pub fn log(&self) -> String {
        std::fs::read(&self.log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
    }

    /// The last `lines` of what it has written, for error messages.
    pub fn log_tail(&self, lines: usize) -> String {
        let log = self.log();
        let all: Vec<&str> = log.lines().collect();
        all[all.len().saturating_sub(lines)..].join("\n")
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        if let Some(status) = self.exited()? {
            bail!("{} has ended ({status}):\n{}", self.name, self.log_tail(20));
        }
        kill_process(self.pid, signal).with_context(|| format!("cannot signal {}", self.name))
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        let _ = self.kill();
    }
}

type Order = (Program, mpsc::Sender<Result<std::process::Child>>);

fn starter() -> &'static Mutex<mpsc::Sender<Order>> {
    static STARTER: OnceLock<Mutex<mpsc::Sender<Order>>> = OnceLock::new();
    STARTER.get_or_init(|| {
        let (orders, inbox) = mpsc::channel::<Order>();
        std::thread::Builder::new()
            .name("test-children".into())
            .spawn(move || {
                for (program, reply) in inbox {
                    let _ = reply.send(spawn(&program)); // the asking test may have given up
                }
            })
            .expect("a thread can be started");
        Mutex::new(orders)
    })
}

fn spawn(program: &Program) -> Result<std::process::Child> {
    let log = File::options().create(true).append(true).open(&program.log)?;
    let mut command = if Path::new("/usr/bin/setpriv").exists() {
        let mut wrapped = Command::new("/usr/bin/setpriv");
        wrapped.args(["--pdeathsig", "KILL", "--"]).arg(&program.path);
        wrapped
    } else {
        Command::new(&program.path)
    };
    command
        .args(&program.args)
        .envs(program.env.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .spawn()
        .with_context(|| format!("cannot start {}", program.path.display()))
}
