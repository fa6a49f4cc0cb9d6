//! Error messages of an operator that cannot start.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test stops at the first surprise")]

use std::process::{Command, Output};

use tempfile::TempDir;

/// Runs the operator without a ServiceAccount and a kubeconfig of its own.
fn operator(home: &TempDir, arguments: &[&str], variables: &[(&str, &str)]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_routeapi-operator"));
    for name in ["KUBECONFIG", "KUBERNETES_SERVICE_HOST", "KUBERNETES_SERVICE_PORT", "ROUTEAPI_LOG"] {
        command.env_remove(name);
    }
    command.args(arguments).env("HOME", home.path()).envs(variables.iter().copied()).output().unwrap()
}

fn standard_error(output: &Output) -> String {
    assert!(output.stdout.is_empty(), "{output:?}");
    String::from_utf8(output.stderr.clone()).unwrap()
}

#[test]
fn without_an_api_server_it_fails_with_one_line() {
    let home = tempfile::tempdir().unwrap();
    let missing = home.path().join("missing").display().to_string();
    let broken = home.path().join("broken");
    std::fs::write(&broken, "clusters: [").unwrap();
    let broken = broken.display().to_string();
    for variables in [&[][..], &[("KUBECONFIG", missing.as_str())], &[("KUBECONFIG", broken.as_str())]] {
        let output = operator(&home, &["run"], variables);
        let text = standard_error(&output);
        assert_eq!(output.status.code(), Some(1), "{variables:?}: {text}");
        let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
        let [line] = lines.as_slice() else { panic!("{variables:?}: {text}") };
        assert!(line.starts_with("error: cannot find an API server"), "{line}");
        assert!(line.contains("Set KUBECONFIG") && line.contains("charts/routeapi"), "{line}");
    }
}

#[test]
fn an_invalid_log_filter_fails_with_one_line() {
    let home = tempfile::tempdir().unwrap();
    for (arguments, variables) in [
        (&["--log", "inof", "run"][..], &[][..]),
        (&["run", "--log=info,routeapi_operator=loud"], &[]),
        (&["run"], &[("ROUTEAPI_LOG", "verbose")]),
    ] {
        let output = operator(&home, arguments, variables);
        let text = standard_error(&output);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {text}");
        assert_eq!(text.lines().count(), 1, "{text}");
        assert!(text.contains("use off, error, warn, info, debug or trace"), "{text}");
    }
}
