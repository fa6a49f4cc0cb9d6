//! `routeapi sidecar` as Kubernetes runs it: what it says of its command line, and the exit code it ends with.

use std::{
    io::{BufRead, BufReader, Write},
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
fn inject_adds_the_sidecar_to_manifests() {
    let args = ["inject", "-f", "-", "--gateway", "https://routeapi.ai.svc", "--image", "registry.example/routeapi:1"];
    // In an injected pod the variable is there; it is not a flag of the sidecar that was given beside the command.
    let mut child = command(&args).env("ROUTEAPI_GATEWAY", GATEWAY).stdin(Stdio::piped()).spawn().unwrap();
    let pod = "{apiVersion: v1, kind: Pod, metadata: {name: app}, spec: {containers: [{name: app}]}}";
    child.stdin.take().unwrap().write_all(pod.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let (printed, said) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    assert_eq!(output.status.code(), Some(0), "{said}");
    assert!(
        printed.contains("image: registry.example/routeapi:1") && printed.contains("restartPolicy: Always"),
        "{printed}"
    );
    assert!(said.contains("Pod app: sidecar added"), "{said}");
    let without = command(&["inject", "-f", "-"]).output().unwrap();
    assert_eq!(without.status.code(), Some(2), "{}", self::said(&without));
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
