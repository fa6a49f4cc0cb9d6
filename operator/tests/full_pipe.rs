//! An operator whose log nobody reads serves its probes, and ends when it is told to.
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

/// Longer than anything here may take.
const SOON: Duration = Duration::from_secs(30);

/// Killed when dropped.
struct Program(Child);

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
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

fn live(admin: SocketAddr) -> bool {
    let Ok(mut socket) = TcpStream::connect(admin) else { return false };
    socket.set_read_timeout(Some(SOON)).unwrap();
    socket.write_all(b"GET /livez HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).unwrap();
    answer.starts_with("HTTP/1.1 200")
}

fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + SOON;
    while !holds() {
        assert!(Instant::now() < end, "not in time: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_full_log_pipe_stops_neither_the_probes_nor_the_end() {
    // Nobody answers there: each watch fails and is logged.
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
    eventually("its probe answers", || live(admin));

    let sent = Command::new("kill").args(["-TERM", &program.0.id().to_string()]).status().unwrap();
    assert!(sent.success());
    let mut ended = None;
    eventually("it has ended", || {
        ended = program.0.try_wait().unwrap();
        ended.is_some()
    });
    assert!(ended.unwrap().success(), "in order, not by the last resort");
}
