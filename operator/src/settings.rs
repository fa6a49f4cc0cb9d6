//! Flags and environment of `routeapi-operator run`. Every flag has a variable `ROUTEAPI_…`; the chart sets the names
//! that depend on the release. No decisions are made here, and no defaults of the kinds.

use std::{collections::BTreeSet, net::SocketAddr, str::FromStr};

use http::Uri;
use routeapi_compile::{AddressPolicy, AddressRules, Publishers};
use routeapi_crds::value::Duration;
use routeapi_process::{DefaultHost, listen};

use crate::index::usage::Bounds;

/// What the operator is told at its start.
#[derive(Clone, Debug, clap::Args)]
pub struct Settings {
    /// Where data planes connect (HTTP/2 over TLS). [::] takes IPv4 too, and is 0.0.0.0 on a host without IPv6.
    #[arg(long, env = "ROUTEAPI_LISTEN", default_value = "[::]:8443", value_parser = on_any_address)]
    pub listen: SocketAddr,

    /// Where /metrics, /livez and /readyz are served (HTTP).
    #[arg(long, env = "ROUTEAPI_ADMIN", default_value = "[::]:9090", value_parser = on_any_address)]
    pub admin: SocketAddr,

    /// The operator's own namespace: of its Lease, its certificates and, by default, of AIProviders.
    #[arg(long, env = "ROUTEAPI_NAMESPACE", default_value = "default")]
    pub namespace: String,

    /// What this replica is called in the Lease: its pod name. Default: a name of its own at each start.
    #[arg(long, env = "ROUTEAPI_IDENTITY", default_value_t = unique_identity())]
    pub identity: String,

    /// Namespaces whose AIProviders, AIRoutes and ApiTokens count. Default: all.
    #[arg(long, env = "ROUTEAPI_WATCH_NAMESPACES", value_delimiter = ',')]
    pub watch_namespaces: Vec<String>,

    /// Namespaces where Secrets and ConfigMaps that AIProviders name may be read. Default: the operator's own.
    #[arg(long, env = "ROUTEAPI_PROVIDER_NAMESPACES", value_delimiter = ',')]
    pub provider_namespaces: Vec<String>,

    /// Namespaces whose AIRoutes may serve tokens of other namespaces, beside those labelled
    /// routeapi.dev/publish-models=true. Default: the operator's own and those of AIProviders. The operator's own comes
    /// before the others, these before labelled ones.
    #[arg(long, env = "ROUTEAPI_PUBLISH_NAMESPACES", value_delimiter = ',')]
    pub publish_namespaces: Vec<String>,

    /// Only objects with these labels (key=value,…) belong to this installation.
    #[arg(long, env = "ROUTEAPI_SELECTOR")]
    pub selector: Option<String>,

    /// ServiceAccounts (namespace/name) that data planes run as.
    #[arg(long = "data-plane-service-account", env = "ROUTEAPI_DATA_PLANE_SERVICE_ACCOUNT", value_delimiter = ',')]
    pub data_planes: Vec<Account>,

    /// ServiceAccount (namespace/name) of the operator's own replicas, which may read each other's acknowledgements.
    #[arg(long = "operator-service-account", env = "ROUTEAPI_OPERATOR_SERVICE_ACCOUNT")]
    pub operator: Option<Account>,

    /// host:port of all replicas (a headless Service). Default: this is the only one.
    #[arg(long, env = "ROUTEAPI_PEERS")]
    pub peers: Option<String>,

    /// File with this replica's own token for the audience routeapi-config, for reading from peers.
    #[arg(long, env = "ROUTEAPI_PEER_TOKEN_FILE", default_value = "/var/run/secrets/routeapi/peer/token")]
    pub peer_token_file: std::path::PathBuf,

    /// Accept AIProviders at loopback addresses. Those lead into the data plane's own pod, so this is for trials on one
    /// machine; `routeapi serve` has to be told the same. Every other address that is refused in a cluster stays refused.
    #[arg(long, env = "ROUTEAPI_ALLOW_LOOPBACK_UPSTREAMS")]
    pub allow_loopback_upstreams: bool,

    /// Host of the API server, at which no upstream may be. Kubernetes sets this variable in every pod.
    #[arg(long, env = "KUBERNETES_SERVICE_HOST")]
    pub api_server_host: Option<String>,

    /// Name of the data planes' Service in the operator's namespace, at which no upstream may be.
    #[arg(long, env = "ROUTEAPI_GATEWAY_SERVICE")]
    pub gateway_service: Option<String>,

    /// Base URL that is written into tokens' Secrets, without a version segment.
    #[arg(long, env = "ROUTEAPI_GATEWAY_URL", default_value = "http://routeapi.default.svc")]
    pub gateway_url: String,

    /// Name of the Service that data planes connect to; the certificate is for it.
    #[arg(long, env = "ROUTEAPI_SERVICE", default_value = "routeapi-operator")]
    pub service: String,

    /// DNS suffix of the cluster.
    #[arg(long, env = "ROUTEAPI_CLUSTER_DOMAIN", default_value = "cluster.local")]
    pub cluster_domain: String,

    /// Secret that the operator keeps its CA and certificate in.
    #[arg(long, env = "ROUTEAPI_TLS_SECRET", default_value = "routeapi-config-tls")]
    pub tls_secret: String,

    /// Secret (kubernetes.io/tls, with ca.crt) that somebody else maintains, cert-manager for instance; the operator then
    /// has no CA of its own.
    #[arg(long, env = "ROUTEAPI_TLS_EXISTING_SECRET")]
    pub tls_existing_secret: Option<String>,

    /// ConfigMap that the CA certificates are published in for data planes to mount.
    #[arg(long, env = "ROUTEAPI_CA_CONFIG_MAP", default_value = "routeapi-config-ca")]
    pub ca_config_map: String,

    /// How long a new CA is published before it is used: kubelets need up to two minutes to update mounted files.
    #[arg(long, env = "ROUTEAPI_CA_PROPAGATION", default_value = "150s")]
    pub ca_propagation: Duration,

    /// The Lease that decides which replica writes.
    #[arg(long, env = "ROUTEAPI_LEASE", default_value = "routeapi-operator")]
    pub lease: String,

    /// A burst of changes is compiled once it has been quiet for this long,
    #[arg(long, env = "ROUTEAPI_DEBOUNCE_QUIET", default_value = "20ms")]
    pub debounce_quiet: Duration,

    /// or, if it does not end, after this long.
    #[arg(long, env = "ROUTEAPI_DEBOUNCE_MAX", default_value = "250ms")]
    pub debounce_max: Duration,

    /// AIProviders, AIRoutes and ApiTokens that one namespace may hold together; the oldest count. 0: no limit.
    /// The operator's own namespace and those of AIProviders have none.
    #[arg(long, env = "ROUTEAPI_NAMESPACE_MAX_OBJECTS", default_value_t = 2000)]
    pub namespace_max_objects: usize,

    /// Bytes that their specs may have together. 0: no limit.
    #[arg(long, env = "ROUTEAPI_NAMESPACE_MAX_BYTES", default_value_t = 8 << 20)]
    pub namespace_max_bytes: usize,

    /// How often every token's Secret is compared with its status.
    #[arg(long, env = "ROUTEAPI_RESYNC", default_value = "10m")]
    pub resync: Duration,

    /// How often the API server is asked whether a token's Secret was deleted or changed: for its metadata, since Secrets
    /// of apps are not watched. Of all tokens together at most 20 times a second, so less often if there are more than
    /// 100. 0s: never.
    #[arg(long, env = "ROUTEAPI_SECRET_CHECK", default_value = "5s")]
    pub secret_check: Duration,
}

/// An address to listen on; any, if a port is all that is said.
fn on_any_address(text: &str) -> Result<SocketAddr, String> {
    listen(text, DefaultHost::Any)
}

/// A ServiceAccount.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

/// Not `namespace/name`.
#[derive(Debug, thiserror::Error)]
#[error("{0:?} is not namespace/name")]
pub struct InvalidAccount(String);

/// Two replicas of one name would both think that they hold the lease.
fn unique_identity() -> String {
    let mut bytes = [0; 6];
    if getrandom::fill(&mut bytes).is_err() {
        return format!("routeapi-operator-{}-{}", std::process::id(), jiff::Timestamp::now().as_microsecond());
    }
    format!("routeapi-operator-{}", hex::encode(bytes))
}

impl Settings {
    /// Namespaces whose Secrets and ConfigMaps are watched.
    pub fn provider_namespaces(&self) -> Vec<String> {
        match self.provider_namespaces.as_slice() {
            [] => vec![self.namespace.clone()],
            named => named.to_vec(),
        }
    }

    /// What a namespace may hold, if that is bounded.
    pub fn namespace_bounds(&self) -> Option<Bounds> {
        let most = |value: usize| if value == 0 { usize::MAX } else { value };
        let (objects, bytes) = (most(self.namespace_max_objects), most(self.namespace_max_bytes));
        let exempt = self.provider_namespaces().into_iter().chain([self.namespace.clone()]).collect();
        (objects.min(bytes) < usize::MAX).then_some(Bounds { objects, bytes, exempt })
    }

    /// Who may publish models to tokens of other namespaces.
    pub fn publishers(&self) -> Publishers {
        let listed: BTreeSet<String> = match self.publish_namespaces.as_slice() {
            [] => self.provider_namespaces().into_iter().chain([self.namespace.clone()]).collect(),
            named => named.iter().cloned().collect(),
        };
        let first = listed.get(&self.namespace).cloned().unwrap_or_default();
        Publishers::Granted { first, listed }
    }

    /// Where upstreams may be.
    pub fn addresses(&self) -> AddressRules {
        let rules = AddressRules::from(AddressPolicy::in_cluster(self.allow_loopback_upstreams));
        let gateway = self.gateway_url.parse::<Uri>().ok().and_then(|url| url.host().map(str::to_owned));
        let services = [Some(&self.service), self.gateway_service.as_ref()].into_iter().flatten();
        let names = services.flat_map(|service| self.names_of(service)).chain(gateway);
        rules.with_api_server(self.api_server_host.as_deref().unwrap_or_default()).with_gateway(names)
    }

    /// What a Service of the operator's namespace may be called by pods there.
    fn names_of(&self, service: &str) -> Vec<String> {
        let (namespace, domain) = (&self.namespace, &self.cluster_domain);
        vec![
            format!("{service}.{namespace}.svc"),
            format!("{service}.{namespace}.svc.{domain}"),
            format!("{service}.{namespace}"),
            service.to_owned(),
        ]
    }

    /// The names that the serving certificate is for; the first is the one that peers ask for.
    pub fn dns_names(&self) -> Vec<String> {
        let mut names = self.names_of(&self.service);
        names.push("localhost".to_owned());
        names
    }
}

impl Account {
    /// As the API server names it.
    pub fn user_name(&self) -> String {
        format!("system:serviceaccount:{}:{}", self.namespace, self.name)
    }
}

impl FromStr for Account {
    type Err = InvalidAccount;

    fn from_str(text: &str) -> Result<Self, InvalidAccount> {
        match text.split_once('/') {
            Some((namespace, name)) if !namespace.is_empty() && !name.is_empty() && !name.contains('/') => {
                Ok(Self { namespace: namespace.to_owned(), name: name.to_owned() })
            }
            _ => Err(InvalidAccount(text.to_owned())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Flags {
        #[command(flatten)]
        settings: Settings,
    }

    #[test]
    fn replicas_without_a_name_do_not_share_one() {
        let identity = || Flags::parse_from(["test"]).settings.identity;
        assert_ne!(unique_identity(), unique_identity());
        assert!(identity().starts_with("routeapi-operator-"));
    }

    #[test]
    fn no_upstream_is_the_api_server_or_this_installation() {
        let flags = Flags::parse_from([
            "test",
            "--namespace=ai",
            "--service=gw-operator",
            "--gateway-service=gw",
            "--gateway-url=https://models.example.com",
            "--cluster-domain=corp.example",
            "--api-server-host=fd12::1",
        ]);
        let rules = flags.settings.addresses();
        assert!(rules.address("fd12::1".parse().unwrap()).is_err());
        for name in ["gw", "gw.ai", "gw.ai.svc", "gw.ai.svc.corp.example", "gw-operator.ai.svc", "models.example.com"] {
            assert!(rules.name(name).is_err(), "{name}");
        }
        assert!(rules.name("gw.other.svc").is_ok());
    }

    #[test]
    fn the_release_and_the_provider_namespaces_publish_unless_told_otherwise() {
        let publishers = |flags: &[&str]| {
            let all = ["test", "--namespace=ai"].iter().chain(flags);
            Flags::parse_from(all).settings.publishers()
        };
        let granted = |first: &str, listed: &[&str]| Publishers::Granted {
            first: first.to_owned(),
            listed: listed.iter().map(|&it| it.to_owned()).collect(),
        };
        assert_eq!(publishers(&[]), granted("ai", &["ai"]));
        assert_eq!(publishers(&["--provider-namespaces=keys,more"]), granted("ai", &["ai", "keys", "more"]));
        assert_eq!(publishers(&["--publish-namespaces=models"]), granted("", &["models"]));
        assert_eq!(publishers(&["--publish-namespaces=models,ai"]), granted("ai", &["models", "ai"]));
    }

    #[test]
    fn accounts_are_a_list_and_checked() {
        let flags = Flags::parse_from(["test", "--data-plane-service-account=ai/one,ai/two"]);
        let names: Vec<_> = flags.settings.data_planes.iter().map(Account::user_name).collect();
        assert_eq!(names, ["system:serviceaccount:ai:one", "system:serviceaccount:ai:two"]);
        assert!(Flags::try_parse_from(["test", "--data-plane-service-account=one"]).is_err());
    }
}
