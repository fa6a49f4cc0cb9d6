//! `routeapi sidecar` as Kubernetes runs it: what it says of its command line, and the exit code it ends with.

use std::{
    io::{BufRead, BufReader},
    process::{Command, Output, Stdio},
};

const PROGRAM: &str = env!("CARGO_BIN_EXE_routeapi");

/// Nothing listens there.
const GATEWAY: &str = "https://127.0.0.1:1";

fn command(args: &[&str]) -> Command {
    let mut command = Command::new(PROGRAM);
    for name in ["ROUTEAPI_GATEWAY", "ROUTEAPI_GATEWAY_CA", "ROUTEAPI_GATEWAY_CA_FILE", "ROUTEAPI_LOG"] {
        command.env_remove(name);
    }
    command.arg("sidecar").args(args).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn said(output: &Output) -> String {
    String::from_utf8([&output.stdout[..], &output.stderr[..]].concat()).unwrap()
}

#[test]
fn sidecar_says_what_is_wrong_with_its_command_line() {
    for (args, code, words) in [
        (&["--help"][..], 0, "ROUTEAPI_GATEWAY_CA_FILE"),
        (&[], 2, "--gateway <URL>"),
        (&["--gateway", GATEWAY, "--listen", "0.0.0.0:0"], 2, "must be a loopback address"),
        (&["--gateway", "http://routeapi.ai.svc"], 1, "--gateway: \\\"http://routeapi.ai.svc\\\" would send"),
        (&["--gateway", "https://routeapi.ai.svc/v1"], 1, "must end behind the host"),
    ] {
        let output = command(args).output().unwrap();
        let said = said(&output);
        assert_eq!(output.status.code(), Some(code), "{args:?}: {said}");
        assert!(said.contains(words), "{args:?}: {said}");
    }
    let output = command(&["--gateway", GATEWAY]).env("ROUTEAPI_GATEWAY_CA", "not PEM").output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(said(&output).contains("ROUTEAPI_GATEWAY_CA: no certificate found"), "{}", said(&output));
}

#[test]
fn sigterm_ends_a_sidecar_with_code_0_whether_or_not_there_is_a_gateway() {
    let args = ["--gateway", GATEWAY, "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--token-file", "/none"];
    let mut child = command(&args).spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let mut log = Vec::new();
    while !log.iter().any(|line: &String| line.contains("\"listening\"")) {
        log.push(lines.next().expect("it ended").unwrap());
    }
    assert!(log.iter().any(|line| line.contains("the ServiceAccount token file /none: No such file")), "{log:?}");
    let status = Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap();
    assert!(status.success());
    let code = child.wait().unwrap().code();
    log.extend(lines.map_while(Result::ok));
    assert_eq!(code, Some(0), "{log:?}");
}
