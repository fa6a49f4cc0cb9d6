//! `routeapi sidecar inject`: adds the sidecar to the pods of manifests, for those who want it there and no webhook.

use std::{
    fmt::Write as _,
    fs,
    io::{self, Read, Write},
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context, bail};
use clap::Args as ClapArgs;
use routeapi_crds::yaml;
use routeapi_injection::{Sidecar, Workload, inject_manifest, sidecar::parse_gateway};

const EXAMPLES: &str = "\
Examples:
  kubectl get configmap -n routeapi routeapi-config-ca -o jsonpath='{.data.ca\\.crt}' > ca.crt
  routeapi sidecar inject -f app.yaml --gateway https://routeapi.routeapi.svc --gateway-ca ca.crt | kubectl apply -f -

Prints all manifests, with the sidecar in the pods of Pods, Deployments, StatefulSets, DaemonSets, ReplicaSets, Jobs and
CronJobs, and of Lists of these. Everything else stays as it is, except comments. Pods with the label
routeapi.dev/inject: \"false\" get none. If a pod cannot have the sidecar, nothing is printed and the exit code is 1.";

/// What `inject` takes.
#[derive(Debug, ClapArgs)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Manifests (YAML or JSON): files, or - for standard input.
    #[arg(short = 'f', long = "filename", value_name = "PATH", required = true, num_args = 1..)]
    paths: Vec<PathBuf>,
    /// Address of the gateway: https://host[:port].
    #[arg(long, value_name = "URL", value_parser = parse_gateway)]
    gateway: String,
    /// File with the CA certificates (PEM) that the gateway's certificate must be signed by. Default: public CAs.
    #[arg(long, value_name = "FILE")]
    gateway_ca: Option<PathBuf>,
    /// Image of the sidecar.
    #[arg(long, default_value = concat!("routeapi:", env!("CARGO_PKG_VERSION")))]
    image: String,
    /// Pull policy of the image.
    #[arg(long, default_value = "IfNotPresent", value_parser = ["Always", "IfNotPresent", "Never"])]
    image_pull_policy: String,
    /// Leave the user ID to the cluster, as OpenShift requires. Default: 65532.
    #[arg(long)]
    no_user: bool,
}

/// Prints the manifests with the sidecar; on standard error, what became of each workload.
///
/// # Errors
/// When a file cannot be read, is not YAML, or names nothing that has pods.
pub fn inject(args: &Args) -> anyhow::Result<ExitCode> {
    let sidecar = args.sidecar()?;
    let (mut printed, mut workloads) = (String::new(), Vec::new());
    for path in &args.paths {
        let (text, found) = rewrite(&read(path)?, &sidecar).with_context(|| path.display().to_string())?;
        if !printed.is_empty() && !text.is_empty() {
            printed.push_str("---\n");
        }
        printed.push_str(&text);
        workloads.extend(found);
    }
    if workloads.is_empty() {
        bail!("no Pod, Deployment, StatefulSet, DaemonSet, ReplicaSet, Job or CronJob in these manifests");
    }
    let mut said = io::stderr().lock();
    workloads.iter().try_for_each(|workload| {
        let word = if workload.outcome.is_ok() { "note" } else { "error" };
        writeln!(said, "{word}: {workload}")
    })?;
    if workloads.iter().any(|workload| workload.outcome.is_err()) {
        return Ok(ExitCode::FAILURE);
    }
    io::stdout().lock().write_all(printed.as_bytes())?;
    Ok(ExitCode::SUCCESS)
}

// === impl Args ===

impl Args {
    fn sidecar(&self) -> anyhow::Result<Sidecar> {
        let read = |path: &PathBuf| -> anyhow::Result<String> {
            let text = fs::read_to_string(path).with_context(|| format!("--gateway-ca {}", path.display()))?;
            if !text.contains("BEGIN CERTIFICATE") {
                bail!("--gateway-ca {}: no certificate in PEM", path.display());
            }
            Ok(text)
        };
        Ok(Sidecar {
            image: self.image.clone(),
            pull_policy: self.image_pull_policy.clone(),
            gateway: self.gateway.clone(),
            gateway_ca: self.gateway_ca.as_ref().map(read).transpose()?,
            resources: Sidecar::default_resources(),
            user: (!self.no_user).then_some(Sidecar::DEFAULT_USER),
        })
    }
}

fn read(path: &Path) -> anyhow::Result<String> {
    if path.as_os_str() == "-" {
        let mut text = String::new();
        io::stdin().lock().read_to_string(&mut text).context("standard input")?;
        return Ok(text);
    }
    fs::read_to_string(path).with_context(|| path.display().to_string())
}

/// All documents of a text with the sidecar, and what became of each workload.
fn rewrite(text: &str, sidecar: &Sidecar) -> anyhow::Result<(String, Vec<Workload>)> {
    let (mut printed, mut found) = (String::new(), Vec::new());
    for mut document in yaml::read(text)? {
        found.extend(inject_manifest(&mut document.value, sidecar));
        let separator = if printed.is_empty() { "" } else { "---\n" };
        write!(printed, "{separator}{}", yaml::write(&document.value)?)?;
    }
    Ok((printed, found))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Flags {
        #[command(flatten)]
        args: Args,
    }

    fn parse(flags: &[&str]) -> Result<Args, clap::Error> {
        let fixed = ["inject", "-f", "app.yaml"].iter().chain(flags);
        Flags::try_parse_from(fixed).map(|flags| flags.args)
    }

    #[test]
    fn documents_stay_in_order_and_pods_get_the_sidecar() {
        let sidecar = parse(&["--gateway=https://routeapi.ai.svc"]).unwrap().sidecar().unwrap();
        let text = "# first\nkind: ConfigMap\napiVersion: v1\ndata: {note: kept}\n---\napiVersion: v1\nkind: Pod\nmetadata: {name: app}\nspec: {containers: [{name: app}]}\n";
        let (printed, found) = rewrite(text, &sidecar).unwrap();
        let documents: Vec<_> = yaml::read(&printed).unwrap().into_iter().map(|document| document.value).collect();
        assert_eq!(documents[0]["data"]["note"], "kept");
        assert_eq!(documents[1]["spec"]["initContainers"][0], sidecar.container());
        assert_eq!(found.iter().map(ToString::to_string).collect::<Vec<_>>(), ["Pod app: sidecar added"]);
        assert_eq!(rewrite(&printed, &sidecar).unwrap().0, printed, "again it changes nothing");
    }

    #[test]
    fn files_are_read_before_anything_is_printed() {
        let missing = parse(&["--gateway=https://gw", "--gateway-ca=/nowhere/ca.crt"]).unwrap();
        assert!(missing.sidecar().unwrap_err().to_string().contains("--gateway-ca /nowhere/ca.crt"));
        let file = tempfile::NamedTempFile::new().unwrap();
        let path = format!("--gateway-ca={}", file.path().display());
        let empty = parse(&["--gateway=https://gw", &path]).unwrap();
        assert!(empty.sidecar().unwrap_err().to_string().ends_with("no certificate in PEM"));
        let error = rewrite("a: 1\n---\nb: [", &empty_sidecar()).unwrap_err().to_string();
        assert!(error.starts_with("line "), "{error}");
    }

    fn empty_sidecar() -> Sidecar {
        parse(&["--gateway=https://gw"]).unwrap().sidecar().unwrap()
    }

    #[test]
    fn gateway_is_required_and_https() {
        for flags in [&[][..], &["--gateway=http://gw"], &["--gateway=gw"], &["--gateway=https://gw/v1"]] {
            assert!(parse(flags).is_err(), "{flags:?}");
        }
        assert_eq!(parse(&["--gateway=https://gw:8443/"]).unwrap().gateway, "https://gw:8443");
    }
}
