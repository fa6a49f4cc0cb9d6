//! Helm, run for real on this repository's chart.

use crate::tools;
use anyhow::{Context, Result, ensure};
use routeapi_crds::yaml;
use serde_json::Value;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What templates are rendered for. Our helm is built without the version of a cluster in it.
const KUBERNETES: &str = "--kube-version=1.34.4";

const HELM_3: &str = "helm";

/// The helms that people have.
pub const HELMS: [&str; 2] = [HELM_3, "helm4"];

/// The chart's directory.
pub fn chart() -> PathBuf {
    tools::repository().join("charts/routeapi")
}

/// A values file of the chart's `ci` directory.
pub fn values(name: &str) -> String {
    chart().join("ci").join(name).display().to_string()
}

/// Arguments for the defaults, and for each values file of the chart's `ci` directory.
///
/// # Panics
/// When that directory cannot be read.
pub fn all_values() -> Vec<Vec<String>> {
    let entries = std::fs::read_dir(chart().join("ci")).expect("the chart's values files");
    let mut names: Vec<_> = entries.map(|entry| entry.expect("a file").file_name()).collect();
    names.sort();
    let files = names.iter().map(|name| vec!["-f".to_owned(), values(&name.to_string_lossy())]);
    std::iter::once(Vec::new()).chain(files).collect()
}

/// Runs helm 3; its stdout.
///
/// # Errors
/// When it exits with a status other than 0: all it said.
pub fn helm<A: AsRef<OsStr>>(args: impl IntoIterator<Item = A>, kubeconfig: Option<&Path>) -> Result<String> {
    run(HELM_3, args, kubeconfig)
}

/// Runs one of [`HELMS`]; its stdout.
///
/// # Errors
/// As [`helm`].
pub fn run<A: AsRef<OsStr>>(
    program: &str,
    args: impl IntoIterator<Item = A>,
    kubeconfig: Option<&Path>,
) -> Result<String> {
    let home = tempfile::tempdir()?; // its caches and repositories are nobody else's
    let mut command = Command::new(tools::tool(program)?);
    command.args(args).env("HOME", home.path());
    for directory in ["XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME"] {
        command.env(directory, home.path());
    }
    command.env("KUBECONFIG", kubeconfig.unwrap_or(Path::new("/dev/null")));
    let output = command.output().context("helm starts")?;
    let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    ensure!(output.status.success(), "{}{}", said(&output.stdout), said(&output.stderr));
    Ok(String::from_utf8(output.stdout)?)
}

/// `helm lint --strict` with these further arguments.
///
/// # Errors
/// When it finds anything.
pub fn lint(program: &str, args: &[&str]) -> Result<String> {
    let chart = chart().display().to_string();
    run(program, ["lint", "--strict", KUBERNETES, &chart].iter().chain(args), None)
}

/// The objects of release `release` in namespace `namespace`, with these further arguments.
///
/// # Errors
/// When the values are refused or a template fails.
pub fn template(release: &str, namespace: &str, args: &[&str]) -> Result<Vec<Value>> {
    let text = manifest(HELM_3, release, namespace, args)?;
    Ok(yaml::read(&text)?.into_iter().map(|document| document.value).collect())
}

/// The same as the text that one of [`HELMS`] prints.
///
/// # Errors
/// As [`template`].
pub fn manifest(program: &str, release: &str, namespace: &str, args: &[&str]) -> Result<String> {
    let chart = chart().display().to_string();
    let fixed = ["template", release, &chart, "--namespace", namespace, KUBERNETES];
    run(program, fixed.iter().chain(args), None)
}

/// Installs the chart into a real API server, without waiting for pods that no node will run.
///
/// # Errors
/// When the server or the chart refuses.
pub fn install(release: &str, namespace: &str, kubeconfig: &Path, args: &[&str]) -> Result<String> {
    let chart = chart().display().to_string();
    let fixed = ["install", release, &chart, "--namespace", namespace];
    helm(fixed.iter().chain(args), Some(kubeconfig))
}

/// The objects of a kind.
pub fn of_kind<'a>(objects: &'a [Value], kind: &str) -> Vec<&'a Value> {
    objects.iter().filter(|object| object["kind"] == kind).collect()
}

/// The arguments of a Deployment's only container, `$(NAME)` filled in as a kubelet does.
pub fn arguments(deployment: &Value, variables: &[(&str, &str)]) -> Vec<String> {
    let args = deployment["spec"]["template"]["spec"]["containers"][0]["args"].as_array();
    let fill = |text: &str| {
        variables.iter().fold(text.to_owned(), |text, (name, value)| text.replace(&format!("$({name})"), value))
    };
    args.into_iter().flatten().filter_map(Value::as_str).map(fill).collect()
}
