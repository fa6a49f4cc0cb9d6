//! Finds the programs that the tests run for real; builds them when they are not there (`tests/tools/build`), or takes them
//! out of a package (`tests/tools/debian`).
//!
//! Nothing is ever skipped: a program that cannot be had fails the test that needs it.

use anyhow::{Context, Result, ensure};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, OnceLock, PoisonError};

/// The repository's root directory.
pub fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the tests are a directory of the repository")
}

/// The path of `etcd`, `kube-apiserver` or `kubectl`.
///
/// # Errors
/// When `tests/tools/build` fails; its own words are on stderr.
pub fn control_plane(program: &str) -> Result<PathBuf> {
    static DIRECTORY: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    let found = DIRECTORY.get_or_init(|| build(&["etcd", "k8s"]).map_err(|e| format!("{e:#}")));
    found.clone().map(|dir| dir.join(program)).map_err(anyhow::Error::msg)
}

/// The path of a tool that is one program of its own name: `helm`, `helm4`, `helm-docs`, `kube-score`.
///
/// # Errors
/// As [`control_plane`].
pub fn tool(name: &str) -> Result<PathBuf> {
    static FOUND: Mutex<BTreeMap<String, PathBuf>> = Mutex::new(BTreeMap::new());
    let mut found = FOUND.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(path) = found.get(name) {
        return Ok(path.clone());
    }
    let path = build(&[name])?.join(name);
    found.insert(name.to_owned(), path.clone());
    Ok(path)
}

/// The path of the Gateway API's CRD of HTTPRoutes.
///
/// # Errors
/// As [`control_plane`].
pub fn http_route_crd() -> Result<PathBuf> {
    Ok(build(&["gateway-api"])?.join("gateway.networking.k8s.io_httproutes.yaml"))
}

/// The path of a program of a Debian package, which is unpacked into the cache where the system lacks it.
///
/// # Errors
/// When it cannot be had; the words of `tests/tools/debian` are on stderr.
pub fn debian(package: &str, program: &str) -> Result<PathBuf> {
    debian_with(package, program, &[])
}

/// The same, with packages of libraries that it needs and a small system lacks.
///
/// # Errors
/// As [`debian`].
pub fn debian_with(package: &str, program: &str, libraries: &[&str]) -> Result<PathBuf> {
    static ONE: Mutex<()> = Mutex::new(());
    let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    run("tests/tools/debian", &[&[package, program], libraries].concat())
}

fn build(tools: &[&str]) -> Result<PathBuf> {
    run("tests/tools/build", tools)
}

/// Runs a script that prints one path.
fn run(script: &str, arguments: &[&str]) -> Result<PathBuf> {
    let script = repository().join(script);
    let output = Command::new(&script)
        .args(arguments)
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| format!("cannot run {}", script.display()))?;
    ensure!(output.status.success(), "{} {} failed", script.display(), arguments.join(" "));
    Ok(PathBuf::from(String::from_utf8(output.stdout)?.trim()))
}
