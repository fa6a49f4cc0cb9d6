//! A program under test: started, pinned, weighed, and stopped by the id it was started with.

use std::{
    fs,
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::Context;

/// A running program that printed where it listens.
pub struct Process {
    child: Child,
    /// `http://127.0.0.1:PORT`
    pub url: String,
    /// From exec to that line.
    pub started_in: Duration,
}

impl Process {
    /// Starts a program on one CPU and waits for its line `listening on URL`.
    pub fn start(cpu: u32, program: &Path, args: &[&str]) -> anyhow::Result<Self> {
        let started = Instant::now();
        let mut child = Command::new("taskset")
            .args(["-c", &cpu.to_string()])
            .arg(program)
            .args(args)
            .env("ROUTEAPI_LOG", "off")
            .env("ROUTEAPI_LEDGER", "off")
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .with_context(|| format!("start {}", program.display()))?;
        let mut lines = BufReader::new(child.stdout.take().context("stdout")?).lines();
        while let Some(line) = lines.next().transpose()? {
            if let Some(url) = line.strip_prefix("listening on ") {
                let (url, started_in) = (url.trim().to_owned(), started.elapsed());
                // What it prints from now on (its access log) must not fill the pipe.
                std::thread::spawn(move || lines.for_each(drop));
                return Ok(Self { child, url, started_in });
            }
        }
        let status = child.wait()?;
        anyhow::bail!("{} ended ({status}) before it listened", program.display())
    }

    /// A program that says nothing but listens on a known URL.
    pub fn start_quiet(cpu: u32, program: &str, args: &[&str], url: &str) -> anyhow::Result<Self> {
        let started = Instant::now();
        let child = Command::new("taskset")
            .args(["-c", &cpu.to_string(), program])
            .args(args)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .with_context(|| format!("start {program}"))?;
        let address = url.trim_start_matches("http://");
        while std::net::TcpStream::connect(address).is_err() {
            anyhow::ensure!(started.elapsed() < Duration::from_secs(10), "{program} does not listen on {url}");
            std::thread::yield_now();
        }
        Ok(Self { child, url: url.to_owned(), started_in: started.elapsed() })
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// CPU time of the program and its children so far, all threads, user and system.
    pub fn cpu(&self) -> anyhow::Result<Duration> {
        let mut nanos = 0;
        for pid in self.tree() {
            for task in fs::read_dir(format!("/proc/{pid}/task"))? {
                let schedstat = fs::read_to_string(task?.path().join("schedstat"))?;
                nanos += schedstat.split(' ').next().context("schedstat")?.parse::<u64>()?;
            }
        }
        Ok(Duration::from_nanos(nanos))
    }

    /// Resident memory of the program and its children, in KiB.
    pub fn resident_kib(&self) -> anyhow::Result<u64> {
        let mut sum = 0;
        for pid in self.tree() {
            let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
            let line = status.lines().find(|line| line.starts_with("VmRSS:")).context("VmRSS")?;
            sum += line.split_whitespace().nth(1).context("VmRSS")?.parse::<u64>()?;
        }
        Ok(sum)
    }

    fn tree(&self) -> Vec<u32> {
        let own = self.child.id();
        let children = fs::read_to_string(format!("/proc/{own}/task/{own}/children")).unwrap_or_default();
        std::iter::once(own).chain(children.split_whitespace().filter_map(|pid| pid.parse().ok())).collect()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // nginx stops its worker on SIGTERM; a plain kill of the master would leave it behind.
        let _ = Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status();
        let _ = self.child.wait();
    }
}
