//! What may be wrong, in words, and what to look at then.

use http::StatusCode;

/// One thing that is wrong.
#[derive(Debug, thiserror::Error)]
pub(super) enum Wrong {
    /// Its name does not resolve.
    #[error("{host} does not resolve: {error}")]
    Nameless { host: String, error: String },
    /// Nothing takes connections there.
    #[error("{gateway} takes no connections: {error}")]
    Unreached { gateway: String, error: String },
    /// A connection, but no answer.
    #[error("{question}: no answer: {what}")]
    Silent { question: String, what: String },
    /// Something else answers.
    #[error("{question}: answered {status} without x-routeapi-request-id: this is not RouteAPI. It says: {body}")]
    Stranger { question: String, status: StatusCode, body: String },
    /// The right one, but not as it should.
    #[error("{question}: answered {status} where {wanted} was expected: {body}")]
    Unexpected { question: String, wanted: &'static str, status: StatusCode, body: String },
    /// The right one, in another dialect.
    #[error("{question}: the error is not in {vendor}'s shape: {body}")]
    Shape { question: String, vendor: &'static str, body: String },
    /// It was told nothing yet.
    #[error("the gateway runs but has no configuration: {says}")]
    Unconfigured { says: String },
    /// The key is not good.
    #[error("the key is refused: {says}")]
    Key { says: String },
}

impl Wrong {
    /// Commands that show why. A host outside the cluster tells no namespace.
    pub(super) fn look_at(&self, host: &str) -> Vec<String> {
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
                "the URL that this was given, and proxies on the way".to_owned(),
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
    fn a_service_name_tells_the_namespace() {
        assert_eq!(namespace("routeapi.ai.svc"), Some("ai"));
        assert_eq!(namespace("routeapi.ai.svc.cluster.local"), Some("ai"));
        assert_eq!(namespace("llm.example.com"), None);
        assert_eq!(namespace("127.0.0.1"), None);
        let wrong = Wrong::Unconfigured { says: String::new() };
        assert!(wrong.look_at("routeapi.ai.svc").iter().all(|line| line.contains("-n ai ")));
    }
}
