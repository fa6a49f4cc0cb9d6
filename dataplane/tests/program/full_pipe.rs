//! A process whose output nobody reads serves on, and ends when it is told to.

use std::{
    fs::File,
    io::{BufRead, BufReader, ErrorKind, PipeReader, PipeWriter, Read, Write, pipe},
    net::SocketAddr,
    os::{fd::AsRawFd, unix::fs::OpenOptionsExt},
    process::{Child, Command, ExitStatus},
    time::{Duration, Instant},
};

use crate::{
    bytes::{SOON, chat, connect, eventually, exchange, get, status},
    files::{Files, echo, manifests},
};

const O_NONBLOCK: i32 = 0o4000;

/// `routeapi run` with both outputs into pipes; killed when dropped.
struct Program {
    child: Child,
    gateway: SocketAddr,
    admin: SocketAddr,
    _out: BufReader<PipeReader>,
    err: PipeReader,
    /// Our own ends of both pipes, to fill them; taken when there is nothing more to fill.
    writers: Vec<PipeWriter>,
}

impl Program {
    fn start(files: &Files, log: &str) -> Self {
        let ((out, out_writer), (err, err_writer)) = (pipe().unwrap(), pipe().unwrap());
        let child = Command::new(env!("CARGO_BIN_EXE_routeapi"))
            .args(["run", "--listen=127.0.0.1:0", "--admin=127.0.0.1:0", "--workers=1", "--access-log", "--log", log])
            .arg("-f")
            .arg(&files.path)
            .env("ROUTEAPI_LEDGER", "off")
            .stdout(out_writer.try_clone().unwrap())
            .stderr(err_writer.try_clone().unwrap())
            .spawn()
            .unwrap();
        let mut out = BufReader::new(out);
        let mut address = || loop {
            let mut line = String::new();
            assert!(out.read_line(&mut line).unwrap() > 0, "it says where it listens");
            if let Some((_, address)) = line.split_once(" on http://") {
                return address.trim().parse().unwrap();
            }
        };
        let (gateway, admin) = (address(), address());
        Self { child, gateway, admin, _out: out, err, writers: vec![out_writer, err_writer] }
    }

    fn signal(&self) {
        let sent = Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status().unwrap();
        assert!(sent.success());
    }

    fn ended(&mut self) -> ExitStatus {
        let end = Instant::now() + SOON;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < end, "it is still there");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Writes until nothing more fits, through a description of its own: the child's stays a blocking one.
fn fill(writer: &PipeWriter) {
    let path = format!("/proc/self/fd/{}", writer.as_raw_fd());
    let mut again = File::options().write(true).custom_flags(O_NONBLOCK).open(path).unwrap();
    for block in [&[b'\n'; 4096][..], b"\n"] {
        loop {
            match again.write(block) {
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => panic!("{error}"),
            }
        }
    }
}

#[test]
fn a_full_log_pipe_stops_neither_requests_nor_reloads_nor_the_end() {
    let files = echo();
    let mut program = Program::start(&files, "trace");
    program.writers.iter().for_each(fill);
    for _ in 0..20 {
        assert_eq!(status(&exchange(program.gateway, chat("hello", "").as_bytes())), "200");
    }
    // Tells of a new token on standard output, then of a mistake on standard error.
    let token = "---\napiVersion: routeapi.dev/v1alpha1\nkind: ApiToken\nmetadata: {name: b}\nspec: {models: ['*']}\n";
    files.replace(&(manifests("later", "{type: Echo}") + token));
    let ask = |model: &str| status(&exchange(program.gateway, chat(model, "").as_bytes())).to_owned();
    eventually("the edit is in force", || ask("later") == "200");
    files.replace("nonsense");
    files.replace(&manifests("last", "{type: Echo}"));
    eventually("so is the last one", || ask("last") == "200");
    assert_eq!(status(&get(program.admin, "/livez")), "200");

    program.signal();
    assert!(program.ended().success(), "in order, not by the last resort");
}

#[test]
fn a_clean_end_writes_every_line() {
    let mut program = Program::start(&echo(), "info");
    for _ in 0..20 {
        assert_eq!(status(&exchange(program.gateway, chat("hello", "").as_bytes())), "200");
    }
    program.signal();
    assert!(program.ended().success());
    let log = said(program);
    assert_eq!(log.lines().filter(|line| line.contains(r#""path":"/v1/chat/completions""#)).count(), 20, "{log}");
}

#[test]
fn a_second_signal_ends_at_once() {
    let mut program = Program::start(&echo(), "info");
    let mut unfinished = connect(program.gateway);
    let head = chat("hello", "");
    unfinished.write_all(&head.as_bytes()[..head.len() - 1]).unwrap();
    // A connection that has not been accepted by the time of the signal is not waited for.
    eventually("it has the request", || get(program.admin, "/metrics").contains("\nrouteapi_requests_in_flight 1\n"));
    program.signal();
    let draining = || get(program.admin, "/readyz").contains("[-]not-draining");
    eventually("it waits for the request", draining);
    program.signal();
    program.ended();
    let log = said(program);
    assert!(log.contains("second signal: exiting at once"), "{log}");
    assert!(!log.contains("the deadline has passed"), "{log}");
}

/// All that was written to standard error by a program that has ended.
fn said(mut program: Program) -> String {
    program.writers.clear();
    let mut text = String::new();
    program.err.read_to_string(&mut text).unwrap();
    text
}
