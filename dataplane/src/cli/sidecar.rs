//! `routeapi sidecar`: the gateway's address inside an app's pod.

use std::{io, net::SocketAddr, path::PathBuf, process::ExitCode, sync::Arc, time::Duration};

use anyhow::Context;
use clap::{Args as ClapArgs, Subcommand};
use routeapi_process::{DefaultHost, listen};
use tokio_util::sync::CancellationToken;

use super::{
    inject, manifests,
    options::{duration, on_any_address, switch},
};
use crate::{
    app::ShutdownTimeouts,
    sidecar::{CONNECT_TIMEOUT, GatewayCa, GatewayUrl, Settings, Sidecar},
    upstream::Egress,
};

const EXAMPLES: &str = "\
Examples:
  routeapi sidecar --gateway https://routeapi.ai-platform.svc --gateway-ca /var/run/secrets/routeapi.dev/ca/ca.crt

The app uses http://127.0.0.1:4000 as base URL (with /v1 or /v1beta where its SDK wants that) and any API key, which is
replaced by the pod's ServiceAccount token. The token is for the audience routeapi-gateway, and is read again when its file
changes.

The CA can also be given as PEM text in ROUTEAPI_GATEWAY_CA. Without a CA, the public ones are trusted; SSL_CERT_FILE and
SSL_CERT_DIR add to them. Proxies in the environment are not used.

Ready while the gateway answers. On SIGTERM it takes no more connections, lets answers in progress finish for
--drain-timeout, and exits with code 0.";

/// Holds a CA as PEM text, for pods in namespaces that do not hold it as an object.
const CA_VARIABLE: &str = "ROUTEAPI_GATEWAY_CA";

/// What `sidecar` takes.
#[derive(Debug, ClapArgs)]
#[command(after_help = EXAMPLES, args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Option<Command>,
    /// URL of the gateway's Service, https://NAME.NAMESPACE.svc[:PORT]. http is for loopback, see --allow-plain-http.
    #[arg(long, value_name = "URL", env = "ROUTEAPI_GATEWAY", required = true)]
    gateway: Option<String>,
    /// PEM certificates of the CA of the gateway's certificate; reread for each connection.
    #[arg(long, value_name = "FILE", env = "ROUTEAPI_GATEWAY_CA_FILE")]
    gateway_ca: Option<PathBuf>,
    /// The pod's ServiceAccount token for the audience routeapi-gateway; reread when it changes.
    #[arg(
        long,
        value_name = "FILE",
        env = "ROUTEAPI_TOKEN_FILE",
        default_value = "/var/run/secrets/routeapi.dev/serviceaccount/token"
    )]
    token_file: PathBuf,
    /// Address to serve on. A loopback address: whoever can reach it calls as this pod.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:4000", value_parser = on_loopback)]
    listen: SocketAddr,
    /// Address of /readyz, /livez and /metrics. [::] includes IPv4, and means 0.0.0.0 on a host without IPv6.
    #[arg(long, value_name = "ADDRESS", default_value = "[::]:4090", value_parser = on_any_address)]
    admin: SocketAddr,
    /// How long answers in progress may take after SIGTERM.
    #[arg(long, value_name = "DURATION", default_value = "20s", value_parser = duration)]
    drain_timeout: Duration,
    /// Allow a gateway URL with http that is not on loopback: tokens, prompts and answers can be read on their way.
    #[arg(long, env = "ROUTEAPI_ALLOW_PLAIN_HTTP", value_parser = switch)]
    allow_plain_http: bool,
    /// Write no access log (one JSON line per request on standard output).
    #[arg(long)]
    no_access_log: bool,
}

/// What is done with sidecars outside their pods.
#[derive(Debug, Subcommand)]
enum Command {
    /// Add the sidecar to the pods of manifests.
    Inject(inject::Args),
}

/// Serves until it is told to stop, or does what is asked of manifests.
pub(super) fn sidecar(args: Args) -> anyhow::Result<ExitCode> {
    if let Some(Command::Inject(inject)) = &args.command {
        return inject::inject(inject);
    }
    let gateway = args.gateway.context("--gateway is required")?;
    let gateway = GatewayUrl::read(&gateway, args.allow_plain_http).context("--gateway")?;
    let sidecar = Sidecar::bind(Settings {
        listen: args.listen,
        admin: args.admin,
        gateway: gateway.clone(),
        ca: ca(args.gateway_ca)?,
        token: args.token_file,
        connect: CONNECT_TIMEOUT,
        // Nothing sends new requests: native sidecars are stopped after the app.
        shutdown: ShutdownTimeouts { delay: Duration::ZERO, timeout: args.drain_timeout, on_signals: true },
        access_log: (!args.no_access_log).then(|| Box::new(io::stdout()) as Box<dyn io::Write + Send>),
    })?;
    tracing::info!(address = %sidecar.address, admin = %sidecar.admin, %gateway, "listening");
    sidecar.run(&CancellationToken::new())?;
    Ok(ExitCode::SUCCESS)
}

/// The file, or else the variable, or else what upstreams are verified with.
fn ca(file: Option<PathBuf>) -> anyhow::Result<GatewayCa> {
    if let Some(file) = file {
        return Ok(GatewayCa::File(file));
    }
    match manifests::environment(CA_VARIABLE).filter(|pem| !pem.trim().is_empty()) {
        Some(pem) => GatewayCa::from_pem(&pem).map_err(anyhow::Error::msg).context(CA_VARIABLE),
        None => Ok(GatewayCa::Roots(Arc::clone(Egress::read(manifests::environment)?.roots()))),
    }
}

impl Args {
    /// Whether it serves in a pod.
    pub(super) fn serves(&self) -> bool {
        self.command.is_none()
    }
}

/// An address of this pod alone.
fn on_loopback(text: &str) -> Result<SocketAddr, String> {
    let address = listen(text, DefaultHost::Loopback)?;
    if address.ip().to_canonical().is_loopback() {
        return Ok(address);
    }
    Err("must be a loopback address such as 127.0.0.1:4000: whoever can reach it calls as this pod".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sidecar_listens_on_loopback_only() {
        for text in ["127.0.0.1:4000", "[::1]:4000", "localhost:4000", "4000", "127.0.0.2:0"] {
            assert!(on_loopback(text).unwrap().ip().is_loopback(), "{text}");
        }
        for text in ["0.0.0.0:4000", "[::]:4000", "*:4000", "10.0.0.1:4000", "[::ffff:10.0.0.1]:4000"] {
            assert!(on_loopback(text).unwrap_err().contains("must be a loopback address"), "{text}");
        }
    }
}
