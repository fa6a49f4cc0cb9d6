//! `routeapi serve`: a gateway in a pod.

use std::{io, net::SocketAddr, path::PathBuf, process::ExitCode, time::Duration};

use clap::Args as ClapArgs;
use http::Uri;

use super::{
    limit_store::LimitStoreOptions,
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

Ready once it has a configuration: the operator's, or the last one from before a restart. On SIGTERM it becomes unready,
keeps serving for --drain-delay, then stops accepting connections; after --drain-timeout it ends the streams that are
left with an error in the format of their API. The pod's grace period has to be longer than both and 5 s together, after
which the process exits in any case. A second signal ends it within a second.

Connections to upstreams use the proxies in HTTPS_PROXY, HTTP_PROXY, ALL_PROXY and NO_PROXY, unless the AIProvider says
otherwise; connections to the operator never do. SSL_CERT_FILE and SSL_CERT_DIR add certificate authorities to the
built-in ones.";

/// What `serve` takes.
#[derive(Debug, ClapArgs)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// URL of the operator, https://HOST:PORT.
    #[arg(long, value_name = "URL", env = "ROUTEAPI_OPERATOR")]
    operator: Uri,
    /// PEM certificates of the operator's CA; reread for each connection.
    #[arg(long, value_name = "FILE", env = "ROUTEAPI_OPERATOR_CA")]
    operator_ca: PathBuf,
    /// ServiceAccount token for the audience routeapi-config; reread for each connection.
    #[arg(long, value_name = "FILE", default_value = "/var/run/secrets/routeapi/token", env = "ROUTEAPI_TOKEN_FILE")]
    token_file: PathBuf,
    /// Directory for the last good configuration, so that a restarted container can serve without the operator. It holds
    /// upstream keys: use a memory-backed volume that is deleted with the pod.
    #[arg(long, value_name = "DIR", env = "ROUTEAPI_STATE_DIR")]
    state_dir: Option<PathBuf>,
    /// This pod's name, for messages.
    #[arg(long, value_name = "NAME", env = "POD_NAME", default_value = "routeapi")]
    pod_name: String,
    /// Address to serve on. [::] includes IPv4, and means 0.0.0.0 on a host without IPv6.
    #[arg(long, value_name = "ADDRESS", default_value = "[::]:8080", value_parser = on_any_address)]
    listen: SocketAddr,
    /// Address to serve TLS on, if --tls-cert and --tls-key are given.
    #[arg(long, value_name = "ADDRESS", default_value = "[::]:8443", value_parser = on_any_address)]
    listen_tls: SocketAddr,
    /// PEM certificate chain; reloaded when the file changes.
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// PEM private key of --tls-cert.
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    /// Address of /metrics, /livez, /readyz and /config.
    #[arg(long, value_name = "ADDRESS", default_value = "[::]:9090", value_parser = on_any_address)]
    admin: SocketAddr,
    /// How long to keep accepting connections after SIGTERM, until load balancers have noticed.
    #[arg(long, value_name = "DURATION", default_value = "5s", value_parser = duration)]
    drain_delay: Duration,
    /// How long answers in progress may take after that.
    #[arg(long, value_name = "DURATION", default_value = "20s", value_parser = duration)]
    drain_timeout: Duration,
    /// Allow upstreams at loopback addresses, which lead into this pod: for trials on one machine. The operator needs the
    /// same setting. All other addresses that are refused in a cluster stay refused.
    #[arg(long, env = "ROUTEAPI_ALLOW_LOOPBACK_UPSTREAMS", value_parser = switch)]
    allow_loopback_upstreams: bool,
    /// Host of the Kubernetes API server, which is refused as an upstream. Kubernetes sets this variable in every pod.
    #[arg(long, value_name = "HOST", env = "KUBERNETES_SERVICE_HOST")]
    api_server_host: Option<String>,
    /// Write no access log (one JSON line per request on standard output).
    #[arg(long)]
    no_access_log: bool,
    #[command(flatten)]
    clients: Clients,
    #[command(flatten)]
    limit_store: LimitStoreOptions,
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
    let egress = Egress::read(manifests::environment)?;
    let running = App::start(Settings {
        listen: args.listen,
        listen_tls: files.map(|files| (args.listen_tls, files)),
        admin: args.admin,
        source: Source::Operator(subscription),
        limits: args.clients.limits(),
        requests: args.clients.requests(),
        upstreams: args.clients.upstreams(),
        limit_store: args.limit_store.open(&egress, manifests::environment)?,
        egress,
        cloud: manifests::cloud(),
        shutdown: ShutdownTimeouts { delay: args.drain_delay, timeout: args.drain_timeout, on_signals: true },
        workers: args.clients.workers,
        access_log: (!args.no_access_log).then(|| Box::new(io::stdout()) as Box<dyn io::Write + Send>),
        ledger: None,
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
