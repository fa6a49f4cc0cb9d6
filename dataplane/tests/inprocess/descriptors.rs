//! A process that has no file descriptors left waits for some instead of spinning, and serves on when there are.

use std::{
    fs,
    io::{BufRead, BufReader},
    net::SocketAddr,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use super::gateway::{chat, connect, echo, eventually, exchange, metric, status};

/// The program under a limit of descriptors; stopped when dropped.
struct Limited {
    child: Child,
    gateway: SocketAddr,
    admin: SocketAddr,
}

impl Limited {
    fn start(descriptors: u32, manifests: &str) -> Self {
        let program = env!("CARGO_BIN_EXE_routeapi");
        let run = "exec \"$0\" run -f \"$1\" --listen 127.0.0.1:0 --admin 127.0.0.1:0 --workers 1";
        let child = Command::new("sh")
            .args(["-c", &format!("ulimit -n {descriptors}; {run}"), program, manifests])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let nowhere: SocketAddr = ([0, 0, 0, 0], 0).into();
        let mut program = Self { child, gateway: nowhere, admin: nowhere };
        let lines = BufReader::new(program.child.stdout.take().unwrap()).lines();
        let mut found = lines.filter_map(|line| address(&line.unwrap()));
        program.gateway = found.next().expect("it says where it listens");
        program.admin = found.next().expect("it says where its admin listener is");
        program
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
fn want_of_descriptors_costs_no_cpu_and_ends_with_it() {
    let files = echo();
    let program = Limited::start(48, files.path.to_str().unwrap());
    assert_eq!(metric(program.admin, "routeapi_accept_failures_total"), "0");
    let crowd: Vec<_> = (0..64).map(|_| connect(program.gateway)).collect();
    // As long as the loop pauses, nothing tells that it does but the time it does not use.
    let (begun, before) = (Instant::now(), program.ticks());
    std::thread::sleep(Duration::from_millis(700));
    let (used, passed) = (program.ticks() - before, begun.elapsed());
    assert!(u128::from(used) * 10 < passed.as_millis() / 4, "{used} ticks of CPU in {passed:?}");
    drop(crowd);
    eventually("it serves again", || status(&exchange(program.gateway, chat("hello", "").as_bytes())) == "200");
    let failures: u64 = metric(program.admin, "routeapi_accept_failures_total").parse().unwrap();
    assert!((1..=20).contains(&failures), "{failures} failures to accept");
}
