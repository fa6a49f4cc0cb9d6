//! `routeapi serve`: a gateway in a pod.

use std::{io, net::SocketAddr, path::PathBuf, process::ExitCode, time::Duration};

use clap::Args as ClapArgs;
use http::Uri;

use super::{
    manifests,
    options::{Clients, duration, on_any_address, switch},
};
use crate::{
    app::{App, Settings, ShutdownTimeouts, Source},
    config::subscribe::{self, connect::Operator},
    server::tls::TlsFiles,
    upstream::{AddressPolicy, AddressRules, Egress},
};

const EXAMPLES: &str = "\
Examples:
  routeapi serve --operator https://routeapi-operator.routeapi-system.svc:8443 \\
    --operator-ca /var/run/secrets/routeapi/ca/ca.crt --state-dir /var/run/routeapi

Ready once a configuration is in force: the operator's, or the one that was in force before a restart. On SIGTERM it
stops being ready, serves on for --drain-delay, then takes no new connections, and after --drain-timeout ends the
streams that still run with an error of their own dialect. The pod's grace period has to be longer than both and 5 s:
after that the process ends whatever waits, such as a log that nobody reads. A second signal ends it within a second.

Upstreams are reached through the proxies that HTTPS_PROXY, HTTP_PROXY, ALL_PROXY and NO_PROXY name, unless the AIProvider
says otherwise; the operator never is. SSL_CERT_FILE and SSL_CERT_DIR name certificate authorities to trust beside the
built-in ones.";

/// What `serve` takes.
#[derive(Debug, ClapArgs)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// The operator's stream, https://HOST:PORT.
    #[arg(long, value_name = "URL", env = "ROUTEAPI_OPERATOR")]
    operator: Uri,
    /// PEM certificates of the operator's CA; read again for each connection.
    #[arg(long, value_name = "FILE", env = "ROUTEAPI_OPERATOR_CA")]
    operator_ca: PathBuf,
    /// ServiceAccount token with audience routeapi-config; read again for each connection.
    #[arg(long, value_name = "FILE", default_value = "/var/run/secrets/routeapi/token", env = "ROUTEAPI_TOKEN_FILE")]
    token_file: PathBuf,
    /// Keep the last good configuration here, to serve after a restart without the operator. It holds upstream keys:
    /// use a memory-backed volume that dies with the pod.
    #[arg(long, value_name = "DIR", env = "ROUTEAPI_STATE_DIR")]
    state_dir: Option<PathBuf>,
    /// This pod's name, for messages.
    #[arg(long, value_name = "NAME", env = "POD_NAME", default_value = "routeapi")]
    pod_name: String,
    /// Where to serve. [::] takes IPv4 too, and is 0.0.0.0 on a host without IPv6.
    #[arg(long, value_name = "ADDRESS", default_value = "[::]:8080", value_parser = on_any_address)]
    listen: SocketAddr,
    /// Where to serve TLS, if --tls-cert and --tls-key are given.
    #[arg(long, value_name = "ADDRESS", default_value = "[::]:8443", value_parser = on_any_address)]
    listen_tls: SocketAddr,
    /// PEM certificate chain; replaced while running when the file changes.
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// PEM private key of --tls-cert.
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    /// Where to serve /metrics, /livez, /readyz and /config.
    #[arg(long, value_name = "ADDRESS", default_value = "[::]:9090", value_parser = on_any_address)]
    admin: SocketAddr,
    /// From SIGTERM until no new connections are taken.
    #[arg(long, value_name = "DURATION", default_value = "5s", value_parser = duration)]
    drain_delay: Duration,
    /// From then until streams that still run are ended.
    #[arg(long, value_name = "DURATION", default_value = "20s", value_parser = duration)]
    drain_timeout: Duration,
    /// Connect to upstreams at loopback addresses too. Those lead into this pod, so this is for trials on one machine; the
    /// operator has to be told the same. Every other address that is refused in a cluster stays refused.
    #[arg(long, env = "ROUTEAPI_ALLOW_LOOPBACK_UPSTREAMS", value_parser = switch)]
    allow_loopback_upstreams: bool,
    /// Host of the API server, to which no upstream may lead. Kubernetes sets this variable in every pod.
    #[arg(long, value_name = "HOST", env = "KUBERNETES_SERVICE_HOST")]
    api_server_host: Option<String>,
    /// Write no access log (one JSON line per request on standard output).
    #[arg(long)]
    no_access_log: bool,
    #[command(flatten)]
    clients: Clients,
}

/// Serves until it is told to stop.
pub(super) fn serve(args: Args) -> anyhow::Result<ExitCode> {
    let files = args.tls_cert.zip(args.tls_key).map(|(certificate, key)| TlsFiles { certificate, key });
    let subscription = subscribe::Settings {
        operator: Operator { url: args.operator, ca: args.operator_ca, token: args.token_file },
        pod: args.pod_name,
        instance: instance()?,
        state: args.state_dir,
        addresses: AddressRules::from(AddressPolicy::in_cluster(args.allow_loopback_upstreams))
            .with_api_server(args.api_server_host.as_deref().unwrap_or_default()),
    };
    let running = App::start(Settings {
        listen: args.listen,
        listen_tls: files.map(|files| (args.listen_tls, files)),
        admin: args.admin,
        source: Source::Operator(subscription),
        limits: args.clients.limits(),
        requests: args.clients.requests(),
        upstreams: args.clients.upstreams(),
        egress: Egress::read(manifests::environment)?,
        shutdown: ShutdownTimeouts { delay: args.drain_delay, timeout: args.drain_timeout, on_signals: true },
        workers: args.clients.workers,
        access_log: (!args.no_access_log).then(|| Box::new(io::stdout()) as Box<dyn io::Write + Send>),
    })?;
    tracing::info!(
        gateway = %running.gateway,
        gateway_tls = running.gateway_tls.map(tracing::field::display),
        admin = %running.admin,
        "listening"
    );
    running.join();
    Ok(ExitCode::SUCCESS)
}

/// Tells one start of a pod from the next.
fn instance() -> anyhow::Result<String> {
    Ok(format!("{:016x}", getrandom::u64()?))
}
