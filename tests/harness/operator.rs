//! A release of the chart on a real API server, with the real operator and real gateways of this process in the place of
//! its pods: the same arguments (read from the installed Deployment), the same ServiceAccounts with no more rights than the
//! chart gives them, the CA and token files that a kubelet would mount.
//!
//! Each operator has a runtime of its own, so that it can be killed: [`Operator::kill`] drops every task and socket of it
//! where they are, and the lease is not let go.

use crate::apiserver::{self, ApiServer, FakePod, client_of};
use crate::gateway::{Gateway, Subscription};
use crate::{helm, wait};
use anyhow::{Context as _, Result};
use clap::{Args as _, FromArgMatches as _};
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::api::{Api, DynamicObject, Patch, PatchParams};
use kube::core::{ApiResource, GroupVersionKind};
use routeapi_operator::settings::Settings;
use routeapi_operator::{app, telemetry::Metrics};
use serde_json::Value;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, Once};
use std::time::Duration;
use tokio::runtime::{Builder, Runtime};

/// How long anything may take that has no figure of its own.
const LIMIT: Duration = Duration::from_secs(30);

/// An installed chart.
pub struct Release {
    api: &'static ApiServer,
    /// The release's namespace.
    pub namespace: String,
    settings: Settings,
    operator_account: String,
    gateway_account: String,
    files: tempfile::TempDir,
}

/// A running operator replica. Dropping it kills it.
pub struct Operator {
    runtime: Option<Runtime>,
    app: Option<app::Operator>,
    /// Where data planes connect.
    pub config: SocketAddr,
    /// Where API servers ask about pods, if they do.
    pub injection: Option<SocketAddr>,
    /// Its counters.
    pub metrics: Arc<Metrics>,
}

/// A gateway in a pod that exists as an object.
pub struct PodGateway {
    /// The gateway.
    pub gateway: Gateway,
    subscription: Subscription,
}

impl Release {
    /// Installs the chart under the name `routeapi` with these further arguments of `helm install`.
    ///
    /// # Errors
    /// When chart or server refuse.
    pub async fn install(api: &'static ApiServer, args: &[&str]) -> Result<Self> {
        let namespace = api.namespace("routeapi").await?;
        helm::install("routeapi", &namespace, &api.kubeconfig(), args)?;
        let get = ["-n", &namespace, "get", "deployment", "-o", "json"];
        let deployments: Value = serde_json::from_str(&api.kubectl(&get).await?)?;
        let of = |component: &str| {
            let mut items = deployments["items"].as_array().into_iter().flatten();
            items.find(|it| it["metadata"]["labels"]["app.kubernetes.io/component"] == component).cloned()
        };
        let (operator, gateway) = (of("operator").context("an operator")?, of("data-plane").context("a data plane")?);
        let account = |of: &Value| of["spec"]["template"]["spec"]["serviceAccountName"].as_str().map(str::to_owned);
        let variables = [("POD_NAME", "operator-0"), ("POD_NAMESPACE", namespace.as_str())];
        let mut settings = settings(&helm::arguments(&operator, &variables))?;
        let any: SocketAddr = ([127, 0, 0, 1], 0).into();
        (settings.listen, settings.admin) = (any, any);
        settings.sidecar.injection_listen = settings.sidecar.injection_listen.map(|_| any);
        settings.peers = None; // its name is the cluster's DNS's to resolve, and there is one replica
        settings.allow_loopback_upstreams = true; // tests send to loopback only
        Ok(Self {
            api,
            namespace,
            settings,
            operator_account: account(&operator).context("an account")?,
            gateway_account: account(&gateway).context("an account")?,
            files: tempfile::tempdir()?,
        })
    }

    /// The API server that it is installed on.
    pub fn api(&self) -> &'static ApiServer {
        self.api
    }

    /// Starts the operator: at `port`, or at any.
    ///
    /// # Errors
    /// When a port is taken.
    pub async fn operator(&self, port: Option<u16>) -> Result<Operator> {
        keep_log();
        let token = self.api.service_account_token(&self.namespace, &self.operator_account, None).await?;
        let kubeconfig = self.api.kubeconfig_for(&format!("operator-of-{}", self.namespace), &token)?;
        let mut settings = self.settings.clone();
        settings.listen.set_port(port.unwrap_or(0));
        let runtime = Builder::new_multi_thread().worker_threads(2).thread_name("operator").enable_all().build()?;
        let start = async move {
            let client = client_of(&kubeconfig).await?;
            app::start(settings, client).await
        };
        let app = match runtime.spawn(start).await? {
            Ok(app) => app,
            Err(error) => {
                runtime.shutdown_background();
                return Err(error);
            }
        };
        let (config, injection, metrics) = (app.config, app.injection, Arc::clone(&app.metrics));
        Ok(Operator { runtime: Some(runtime), app: Some(app), config, injection, metrics })
    }

    /// Starts a gateway in a new pod of the data plane, as soon as the operator has published its CA. It may not be ready
    /// yet.
    ///
    /// # Errors
    /// When the server refuses the pod or its token.
    pub async fn gateway(&self, operator: &Operator) -> Result<PodGateway> {
        let pod = self.api.pod(&self.namespace, &self.gateway_account).await?;
        let subscription = self.subscribe(&pod, operator).await?;
        Ok(PodGateway { gateway: Gateway::serve(&subscription), subscription })
    }

    async fn subscribe(&self, pod: &FakePod, operator: &Operator) -> Result<Subscription> {
        let maps: Api<ConfigMap> = Api::namespaced(self.api.client().await?, &self.namespace);
        let bundle = || async {
            let map = maps.get_opt(&self.settings.ca_config_map).await.ok()??;
            map.data?.get("ca.crt").cloned()
        };
        let (bundle, _) = wait::until("the operator publishes its CA", LIMIT, bundle).await;
        let directory = self.files.path().join(&pod.name);
        std::fs::create_dir(&directory)?;
        let file = |name: &str| -> PathBuf { directory.join(name) };
        std::fs::write(file("ca.crt"), bundle)?;
        std::fs::write(file("token"), pod.token(routeapi_channel::frame::AUDIENCE).await?)?;
        Ok(Subscription {
            port: operator.config.port(),
            ca: file("ca.crt"),
            token: file("token"),
            state: directory,
            pod: pod.name.clone(),
        })
    }

    /// Applies manifests as `kubectl apply --server-side` does, in a namespace.
    ///
    /// # Errors
    /// What the server says.
    pub async fn apply(&self, namespace: &str, manifests: &str) -> Result<String> {
        self.api.kubectl_with_input(&["-n", namespace, "apply", "--server-side", "-f", "-"], manifests).await
    }

    /// One of our objects, through a client of the caller's runtime.
    ///
    /// # Errors
    /// When there is no client.
    pub async fn objects(&self, kind: &str, namespace: &str) -> Result<Api<DynamicObject>> {
        let resource = ApiResource::from_gvk(&GroupVersionKind::gvk("routeapi.dev", "v1alpha1", kind));
        Ok(Api::namespaced_with(self.api.client().await?, namespace, &resource))
    }

    /// Waits until a condition of an object has this status for its current generation; the condition.
    ///
    /// # Panics
    /// When it has another after half a minute.
    pub async fn condition(&self, kind: &str, at: (&str, &str), wanted: (&str, &str)) -> Value {
        let api = self.objects(kind, at.0).await.unwrap();
        let look = || async {
            let object = api.get(at.1).await.ok()?;
            let conditions = object.data["status"]["conditions"].as_array()?.clone();
            let of_type = conditions.into_iter().find(|it| it["type"] == wanted.0)?;
            let current = of_type["observedGeneration"].as_i64() == object.metadata.generation;
            (current && of_type["status"] == wanted.1).then_some(of_type)
        };
        wait::until(&format!("{kind} {}: {}={}", at.1, wanted.0, wanted.1), LIMIT, look).await.0
    }

    /// The data of a token's Secret, once it is there.
    ///
    /// # Panics
    /// When it does not come.
    pub async fn token(&self, namespace: &str, name: &str) -> std::collections::BTreeMap<String, String> {
        let secrets: Api<Secret> = Api::namespaced(self.api.client().await.unwrap(), namespace);
        let secret = routeapi_crds::v1alpha1::default_secret_name(name);
        let look = || async { secrets.get_opt(&secret).await.ok()??.data };
        let (data, _) = wait::until("the token's Secret is written", LIMIT, look).await;
        data.into_iter().map(|(key, value)| (key, String::from_utf8(value.0).unwrap())).collect()
    }

    /// Server-side apply of one object, without the start of a kubectl in the measured time.
    ///
    /// # Errors
    /// What the server says.
    pub async fn server_side_apply(api: &Api<DynamicObject>, object: &Value) -> Result<()> {
        let name = object["metadata"]["name"].as_str().context("a name")?;
        api.patch(name, &PatchParams::apply("routeapi-tests").force(), &Patch::Apply(object)).await?;
        Ok(())
    }
}

impl Operator {
    /// Ends it as a crash does.
    pub fn kill(mut self) {
        self.end();
    }

    fn end(&mut self) {
        drop(self.app.take());
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Drop for Operator {
    fn drop(&mut self) {
        self.end();
    }
}

impl PodGateway {
    /// Ends the gateway and starts it again in the same pod, as the kubelet does after a crash: the state directory stays.
    #[must_use]
    pub async fn restarted(self) -> Self {
        let Self { gateway, subscription } = self;
        gateway.stop().await;
        Self { gateway: Gateway::serve(&subscription), subscription }
    }
}

fn settings(args: &[String]) -> Result<Settings> {
    let command = Settings::augment_args(clap::Command::new("operator"));
    Ok(Settings::from_arg_matches(&command.try_get_matches_from(args)?)?)
}

/// What the operators of this process have said.
static LOG: Mutex<Vec<u8>> = Mutex::new(Vec::new());

/// Every line of the operators' logs in which an API server that was ready says that something is forbidden to them: each
/// means that the chart's roles lack a right that the code uses.
///
/// # Panics
/// When there is no log.
pub fn forbidden() -> Vec<String> {
    let log = LOG.lock().unwrap();
    assert!(!log.is_empty(), "nobody keeps the operators' log");
    let text = String::from_utf8_lossy(&log);
    let told = text.lines().filter(|line| line.contains("forbidden") || line.contains("Forbidden"));
    told.filter(|line| !apiserver::was_starting(line)).map(str::to_owned).collect()
}

fn keep_log() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let log = tracing_subscriber::fmt().with_ansi(false).with_env_filter("routeapi_operator=debug,kube=warn");
        let _ = log.with_writer(|| LogWriter).try_init(); // a test that has its own log sees less here
    });
}

struct LogWriter;

impl Write for LogWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        LOG.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
