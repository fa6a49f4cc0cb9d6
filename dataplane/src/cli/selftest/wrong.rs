//! What can fail, and what to check then.

use http::StatusCode;

/// One thing that is wrong.
#[derive(Debug, thiserror::Error)]
pub(super) enum Wrong {
    /// Its name does not resolve.
    #[error("{host} does not resolve: {error}")]
    Nameless { host: String, error: String },
    /// Nothing takes connections there.
    #[error("cannot connect to {gateway}: {error}")]
    Unreached { gateway: String, error: String },
    /// A connection, but no answer.
    #[error("{question}: no answer: {what}")]
    Silent { question: String, what: String },
    /// Something else answers.
    #[error("{question}: answered {status} without x-routeapi-request-id, so this is not RouteAPI: {body}")]
    Stranger { question: String, status: StatusCode, body: String },
    /// The right one, but not as it should.
    #[error("{question}: answered {status} where {wanted} was expected: {body}")]
    Unexpected { question: String, wanted: &'static str, status: StatusCode, body: String },
    /// The right one, in another dialect.
    #[error("{question}: the error is not in the format of {vendor}: {body}")]
    Shape { question: String, vendor: &'static str, body: String },
    /// It was told nothing yet.
    #[error("the gateway runs but has no configuration: {says}")]
    Unconfigured { says: String },
    /// The key is not good.
    #[error("the key is rejected: {says}")]
    Key { says: String },
}

/// From where a gateway is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Vantage {
    /// A pod of a cluster.
    Pod,
    /// A machine outside any.
    Outside,
}

impl Vantage {
    /// Of this process: Kubernetes tells every container its API server.
    pub(super) fn here() -> Self {
        let in_pod = std::env::var_os("KUBERNETES_SERVICE_HOST").is_some();
        if in_pod { Self::Pod } else { Self::Outside }
    }
}

impl Wrong {
    /// What to look at, as fits where the gateway should be and from where it is asked.
    pub(super) fn look_at(&self, host: &str, from: Vantage) -> Vec<String> {
        let unreached = matches!(self, Self::Nameless { .. } | Self::Unreached { .. });
        if from == Vantage::Outside && is_loopback(host) {
            return self.on_this_machine();
        }
        if from == Vantage::Outside && unreached && namespace(host).is_some() {
            return from_outside(host);
        }
        self.in_the_cluster(host)
    }

    /// Beside a gateway that `routeapi run` or a port-forward should have on this machine.
    fn on_this_machine(&self) -> Vec<String> {
        let lines: &[&str] = match self {
            Self::Nameless { .. } | Self::Unreached { .. } | Self::Silent { .. } => &[
                "whether `routeapi run -f ...` is running: it prints \"listening on http://...\", and --listen sets the port",
                "for a gateway in a cluster, whether `kubectl port-forward` is running",
            ],
            Self::Stranger { .. } => {
                &["the port: another program listens on it; `routeapi run` prints the port it uses"]
            }
            Self::Unexpected { .. } | Self::Shape { .. } | Self::Unconfigured { .. } => {
                &["the output of `routeapi run`, or of the gateway behind `kubectl port-forward`"]
            }
            Self::Key { .. } => &[
                "the tokens that `routeapi run` printed: generated ones change with each start",
                "the value in the token's Secret, if it has one",
            ],
        };
        lines.iter().map(|line| (*line).to_owned()).collect()
    }

    /// Commands that show why. A host outside the cluster tells no namespace.
    fn in_the_cluster(&self, host: &str) -> Vec<String> {
        let (list, namespace) = match namespace(host) {
            Some(namespace) => (format!("-n {namespace}"), namespace),
            None => ("-A".to_owned(), "NAMESPACE"),
        };
        let of = |component: &'static str| {
            format!("-l app.kubernetes.io/part-of=routeapi,app.kubernetes.io/component={component}")
        };
        let pods = format!("kubectl get pods {list} {}", of("data-plane"));
        let service = format!("kubectl get services,endpointslices {list} {}", of("data-plane"));
        let log = |component| format!("kubectl logs -n {namespace} {} --tail=50", of(component));
        match self {
            Self::Nameless { .. } => {
                vec![service, "kubectl get pods -n kube-system -l k8s-app=kube-dns".to_owned()]
            }
            Self::Unreached { .. } | Self::Silent { .. } => {
                vec![pods, service, format!("kubectl get networkpolicies {list}"), log("data-plane")]
            }
            Self::Stranger { .. } => vec![
                format!("{service}   # the gateway's address"),
                "the URL in --gateway, and proxies on the way".to_owned(),
            ],
            Self::Unexpected { .. } | Self::Shape { .. } => vec![pods, log("data-plane")],
            Self::Unconfigured { .. } => {
                vec![log("data-plane"), format!("kubectl get pods {list} {}", of("operator")), log("operator")]
            }
            Self::Key { .. } => vec![
                "kubectl get apitokens -A   # Ready, and the Secret that holds the key".to_owned(),
                "the key in that Secret, and whether the app's pod started before it was rotated".to_owned(),
            ],
        }
    }
}

/// A Service's name asked for outside its cluster.
fn from_outside(host: &str) -> Vec<String> {
    let service = host.split('.').next().unwrap_or_default();
    let namespace = namespace(host).unwrap_or_default();
    vec![
        "where you run this: names of Services resolve only inside the cluster".to_owned(),
        format!("kubectl port-forward -n {namespace} service/{service} 8080:80, and --gateway http://localhost:8080"),
        format!("helm test RELEASE -n {namespace}, which runs this command in a pod"),
    ]
}

fn is_loopback(host: &str) -> bool {
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// Of `SERVICE.NAMESPACE.svc…`.
fn namespace(host: &str) -> Option<&str> {
    let mut labels = host.split('.').skip(1);
    let namespace = labels.next()?;
    (labels.next()? == "svc").then_some(namespace)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn service_name_gives_the_namespace() {
        assert_eq!(namespace("routeapi.ai.svc"), Some("ai"));
        assert_eq!(namespace("routeapi.ai.svc.cluster.local"), Some("ai"));
        assert_eq!(namespace("llm.example.com"), None);
        assert_eq!(namespace("127.0.0.1"), None);
        let wrong = Wrong::Unconfigured { says: String::new() };
        assert!(wrong.look_at("routeapi.ai.svc", Vantage::Pod).iter().all(|line| line.contains("-n ai ")));
    }

    #[test]
    fn advice_depends_on_where_selftest_runs() {
        let refused = || Wrong::Unreached { gateway: "it".to_owned(), error: String::new() };
        let nameless = Wrong::Nameless { host: String::new(), error: String::new() };
        for host in ["localhost", "127.0.0.1", "::1"] {
            let told = refused().look_at(host, Vantage::Outside).join("\n");
            assert!(told.contains("routeapi run") && !told.contains("kubectl get"), "{host}: {told}");
        }
        // In a pod, loopback is the pod itself.
        assert!(refused().look_at("localhost", Vantage::Pod).join("\n").contains("kubectl get pods"));
        let told = nameless.look_at("routeapi.ai.svc.cluster.local", Vantage::Outside).join("\n");
        assert!(told.contains("kubectl port-forward -n ai service/routeapi 8080:80"), "{told}");
        let told = nameless.look_at("routeapi.ai.svc", Vantage::Pod).join("\n");
        assert!(told.contains("k8s-app=kube-dns") && !told.contains("port-forward"), "{told}");
    }
}
