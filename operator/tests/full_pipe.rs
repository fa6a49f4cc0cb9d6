//! An operator whose standard error is a full pipe serves its probes, and exits on SIGTERM.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test stops at the first surprise")]

use std::{
    fs::{self, File},
    io::{ErrorKind, PipeWriter, Read, Write, pipe},
    net::{SocketAddr, TcpListener, TcpStream},
    os::{fd::AsRawFd, unix::fs::OpenOptionsExt},
    process::{Child, Command},
    time::{Duration, Instant},
};

const O_NONBLOCK: i32 = 0o4000;

/// Limit for each step, which takes milliseconds on an idle machine.
const STEP_TIMEOUT: Duration = Duration::from_secs(30);

/// Killed when dropped.
struct Program(Child);

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Fills the pipe, through a file description of its own, so that the child's stays a blocking one.
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

fn live(admin: SocketAddr) -> bool {
    let Ok(mut socket) = TcpStream::connect(admin) else { return false };
    socket.set_read_timeout(Some(STEP_TIMEOUT)).unwrap();
    socket.write_all(b"GET /livez HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").unwrap();
    let mut response = String::new();
    socket.read_to_string(&mut response).unwrap();
    response.starts_with("HTTP/1.1 200")
}

fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + STEP_TIMEOUT;
    while !holds() {
        assert!(Instant::now() < end, "timed out: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_full_log_pipe_blocks_neither_probes_nor_shutdown() {
    // Closed port: each watch fails and is logged.
    let api_server = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let admin = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let directory = tempfile::tempdir().unwrap();
    let kubeconfig = directory.path().join("kubeconfig");
    fs::write(
        &kubeconfig,
        format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: c\n\
             contexts: [{{name: c, context: {{cluster: c, user: u}}}}]\n\
             clusters: [{{name: c, cluster: {{server: 'http://{api_server}'}}}}]\nusers: [{{name: u, user: {{}}}}]\n"
        ),
    )
    .unwrap();
    let (_reader, writer) = pipe().unwrap();
    fill(&writer);
    let child = Command::new(env!("CARGO_BIN_EXE_routeapi-operator"))
        .args(["run", "--listen=127.0.0.1:0"])
        .arg(format!("--admin={admin}"))
        .env("KUBECONFIG", &kubeconfig)
        .env("ROUTEAPI_LOG", "trace")
        .stdout(writer.try_clone().unwrap())
        .stderr(writer.try_clone().unwrap())
        .spawn()
        .unwrap();
    let mut program = Program(child);
    eventually("the probe succeeds", || live(admin));

    let sent = Command::new("kill").args(["-TERM", &program.0.id().to_string()]).status().unwrap();
    assert!(sent.success());
    let mut ended = None;
    eventually("the operator has exited", || {
        ended = program.0.try_wait().unwrap();
        ended.is_some()
    });
    assert!(ended.unwrap().success(), "graceful shutdown, not exit_after");
}
