//! A process that has no file descriptors left waits for some instead of spinning, and serves on when there are.

use std::{
    collections::BTreeSet,
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use rustix::process::{Pid, Resource, Rlimit, prlimit};
use tempfile::NamedTempFile;

use crate::{
    bytes::{chat, connect, eventually, exchange, metric, status},
    files::{Files, echo, manifests},
};

/// The program under a limit of descriptors; stopped when dropped.
struct Limited {
    child: Child,
    gateway: SocketAddr,
    admin: SocketAddr,
    log: NamedTempFile,
}

/// The program's hard limit.
const HARD: u64 = 512;

/// The state of a listener in /proc/net/tcp.
const LISTENING: &str = "0A";

impl Limited {
    /// Starts it with a lower soft limit.
    fn start(manifests: &str) -> Self {
        let program = env!("CARGO_BIN_EXE_routeapi");
        let run = "exec \"$0\" run -f \"$1\" --listen 127.0.0.1:0 --admin 127.0.0.1:0 --workers 1";
        let log = NamedTempFile::new().unwrap();
        let child = Command::new("sh")
            .args(["-c", &format!("ulimit -Sn 64; ulimit -Hn {HARD}; {run}"), program, manifests])
            .env("ROUTEAPI_LEDGER", "off")
            .stdout(Stdio::piped())
            .stderr(log.reopen().unwrap())
            .spawn()
            .unwrap();
        let nowhere: SocketAddr = ([0, 0, 0, 0], 0).into();
        let mut program = Self { child, gateway: nowhere, admin: nowhere, log };
        let lines = BufReader::new(program.child.stdout.take().unwrap()).lines();
        let mut found = lines.filter_map(|line| address(&line.unwrap()));
        program.gateway = found.next().expect("it says where it listens");
        program.admin = found.next().expect("it says where its admin listener is");
        program
    }

    fn limit(&self, soft: u64) {
        let pid = Pid::from_child(&self.child);
        prlimit(Some(pid), Resource::Nofile, Rlimit { current: Some(soft), maximum: Some(HARD) }).unwrap();
    }

    /// Leaves it so many descriptors beyond those it has for long: a file that it looks at again and again is not one.
    fn leave(&self, count: usize) {
        let mut held = self.descriptors();
        for _ in 0..5 {
            assert_eq!(metric(self.admin, "process_max_fds"), HARD.to_string());
            self.settles();
            let now = self.descriptors();
            held.retain(|number| now.contains(number));
        }
        self.limit((0..).filter(|number| !held.contains(number)).nth(count).unwrap());
    }

    fn descriptors(&self) -> BTreeSet<u64> {
        let open = fs::read_dir(format!("/proc/{}/fd", self.child.id())).unwrap();
        open.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect()
    }

    /// How many of its descriptors are TCP connections. A client sees the end of one before its descriptor is free.
    fn connections(&self) -> usize {
        let tables = ["tcp", "tcp6"].map(|table| fs::read_to_string(format!("/proc/net/{table}")).unwrap_or_default());
        let lines =
            tables.iter().flat_map(|table| table.lines()).map(|line| line.split_whitespace().collect::<Vec<_>>());
        let connections: Vec<_> = lines
            .filter(|fields| fields.get(3).is_some_and(|state| *state != LISTENING))
            .filter_map(|fields| Some(format!("socket:[{}]", fields.get(9)?)))
            .collect();
        let open = fs::read_dir(format!("/proc/{}/fd", self.child.id())).unwrap();
        let leads_to = open.filter_map(|descriptor| fs::read_link(descriptor.ok()?.path()).ok());
        leads_to.filter(|to| connections.iter().any(|connection| to.as_os_str() == connection.as_str())).count()
    }

    fn settles(&self) {
        eventually("its connections are closed", || self.connections() == 0);
    }

    fn log(&self) -> String {
        fs::read_to_string(self.log.path()).unwrap()
    }

    /// User and system time so far, in hundredths of a second.
    fn ticks(&self) -> u64 {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap();
        let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
        fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
    }
}

impl Drop for Limited {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn address(line: &str) -> Option<SocketAddr> {
    let (_, rest) = line.split_once("http://")?;
    let end = rest.find(|letter: char| !(letter.is_ascii_digit() || ".:".contains(letter))).unwrap_or(rest.len());
    rest[..end].parse().ok()
}

#[test]
fn want_of_descriptors_costs_no_cpu_is_said_once_and_ends_with_it() {
    let files = echo();
    let program = Limited::start(files.path.to_str().unwrap());
    assert_eq!(metric(program.admin, "routeapi_accept_failures_total"), "0");
    program.settles();
    program.leave(0);
    let crowd: Vec<_> = (0..64).map(|_| connect(program.gateway)).collect();
    // As long as the loop pauses, nothing tells that it does but the time it does not use.
    let (begun, before) = (Instant::now(), program.ticks());
    std::thread::sleep(Duration::from_millis(700));
    let (used, passed) = (program.ticks() - before, begun.elapsed());
    assert!(u128::from(used) * 10 < passed.as_millis() / 4, "{used} ticks of CPU in {passed:?}");
    drop(crowd);
    program.limit(HARD);
    eventually("it serves again", || status(&exchange(program.gateway, chat("hello", "").as_bytes())) == "200");
    let failures: u64 = metric(program.admin, "routeapi_accept_failures_total").parse().unwrap();
    assert!((1..=20).contains(&failures), "{failures} failures to accept");
    let exhausted = metric(program.admin, "routeapi_descriptors_exhausted_total{operation=\"accept\"}");
    assert_eq!(exhausted, failures.to_string());
    eventually("the log says so", || program.log().contains("no file descriptors left"));
    assert_eq!(program.log().matches("no file descriptors left").count(), 1, "{}", program.log());
}

#[test]
fn the_soft_limit_is_raised_and_connections_follow_what_there_is() {
    let files = echo();
    let program = Limited::start(files.path.to_str().unwrap());
    let limits = fs::read_to_string(format!("/proc/{}/limits", program.child.id())).unwrap();
    let line = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
    assert_eq!(line.split_whitespace().collect::<Vec<_>>()[3..5], ["512", "512"], "{line}");
    assert_eq!(metric(program.admin, "process_max_fds"), "512");
    // Written by a thread of its own.
    eventually("the log says so", || program.log().contains("\"descriptors\":512"));
    let log = program.log();
    assert!(log.contains("\"connections\":192") && log.contains("\"wanted\":10000"), "{log}");
}

/// An HTTP/1 server that answers every request and closes.
fn upstream() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for socket in listener.incoming() {
            let mut socket = socket.unwrap();
            let mut seen = Vec::new();
            while !seen.ends_with(b"}") {
                let mut buffer = [0; 4096];
                let length = socket.read(&mut buffer).unwrap();
                seen.extend_from_slice(&buffer[..length]);
            }
            let body = r#"{"id":"a","object":"chat.completion","created":1,"model":"hello","choices":[{"index":0,"finish_reason":"stop","message":{"role":"assistant","content":"ok"}}]}"#;
            let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\n";
            write!(socket, "{head}content-length: {}\r\n\r\n{body}", body.len()).unwrap();
        }
    });
    address
}

#[test]
fn want_of_descriptors_for_a_connection_is_held_against_no_upstream() {
    let provider = format!("{{type: OpenAI, baseURL: 'http://{}/v1'}}", upstream());
    let files = Files::new(&manifests("hello", &provider));
    let program = Limited::start(files.path.to_str().unwrap());
    let ask = || exchange(program.gateway, chat("hello", "").as_bytes());
    assert_eq!(status(&ask()), "200");
    program.settles();
    // For the client's connection, and none for the upstream's.
    program.leave(1);
    // More than would evict it.
    for _ in 0..7 {
        program.settles();
        let answer = ask();
        assert_eq!(status(&answer), "503", "{answer}");
        assert!(answer.contains("no file descriptors left"), "{answer}");
    }
    program.limit(HARD);
    assert_eq!(status(&ask()), "200", "at once");
    let exhausted = metric(program.admin, "routeapi_descriptors_exhausted_total{operation=\"connect\"}");
    assert!(exhausted.parse::<u64>().unwrap() >= 7, "{exhausted}: a request may try again");
    assert_eq!(metric(program.admin, "routeapi_upstream_ready{"), "1");
    eventually("the log says so", || program.log().contains("no file descriptors left"));
    assert_eq!(program.log().matches("no file descriptors left").count(), 1, "{}", program.log());
}
