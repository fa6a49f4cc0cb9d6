//! Flags and environment variables of `routeapi-operator run`. The chart sets the names that depend on the release. No decisions
//! are made here, and there are no defaults of the kinds.

pub mod sidecar;

use std::{collections::BTreeSet, net::SocketAddr, str::FromStr};

use http::Uri;
use routeapi_compile::{AddressPolicy, AddressRules, Publishers, WorkloadIdentity};
use routeapi_crds::value::Duration;
use routeapi_process::{DefaultHost, listen};

use crate::index::usage::NamespaceLimits;
use sidecar::SidecarSettings;

/// The operator's settings.
#[derive(Clone, Debug, clap::Args)]
pub struct Settings {
    /// Address for data planes (HTTP/2 over TLS). [::] includes IPv4; on hosts without IPv6 it means 0.0.0.0
    #[arg(long, env = "ROUTEAPI_LISTEN", default_value = "[::]:8443", value_parser = on_any_address)]
    pub listen: SocketAddr,

    /// Address for /metrics, /livez and /readyz (HTTP)
    #[arg(long, env = "ROUTEAPI_ADMIN", default_value = "[::]:9090", value_parser = on_any_address)]
    pub admin: SocketAddr,

    /// The operator's own namespace, for its Lease, its certificates and, by default, AIProviders
    #[arg(long, env = "ROUTEAPI_NAMESPACE", default_value = "default")]
    pub namespace: String,

    /// Identity of this replica in the Lease, usually its pod name. Default: a random name
    #[arg(long, env = "ROUTEAPI_IDENTITY", default_value_t = unique_identity())]
    pub identity: String,

    /// Namespaces to watch for AIProviders, AIRoutes and ApiTokens, separated by commas. Default: all
    #[arg(long, env = "ROUTEAPI_WATCH_NAMESPACES", value_delimiter = ',')]
    pub watch_namespaces: Vec<String>,

    /// Namespaces in which the operator reads Secrets and ConfigMaps for AIProviders, separated by commas. Default: the operator's
    /// own
    #[arg(long, env = "ROUTEAPI_PROVIDER_NAMESPACES", value_delimiter = ',')]
    pub provider_namespaces: Vec<String>,

    /// Namespaces whose AIRoutes may serve tokens of other namespaces, in addition to those labelled
    /// routeapi.dev/publish-models=true, separated by commas. The operator's own takes precedence over the others listed, and
    /// these over labelled ones. Default: the operator's own and the provider namespaces
    #[arg(long, env = "ROUTEAPI_PUBLISH_NAMESPACES", value_delimiter = ',')]
    pub publish_namespaces: Vec<String>,

    /// Namespaces whose AIProviders may use the data plane's own identity at a cloud (credentials.azure.workloadIdentity and
    /// others), separated by commas; * for all. Default: the operator's own
    #[arg(long, env = "ROUTEAPI_WORKLOAD_IDENTITY_NAMESPACES", value_delimiter = ',')]
    pub workload_identity_namespaces: Vec<String>,

    /// Label selector of the objects that belong to this installation, such as key=value
    #[arg(long, env = "ROUTEAPI_SELECTOR")]
    pub selector: Option<String>,

    /// ServiceAccounts of data planes (namespace/name), separated by commas
    #[arg(long = "data-plane-service-account", env = "ROUTEAPI_DATA_PLANE_SERVICE_ACCOUNT", value_delimiter = ',')]
    pub data_planes: Vec<Account>,

    /// ServiceAccount of the operator (namespace/name), whose replicas read each other's acknowledgements
    #[arg(long = "operator-service-account", env = "ROUTEAPI_OPERATOR_SERVICE_ACCOUNT")]
    pub operator: Option<Account>,

    /// host:port of a headless Service with all replicas. Default: this is the only replica
    #[arg(long, env = "ROUTEAPI_PEERS")]
    pub peers: Option<String>,

    /// File with this replica's ServiceAccount token for the audience routeapi-config
    #[arg(long, env = "ROUTEAPI_PEER_TOKEN_FILE", default_value = "/var/run/secrets/routeapi/peer/token")]
    pub peer_token_file: std::path::PathBuf,

    /// Accept AIProviders with loopback addresses, which are inside the data plane's own pod. For tests on one machine; set it for
    /// `routeapi serve` too. Other forbidden addresses stay forbidden
    #[arg(long, env = "ROUTEAPI_ALLOW_LOOPBACK_UPSTREAMS")]
    pub allow_loopback_upstreams: bool,

    /// Host of the API server, which must not be an upstream. Kubernetes sets this variable in every pod
    #[arg(long, env = "KUBERNETES_SERVICE_HOST")]
    pub api_server_host: Option<String>,

    /// Name of the data planes' Service in the operator's namespace, which must not be an upstream
    #[arg(long, env = "ROUTEAPI_GATEWAY_SERVICE")]
    pub gateway_service: Option<String>,

    /// Base URL of the gateway for the Secrets of ApiTokens, without a version segment
    #[arg(long, env = "ROUTEAPI_GATEWAY_URL", default_value = "http://routeapi.default.svc")]
    pub gateway_url: String,

    /// Name of the operator's Service, for which the serving certificate is issued
    #[arg(long, env = "ROUTEAPI_SERVICE", default_value = "routeapi-operator")]
    pub service: String,

    /// DNS domain of the cluster
    #[arg(long, env = "ROUTEAPI_CLUSTER_DOMAIN", default_value = "cluster.local")]
    pub cluster_domain: String,

    /// Secret for the operator's CA and serving certificate
    #[arg(long, env = "ROUTEAPI_TLS_SECRET", default_value = "routeapi-config-tls")]
    pub tls_secret: String,

    /// Secret with a serving certificate issued elsewhere, for example by cert-manager (type kubernetes.io/tls, with ca.crt). The
    /// operator then has no CA of its own
    #[arg(long, env = "ROUTEAPI_TLS_EXISTING_SECRET")]
    pub tls_existing_secret: Option<String>,

    /// ConfigMap for the CA certificates, which data planes mount
    #[arg(long, env = "ROUTEAPI_CA_CONFIG_MAP", default_value = "routeapi-config-ca")]
    pub ca_config_map: String,

    /// How long a new CA is published before it is used. Kubelets take up to two minutes to update mounted files
    #[arg(long, env = "ROUTEAPI_CA_PROPAGATION", default_value = "150s")]
    pub ca_propagation: Duration,

    /// Lease for leader election
    #[arg(long, env = "ROUTEAPI_LEASE", default_value = "routeapi-operator")]
    pub lease: String,

    /// Compile after there was no further change for this long
    #[arg(long, env = "ROUTEAPI_DEBOUNCE_QUIET", default_value = "20ms")]
    pub debounce_quiet: Duration,

    /// Compile no later than this after the first change
    #[arg(long, env = "ROUTEAPI_DEBOUNCE_MAX", default_value = "250ms")]
    pub debounce_max: Duration,

    /// Maximum number of AIProviders, AIRoutes and ApiTokens per namespace; the oldest are used. The operator's own namespace and the
    /// provider namespaces have no limit. 0: no limit
    #[arg(long, env = "ROUTEAPI_NAMESPACE_MAX_OBJECTS", default_value_t = 2000)]
    pub namespace_max_objects: usize,

    /// Maximum total size of their specs per namespace, in bytes. 0: no limit
    #[arg(long, env = "ROUTEAPI_NAMESPACE_MAX_BYTES", default_value_t = 8 << 20)]
    pub namespace_max_bytes: usize,

    /// Statuses that are written per second at most. 0: as many as the API server bears; the rate grows while statuses wait and
    /// is halved when the API server asks for less (429)
    #[arg(long = "status-writes-per-second", env = "ROUTEAPI_STATUS_WRITES_PER_SECOND", default_value_t = 0)]
    pub status_writes: u32,

    /// How often the Secret of every ApiToken is reconciled if --secret-check is 0s
    #[arg(long, env = "ROUTEAPI_RESYNC", default_value = "10m")]
    pub resync: Duration,

    /// How often the metadata of every ApiToken's Secret is read to notice that it was deleted or changed; the operator does not
    /// watch Secrets of apps. At most 20 reads per second in all, so less often with more than 100 tokens. 0s: never
    #[arg(long, env = "ROUTEAPI_SECRET_CHECK", default_value = "5s")]
    pub secret_check: Duration,

    /// Everything about sidecars.
    #[command(flatten)]
    pub sidecar: SidecarSettings,
}

/// An address to listen on; all addresses if there is only a port.
fn on_any_address(text: &str) -> Result<SocketAddr, String> {
    listen(text, DefaultHost::Any)
}

/// A ServiceAccount.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// Namespace of the ServiceAccount.
    pub namespace: String,
    /// Name of the ServiceAccount.
    pub name: String,
}

/// The text is not `namespace/name`.
#[derive(Debug, thiserror::Error)]
#[error("{0:?} is not namespace/name")]
pub struct InvalidAccount(String);

/// A random identity: two replicas with the same one would both consider themselves the leader.
fn unique_identity() -> String {
    let mut bytes = [0; 6];
    if getrandom::fill(&mut bytes).is_err() {
        return format!("routeapi-operator-{}-{}", std::process::id(), jiff::Timestamp::now().as_microsecond());
    }
    format!("routeapi-operator-{}", hex::encode(bytes))
}

impl Settings {
    /// The namespaces whose Secrets and ConfigMaps are watched.
    pub fn provider_namespaces(&self) -> Vec<String> {
        match self.provider_namespaces.as_slice() {
            [] => vec![self.namespace.clone()],
            named => named.to_vec(),
        }
    }

    /// The limits of each namespace, if there are any.
    pub fn namespace_limits(&self) -> Option<NamespaceLimits> {
        let unlimited = |value: usize| if value == 0 { usize::MAX } else { value };
        let (objects, bytes) = (unlimited(self.namespace_max_objects), unlimited(self.namespace_max_bytes));
        let exempt = self.provider_namespaces().into_iter().chain([self.namespace.clone()]).collect();
        (objects.min(bytes) < usize::MAX).then_some(NamespaceLimits { objects, bytes, exempt })
    }

    /// The namespaces that may publish models to tokens of other namespaces.
    pub fn publishers(&self) -> Publishers {
        let listed: BTreeSet<String> = match self.publish_namespaces.as_slice() {
            [] => self.provider_namespaces().into_iter().chain([self.namespace.clone()]).collect(),
            named => named.iter().cloned().collect(),
        };
        let first = listed.get(&self.namespace).cloned().unwrap_or_default();
        Publishers::Granted { first, listed }
    }

    /// The namespaces whose AIProviders may use the data plane's own identity.
    pub fn workload_identity(&self) -> WorkloadIdentity {
        match self.workload_identity_namespaces.as_slice() {
            [] => WorkloadIdentity::Namespaces([self.namespace.clone()].into()),
            named if named.iter().any(|name| name == "*") => WorkloadIdentity::Any,
            named => WorkloadIdentity::Namespaces(named.iter().cloned().collect()),
        }
    }

    /// The addresses that upstreams may have.
    pub fn addresses(&self) -> AddressRules {
        let rules = AddressRules::from(AddressPolicy::in_cluster(self.allow_loopback_upstreams));
        let gateway = self.gateway_url.parse::<Uri>().ok().and_then(|url| url.host().map(str::to_owned));
        let injection = self.sidecar.injection_service.as_ref();
        let services = [Some(&self.service), self.gateway_service.as_ref(), injection].into_iter().flatten();
        let names = services.flat_map(|service| self.names_of(service)).chain(gateway);
        rules.with_api_server(self.api_server_host.as_deref().unwrap_or_default()).with_gateway(names)
    }

    /// The DNS names of a Service in the operator's namespace, as pods may use them.
    fn names_of(&self, service: &str) -> Vec<String> {
        let (namespace, domain) = (&self.namespace, &self.cluster_domain);
        vec![
            format!("{service}.{namespace}.svc"),
            format!("{service}.{namespace}.svc.{domain}"),
            format!("{service}.{namespace}"),
            service.to_owned(),
        ]
    }

    /// The names in the serving certificate; replicas use the first.
    pub fn dns_names(&self) -> Vec<String> {
        let mut names = self.names_of(&self.service);
        names.push("localhost".to_owned());
        names
            .extend(self.sidecar.injection_service.as_ref().map(|service| format!("{service}.{}.svc", self.namespace)));
        names
    }

    /// The names in the certificate that is issued for the gateway.
    pub fn gateway_dns_names(&self) -> Vec<String> {
        self.gateway_service.iter().flat_map(|service| self.names_of(service)).collect()
    }
}

impl Account {
    /// The user name that the API server gives it.
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
    fn random_identities_are_unique() {
        let identity = || Flags::parse_from(["test"]).settings.identity;
        assert_ne!(unique_identity(), unique_identity());
        assert!(identity().starts_with("routeapi-operator-"));
    }

    #[test]
    fn the_api_server_and_this_installation_are_refused_as_upstreams() {
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
    fn workload_identity_is_for_the_operators_namespace_by_default() {
        let allowed = |flags: &[&str]| {
            let all = ["test", "--namespace=ai"].iter().chain(flags);
            Flags::parse_from(all).settings.workload_identity()
        };
        let listed = |names: &[&str]| WorkloadIdentity::Namespaces(names.iter().map(|&name| name.to_owned()).collect());
        assert_eq!(allowed(&["--provider-namespaces=keys"]), listed(&["ai"]));
        assert_eq!(allowed(&["--workload-identity-namespaces=a,b"]), listed(&["a", "b"]));
        assert_eq!(allowed(&["--workload-identity-namespaces=*"]), WorkloadIdentity::Any);
    }

    #[test]
    fn the_operators_and_the_provider_namespaces_publish_by_default() {
        let publishers = |flags: &[&str]| {
            let all = ["test", "--namespace=ai"].iter().chain(flags);
            Flags::parse_from(all).settings.publishers()
        };
        let granted = |first: &str, listed: &[&str]| Publishers::Granted {
            first: first.to_owned(),
            listed: listed.iter().map(|&name| name.to_owned()).collect(),
        };
        assert_eq!(publishers(&[]), granted("ai", &["ai"]));
        assert_eq!(publishers(&["--provider-namespaces=keys,more"]), granted("ai", &["ai", "keys", "more"]));
        assert_eq!(publishers(&["--publish-namespaces=models"]), granted("", &["models"]));
        assert_eq!(publishers(&["--publish-namespaces=models,ai"]), granted("ai", &["models", "ai"]));
    }

    #[test]
    fn service_accounts_are_a_validated_list() {
        let flags = Flags::parse_from(["test", "--data-plane-service-account=ai/one,ai/two"]);
        let names: Vec<_> = flags.settings.data_planes.iter().map(Account::user_name).collect();
        assert_eq!(names, ["system:serviceaccount:ai:one", "system:serviceaccount:ai:two"]);
        assert!(Flags::try_parse_from(["test", "--data-plane-service-account=one"]).is_err());
    }
}
