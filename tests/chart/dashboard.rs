//! Every series, label and label value that the Grafana dashboard asks for is one that the programs really export.

use crate::promql::{self, Query, Selector};
use routeapi_operator::telemetry::{Metrics, Outcome};
use routeapi_tests::client::{Client, Dialect};
use routeapi_tests::gateway::Gateway;
use routeapi_tests::helm::{self, of_kind, template};
use routeapi_tests::upstream::{Script, Upstream};
use routeapi_tests::wait;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// What Prometheus adds from the pod it scrapes, whichever monitor finds it.
const OF_THE_POD: [&str; 2] = ["namespace", "pod"];

/// Patience with things that should happen at once.
const SOON: Duration = Duration::from_secs(20);

/// Every series of both programs: its type and its labels with the values seen.
#[derive(Default)]
struct Exported {
    types: BTreeMap<String, String>,
    series: BTreeMap<String, BTreeMap<String, BTreeSet<String>>>,
}

impl Exported {
    fn add(&mut self, page: &str) {
        for line in page.lines() {
            if let Some(typed) = line.strip_prefix("# TYPE ") {
                let (name, kind) = typed.split_once(' ').unwrap();
                self.types.insert(name.to_owned(), kind.to_owned());
            } else if !line.starts_with('#') {
                let (series, _) = line.rsplit_once(' ').unwrap();
                let (name, labels) = series.split_once('{').unwrap_or((series, "}"));
                let known = self.series.entry(name.to_owned()).or_default();
                let labels = labels.trim_end_matches('}').split("\",").filter(|label| !label.is_empty());
                for (label, value) in labels.map(|label| label.split_once("=\"").unwrap()) {
                    known.entry(label.to_owned()).or_default().insert(value.trim_end_matches('"').to_owned());
                }
            }
        }
    }

    fn is_counted(&self, series: &str) -> bool {
        let base = ["_total", "_bucket", "_sum", "_count"].iter().find_map(|suffix| series.strip_suffix(suffix));
        base.and_then(|base| self.types.get(base)).is_some_and(|kind| kind != "gauge")
    }

    fn check(&self, selector: &Selector) {
        let series = selector.series.as_str();
        let labels = self.series.get(series).unwrap_or_else(|| panic!("{series} is not exported"));
        assert_eq!(selector.rate, self.is_counted(series), "{series}: rate() is for counters and for them alone");
        for (label, operator, value) in &selector.matchers {
            if OF_THE_POD.contains(&label.as_str()) {
                continue;
            }
            let seen = labels.get(label).unwrap_or_else(|| panic!("{series} has no label {label}"));
            // Names of objects are the dashboard's variables; the rest are words that must exist.
            let wanted = value.split('|').filter(|word| !word.starts_with('$'));
            for word in wanted {
                assert!(
                    seen.iter().any(|seen| fits(word, seen)),
                    "{series}: {label}{operator}{word:?} is none of {seen:?}"
                );
            }
        }
    }

    fn check_groups(&self, query: &Query) {
        for group in &query.groups {
            for (label, selector) in
                group.labels.iter().flat_map(|label| group.selectors(query).map(move |of| (label, of)))
            {
                let has = self.series[&selector.series].contains_key(label) || OF_THE_POD.contains(&label.as_str());
                assert!(has, "{} has no label {label}", selector.series);
            }
        }
    }
}

/// A word of a regular expression that knows `.` only.
fn fits(word: &str, value: &str) -> bool {
    let mut pairs = word.chars().zip(value.chars());
    word.chars().count() == value.chars().count() && pairs.all(|(wanted, found)| wanted == '.' || wanted == found)
}

fn manifests(upstream: &Upstream) -> String {
    let token = |name: &str, spec: &str| {
        format!(
            "---\napiVersion: v1\nkind: Secret\nmetadata: {{name: {name}, namespace: apps, labels: {{routeapi.dev/import: \"true\"}}}}\n\
             stringData: {{token: sk-dashboard-{name}}}\n---\napiVersion: routeapi.dev/v1alpha1\nkind: ApiToken\n\
             metadata: {{name: {name}, namespace: apps}}\nspec: {{secretName: {name}, {spec}}}\n"
        )
    };
    let tokens = [
        token("free", "models: [\"*\"]"),
        token("elsewhere", "models: [other]"),
        token("requests", "models: [\"*\"], limits: [{name: it, per: Day, requests: 1}]"),
        token("tokens", "models: [\"*\"], limits: [{name: it, per: Day, tokens: 1}]"),
        token("spend", "models: [\"*\"], limits: [{name: it, per: Day, spendUSD: \"0.000001\"}]"),
        token("concurrency", "models: [\"*\"], maxConcurrentRequests: 1"),
    ];
    format!(
        "apiVersion: routeapi.dev/v1alpha1\nkind: AIProvider\nmetadata: {{name: up, namespace: apps}}\n\
         spec: {{type: OpenAI, baseURL: \"{}\"}}\n---\napiVersion: routeapi.dev/v1alpha1\nkind: AIRoute\n\
         metadata: {{name: m, namespace: apps}}\nspec:\n  model: m\n  upstreams:\n    - {{name: up, providerRef: {{name: up}}, \
         price: {{inputPerMillion: \"10\", outputPerMillion: \"10\"}}}}\n{}",
        upstream.openai_url(),
        tokens.concat()
    )
}

/// A gateway's page after one of each thing that the dashboard tells apart.
async fn of_a_gateway() -> String {
    let upstream = Upstream::start(Script::new()).await;
    let gateway = Gateway::local(&manifests(&upstream));
    let client = |token: &str| Client::new(gateway.address(), token);
    assert_eq!(client("sk-dashboard-free").chat("m").await.status, 200);
    assert_eq!(client("sk-dashboard-nobody").chat("m").await.status, 401);
    assert_eq!(client("sk-dashboard-elsewhere").chat("m").await.status, 403);
    for limited in ["sk-dashboard-requests", "sk-dashboard-tokens", "sk-dashboard-spend"] {
        let uses_it_up = client(limited).chat("m").await;
        assert_eq!(uses_it_up.status, 200, "{limited}");
        assert_eq!(client(limited).chat("m").await.status, 429, "{limited}");
    }
    // One field that OpenAI has not.
    let (path, mut body) = Dialect::Messages.request("m", false, "hello");
    body["top_k"] = 3.into();
    assert_eq!(client("sk-dashboard-free").post(&path, &body).await.status, 200);
    // A stream that is open while another is asked for, and then left.
    upstream.set(Script::new().stall_after(2));
    let open = client("sk-dashboard-concurrency");
    let open = tokio::spawn(async move { open.ask(Dialect::Chat, "m", true, "hello").await });
    wait::until_true("a stream is open", SOON, || upstream.in_flight() == 1).await;
    assert_eq!(client("sk-dashboard-concurrency").chat("m").await.status, 429);
    open.abort();
    gateway.records_of(12).await;
    upstream.set(Script::failing(500));
    assert_eq!(client("sk-dashboard-free").chat("m").await.status, 500);
    gateway.records_of(13).await;
    gateway.metrics().await.0
}

/// An operator's page after one of each thing that happens.
fn of_an_operator() -> String {
    let metrics = Metrics::default();
    metrics.compiled(Duration::from_millis(1), 1);
    metrics.published();
    metrics.sent(1, 1);
    metrics.answered(true);
    metrics.wrote("status", Outcome::Written);
    metrics.watch_failed("airoutes");
    metrics.text().unwrap()
}

fn dashboard() -> Value {
    let text = std::fs::read_to_string(helm::chart().join("files/dashboard.json")).unwrap();
    serde_json::from_str(&text).unwrap()
}

fn panels(dashboard: &Value) -> Vec<&Value> {
    dashboard["panels"].as_array().unwrap().iter().filter(|panel| panel["type"] != "row").collect()
}

#[tokio::test]
async fn every_series_of_the_dashboard_is_exported() {
    let mut exported = Exported::default();
    exported.add(&of_a_gateway().await);
    exported.add(&of_an_operator());
    let dashboard = dashboard();
    let mut shown = BTreeSet::new();
    for panel in panels(&dashboard) {
        for target in panel["targets"].as_array().unwrap() {
            let (expression, legend) = (target["expr"].as_str().unwrap(), target["legendFormat"].as_str().unwrap());
            let query = promql::read(expression);
            assert!(!query.selectors.is_empty(), "{expression}");
            query.selectors.iter().for_each(|selector| exported.check(selector));
            exported.check_groups(&query);
            for label in legend.split("{{").skip(1).map(|rest| rest.split("}}").next().unwrap()) {
                assert!(query.groups[0].labels.contains(label), "{expression}: the legend's {label}");
            }
            shown.extend(query.selectors.into_iter().map(|selector| selector.series));
        }
    }
    for variable in dashboard["templating"]["list"].as_array().unwrap() {
        let Some(query) = variable["query"]["query"].as_str() else { continue };
        let asked = query.strip_prefix("label_values(").and_then(|rest| rest.strip_suffix(')')).unwrap();
        let (expression, label) = asked.rsplit_once(", ").unwrap();
        let query = promql::read(expression);
        let series = &exported.series[&query.selectors[0].series];
        assert!(series.contains_key(label) || OF_THE_POD.contains(&label), "{asked}");
    }
    assert!(shown.len() > 20, "{shown:?}");
}

#[test]
fn panels_do_not_overlap_and_have_descriptions() {
    let dashboard = dashboard();
    let (mut ids, mut cells) = (BTreeSet::new(), BTreeSet::new());
    for panel in dashboard["panels"].as_array().unwrap() {
        let title = &panel["title"];
        assert!(ids.insert(panel["id"].as_u64().unwrap()), "{title}: its id is taken");
        let [x, y, w, h] = ["x", "y", "w", "h"].map(|side| panel["gridPos"][side].as_u64().unwrap());
        assert!(x + w <= 24, "{title} is off the page");
        for cell in (x..x + w).flat_map(|x| (y..y + h).map(move |y| (x, y))) {
            assert!(cells.insert(cell), "{title} covers another panel");
        }
    }
    for panel in panels(&dashboard) {
        assert!(panel["description"].as_str().is_some_and(|text| text.ends_with('.')), "{}", panel["title"]);
    }
}

#[test]
fn the_config_map_contains_the_dashboard_unchanged() {
    let objects = template("rel", "sys", &["--set", "metrics.dashboard.enabled=true"]).unwrap();
    let found = of_kind(&objects, "ConfigMap")[0];
    assert_eq!(found["metadata"]["labels"]["grafana_dashboard"], "1");
    let text = found["data"]["routeapi.json"].as_str().unwrap();
    assert_eq!(serde_json::from_str::<Value>(text).unwrap(), dashboard());
}
