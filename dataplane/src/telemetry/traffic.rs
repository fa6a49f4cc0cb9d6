//! The series of each route and upstream: a few counters each, and histograms of each route where they are asked for.
//!
//! There is an entry for what is configured now and for nothing else: what a request was sent to is counted if its route
//! and upstream still exist, and a new configuration takes the entries of those that went. So the page is bounded by the
//! configuration, whatever clients send and however often objects come and go. What was never used is not shown.

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    sync::{
        Arc, Mutex, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering},
    },
};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric, MetricEncoder},
    metrics::{MetricType, counter::ConstCounter, histogram::Histogram},
    registry::Unit,
};

use super::buckets::DURATIONS;

/// Counters of every route and upstream in force.
#[derive(Debug, Default)]
pub struct Traffic {
    routes: RwLock<HashMap<String, Arc<RouteTraffic>>>,
    histograms: bool,
}

/// What was seen of one route.
#[derive(Debug, Default)]
pub struct RouteTraffic {
    requests: CodeCounts,
    sessions: CodeCounts,
    upstreams: HashMap<String, Arc<UpstreamTraffic>>,
    times: Option<Times>,
}

/// What was seen of one upstream of a route.
#[derive(Debug, Default)]
pub struct UpstreamTraffic {
    attempts: CodeCounts,
    input: AtomicU64,
    output: AtomicU64,
    spend_nano_usd: AtomicU64,
}

#[derive(Clone, Debug)]
struct Times {
    duration: Histogram,
    first_token: Histogram,
}

/// Counts by word of a closed set.
#[derive(Debug, Default)]
struct CodeCounts(Mutex<BTreeMap<&'static str, u64>>);

impl Traffic {
    /// Nothing configured. `histograms` asks for the times of each route, 44 series each.
    pub fn new(histograms: bool) -> Self {
        Self { histograms, ..Self::default() }
    }

    /// Keeps what these routes and their upstreams have counted, and drops what is of others.
    pub fn configure<U>(&self, routes: impl IntoIterator<Item = (String, U)>)
    where
        U: IntoIterator<Item: AsRef<str>>,
    {
        let mut routes_held = self.routes.write().unwrap_or_else(PoisonError::into_inner);
        let mut next = HashMap::with_capacity(routes_held.len());
        for (route, upstreams) in routes {
            let before = routes_held.get(&route);
            let kept = |name: &str| before.and_then(|it| it.upstreams.get(name)).cloned().unwrap_or_default();
            let named = |name: &str| (name.to_owned(), kept(name));
            let upstreams: HashMap<_, _> = upstreams.into_iter().map(|name| named(name.as_ref())).collect();
            let same = before.filter(|it| it.upstreams.len() == upstreams.len() && it.has_all(&upstreams));
            let entry = same.cloned().unwrap_or_else(|| {
                Arc::new(RouteTraffic {
                    requests: before.map(|it| it.requests.copy()).unwrap_or_default(),
                    sessions: before.map(|it| it.sessions.copy()).unwrap_or_default(),
                    times: before.and_then(|it| it.times.clone()).or_else(|| self.histograms.then(Times::default)),
                    upstreams,
                })
            });
            next.insert(route, entry);
        }
        *routes_held = next;
    }

    /// What is known of a route, if it is configured.
    pub fn route(&self, route: &str) -> Option<Arc<RouteTraffic>> {
        self.routes.read().unwrap_or_else(PoisonError::into_inner).get(route).cloned()
    }

    /// Every route in the order of their names, so that pages of one state are alike.
    fn sorted(&self) -> Vec<(String, Arc<RouteTraffic>)> {
        let routes_held = self.routes.read().unwrap_or_else(PoisonError::into_inner);
        let mut routes: Vec<_> = routes_held.iter().map(|(name, route)| (name.clone(), Arc::clone(route))).collect();
        drop(routes_held);
        routes.sort_by(|(left, _), (right, _)| left.cmp(right));
        routes
    }
}

impl RouteTraffic {
    /// Counts a finished request. `error_type` is empty if there was none; times are in seconds.
    pub fn ended(&self, error_type: &'static str, duration: f64, first_token: Option<f64>) {
        self.requests.count(error_type);
        if let Some(times) = &self.times {
            times.duration.observe(duration);
            if let Some(first) = first_token {
                times.first_token.observe(first);
            }
        }
    }

    /// Counts a request of a route that keeps sessions together: whether it was served where its session stays, if it
    /// named one.
    pub fn session_ended(&self, kept: Option<bool>) {
        self.sessions.count(match kept {
            Some(true) => "kept",
            Some(false) => "moved",
            None => "no_session",
        });
    }

    /// What is known of one of its upstreams, if it is configured.
    pub fn upstream(&self, name: &str) -> Option<&UpstreamTraffic> {
        self.upstreams.get(name).map(|it| &**it)
    }

    fn has_all(&self, upstreams: &HashMap<String, Arc<UpstreamTraffic>>) -> bool {
        upstreams.keys().all(|name| self.upstreams.contains_key(name))
    }

    fn sorted(&self) -> Vec<(&str, &UpstreamTraffic)> {
        let mut upstreams: Vec<_> = self.upstreams.iter().map(|(name, it)| (name.as_str(), &**it)).collect();
        upstreams.sort_by_key(|(name, _)| *name);
        upstreams
    }
}

impl UpstreamTraffic {
    /// Counts a try: how it ended, tokens in and out, and cost in billionths of a dollar.
    pub fn attempted(&self, result: &'static str, input: u64, output: u64, cost_nano_usd: u64) {
        self.attempts.count(result);
        for (counter, by) in [(&self.input, input), (&self.output, output), (&self.spend_nano_usd, cost_nano_usd)] {
            counter.fetch_add(by, Ordering::Relaxed);
        }
    }
}

impl CodeCounts {
    fn count(&self, code: &'static str) {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *counts.entry(code).or_default() += 1;
    }

    fn copy(&self) -> Self {
        Self(Mutex::new(self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()))
    }

    fn all(&self) -> BTreeMap<&'static str, u64> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Default for Times {
    fn default() -> Self {
        Self { duration: Histogram::new(DURATIONS), first_token: Histogram::new(DURATIONS) }
    }
}

// === the page ===

/// Shows a [`Traffic`].
#[derive(Debug)]
pub struct TrafficSeries(pub Arc<Traffic>);

impl Collector for TrafficSeries {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let routes = self.0.sorted();
        let help = "Requests of a route by kind of error, empty if there was none";
        let mut family = encoder.encode_descriptor("routeapi_route_requests", help, None, MetricType::Counter)?;
        for (route, traffic) in &routes {
            for (code, count) in traffic.requests.all() {
                counter(&mut family, &[("route", route), ("error_type", code)], count)?;
            }
        }
        let help = "Requests of a route with affinity by whether they went to the upstream of their session";
        let mut family = encoder.encode_descriptor("routeapi_affinity_requests", help, None, MetricType::Counter)?;
        for (route, traffic) in &routes {
            for (code, count) in traffic.sessions.all() {
                counter(&mut family, &[("route", route), ("result", code)], count)?;
            }
        }
        let help = "Tries at upstreams by result; result is ok, client_cancelled or the reason of the failure";
        let mut family = encoder.encode_descriptor("routeapi_upstream_attempts", help, None, MetricType::Counter)?;
        for (route, upstream, traffic) in each(&routes) {
            for (code, count) in traffic.attempts.all() {
                counter(&mut family, &[("route", route), ("upstream", upstream), ("result", code)], count)?;
            }
        }
        let help = "Tokens of an upstream by type, as reported, counted or estimated";
        let mut family = encoder.encode_descriptor("routeapi_upstream_tokens", help, None, MetricType::Counter)?;
        for (route, upstream, traffic) in each(&routes) {
            for (kind, count) in [("input", &traffic.input), ("output", &traffic.output)] {
                let labels = [("route", route), ("upstream", upstream), ("gen_ai_token_type", kind)];
                used(&mut family, &labels, count)?;
            }
        }
        let help = "Cost at the route's prices, in billionths of a US dollar";
        let mut family = encoder.encode_descriptor("routeapi_spend_nanousd", help, None, MetricType::Counter)?;
        for (route, upstream, traffic) in each(&routes) {
            used(&mut family, &[("route", route), ("upstream", upstream)], &traffic.spend_nano_usd)?;
        }
        if self.0.histograms {
            times(&mut encoder, &routes)?;
        }
        Ok(())
    }
}

fn times(encoder: &mut DescriptorEncoder<'_>, routes: &[(String, Arc<RouteTraffic>)]) -> fmt::Result {
    let seconds = Unit::Seconds;
    let help = "From a request's arrival to the end of its answer, by route";
    let name = "routeapi_route_request_duration";
    let mut family = encoder.encode_descriptor(name, help, Some(&seconds), MetricType::Histogram)?;
    for (route, times) in routes.iter().filter_map(|(name, route)| Some((name, route.times.as_ref()?))) {
        times.duration.encode(family.encode_family(&[("route", route.as_str())])?)?;
    }
    let help = "From a request's arrival to its first content, by route";
    let name = "routeapi_route_time_to_first_token";
    let mut family = encoder.encode_descriptor(name, help, Some(&seconds), MetricType::Histogram)?;
    for (route, times) in routes.iter().filter_map(|(name, route)| Some((name, route.times.as_ref()?))) {
        times.first_token.encode(family.encode_family(&[("route", route.as_str())])?)?;
    }
    Ok(())
}

fn each(routes: &[(String, Arc<RouteTraffic>)]) -> impl Iterator<Item = (&str, &str, &UpstreamTraffic)> {
    routes
        .iter()
        .flat_map(|(name, route)| route.sorted().into_iter().map(move |(upstream, it)| (name.as_str(), upstream, it)))
}

fn used(family: &mut MetricEncoder<'_>, labels: &[(&str, &str)], count: &AtomicU64) -> fmt::Result {
    match count.load(Ordering::Relaxed) {
        0 => Ok(()),
        count => counter(family, labels, count),
    }
}

fn counter(family: &mut MetricEncoder<'_>, labels: &[(&str, &str)], count: u64) -> fmt::Result {
    ConstCounter::new(count).encode(family.encode_family(&labels)?)
}

#[cfg(test)]
mod tests {
    use prometheus_client::{encoding::text::encode, registry::Registry};

    use super::*;

    fn page(traffic: &Arc<Traffic>) -> String {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(TrafficSeries(Arc::clone(traffic))));
        let mut page = String::new();
        encode(&mut page, &registry).unwrap();
        page
    }

    fn series(page: &str) -> usize {
        page.lines().filter(|line| !line.starts_with('#')).count()
    }

    fn names(range: std::ops::Range<usize>) -> Vec<(String, [&'static str; 1])> {
        range.map(|at| (format!("team-{:03}/route-of-a-model-{at:05}", at % 300), ["openai-eu"])).collect()
    }

    fn used_once(traffic: &Traffic, names: &[(String, [&'static str; 1])]) {
        for (route, [upstream]) in names {
            let Some(route) = traffic.route(route) else { continue };
            route.ended("", 0.1, Some(0.05));
            route.upstream(upstream).unwrap().attempted("ok", 1_234_567, 765_432, 123_456_789_012);
        }
    }

    #[test]
    fn metrics_of_5000_routes_fit_into_3_megabytes() {
        let traffic = Arc::new(Traffic::new(false));
        let routes = names(0..5_000);
        traffic.configure(routes.clone());
        assert_eq!(series(&page(&traffic)), 0, "what was never used is not shown");
        used_once(&traffic, &routes);
        let page = page(&traffic);
        assert_eq!(series(&page), 5 * 5_000);
        assert!(page.len() <= 3_000_000, "{} bytes", page.len());
    }

    #[test]
    fn route_histograms_are_exported_when_enabled() {
        let traffic = Arc::new(Traffic::new(true));
        traffic.configure(names(0..1));
        used_once(&traffic, &names(0..1));
        let page = page(&traffic);
        let times = page
            .lines()
            .filter(|line| line.starts_with("routeapi_route_request_d") || line.starts_with("routeapi_route_time"));
        assert_eq!(times.count(), 44, "as the documentation says");
        let labels = "route=\"team-000/route-of-a-model-00000\"";
        assert!(page.contains(&format!("routeapi_route_request_duration_seconds_count{{{labels}}} 1\n")), "{page}");
        assert!(page.contains(&format!("routeapi_route_time_to_first_token_seconds_count{{{labels}}} 1\n")), "{page}");
    }

    #[test]
    fn duration_buckets_separate_an_hour_from_longer() {
        let traffic = Arc::new(Traffic::new(true));
        traffic.configure([("a/r".to_owned(), ["up"])]);
        for seconds in [3_599.0, 3_601.0] {
            traffic.route("a/r").unwrap().ended("", seconds, Some(seconds));
        }
        let page = page(&traffic);
        for name in ["request_duration", "time_to_first_token"] {
            for (le, count) in [("1800.0", 0), ("3600.0", 1), ("+Inf", 2)] {
                let line = format!("routeapi_route_{name}_seconds_bucket{{le=\"{le}\",route=\"a/r\"}} {count}\n");
                assert!(page.contains(&line), "{line} {page}");
            }
        }
    }

    #[test]
    fn removed_routes_lose_their_series_and_others_keep_counts() {
        let traffic = Arc::new(Traffic::new(false));
        for from in 0..200 {
            let routes = names(from..from + 10);
            traffic.configure(routes.clone());
            used_once(&traffic, &routes);
            used_once(&traffic, &names(0..from)); // requests that end after their route has gone
        }
        let page = page(&traffic);
        assert_eq!(series(&page), 5 * 10, "{page}");
        let last = "routeapi_route_requests_total{route=\"team-199/route-of-a-model-00199\",error_type=\"\"} 10\n";
        assert!(page.contains(last), "{page}");
    }

    #[test]
    fn adding_or_removing_an_upstream_keeps_other_counts() {
        let traffic = Arc::new(Traffic::new(false));
        traffic.configure([("a/r".to_owned(), vec!["one"])]);
        let count = |upstream: &str| {
            let route = traffic.route("a/r").unwrap();
            route.upstream(upstream).map(|it| it.attempted("ok", 1, 1, 0)).is_some()
        };
        assert!(count("one"));
        assert!(!count("two"));
        traffic.configure([("a/r".to_owned(), vec!["one", "two"])]);
        assert!(count("one") && count("two"));
        traffic.configure([("a/r".to_owned(), vec!["two"])]);
        let page = page(&traffic);
        assert!(!page.contains("upstream=\"one\""), "{page}");
        assert!(
            page.contains("routeapi_upstream_attempts_total{route=\"a/r\",upstream=\"two\",result=\"ok\"} 1\n"),
            "{page}"
        );
    }
}
