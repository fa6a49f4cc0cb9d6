//! Gauges of each upstream that was ever asked: whether it is ready, and what it has to do. Read when someone asks, from
//! the configuration in force, so that the page is bounded by it.

use std::{collections::BTreeMap, fmt, sync::Arc, time::Instant};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric},
    metrics::{MetricType, gauge::ConstGauge},
    registry::Unit,
};

use crate::{
    clock,
    config::{
        runtime::{Runtime, Upstream},
        store::Store,
    },
    state::Availability,
};

/// Shows the upstreams of a store's configuration.
pub(super) struct UpstreamSeries(pub Arc<Store>);

impl fmt::Debug for UpstreamSeries {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("UpstreamSeries")
    }
}

impl Collector for UpstreamSeries {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let (runtime, now) = (self.0.current(), clock::mono());
        let help = "Whether an upstream takes part in requests of everybody: 0 while it is evicted or cooling down";
        write(&mut encoder, ("routeapi_upstream_ready", help), &runtime, |upstream| {
            i64::from(upstream.health.overview(now).0 == Availability::Ready)
        })?;
        let help = "Requests under way at an upstream from this process";
        write(&mut encoder, ("routeapi_upstream_in_flight", help), &runtime, |upstream| {
            i64::from(upstream.load.in_flight())
        })?;
        left_out(&mut encoder, &runtime, now)?;
        rejected_keys(&mut encoder, &runtime)?;
        tokens(&mut encoder, &runtime)
    }
}

/// Only of those that are: a series that says 0 would be there for each upstream and reason.
fn left_out(encoder: &mut DescriptorEncoder<'_>, runtime: &Runtime, now: Instant) -> fmt::Result {
    let help = "For how much longer an upstream takes no part in requests of everybody, by why";
    let name = "routeapi_upstream_left_out";
    let mut family = encoder.encode_descriptor(name, help, Some(&Unit::Seconds), MetricType::Gauge)?;
    for route in runtime.routes() {
        let id = route.id.to_string();
        for upstream in &route.upstreams {
            let (reason, until) = match upstream.health.overview(now).0 {
                Availability::Ready => continue,
                Availability::CoolingDown(until) => ("cooling_down", until),
                Availability::Evicted(until) => ("evicted", until),
            };
            let labels = [("route", id.as_str()), ("upstream", upstream.name.as_str()), ("reason", reason)];
            let seconds = until.saturating_duration_since(now).as_secs_f64();
            ConstGauge::new(seconds).encode(family.encode_family(&labels)?)?;
        }
    }
    Ok(())
}

/// Only of those that are rejected.
fn rejected_keys(encoder: &mut DescriptorEncoder<'_>, runtime: &Runtime) -> fmt::Result {
    let help = "AIProviders whose key the upstream rejects, or whose identity gets no token, by the status of the answer; always 1";
    let mut family =
        encoder.encode_descriptor("routeapi_provider_credentials_rejected", help, None, MetricType::Gauge)?;
    let upstreams = runtime.routes().flat_map(|route| &route.upstreams);
    let Some(rejected_keys) = upstreams.map(|upstream| &upstream.provider.rejected_keys).next() else { return Ok(()) };
    for (provider, rejected) in rejected_keys.list() {
        let (provider, status) = (provider.to_string(), rejected.status.to_string());
        let labels = [("provider", provider.as_str()), ("status", status.as_str())];
        ConstGauge::new(1_i64).encode(family.encode_family(&labels)?)?;
    }
    Ok(())
}

/// Only of providers whose credentials end, so that an alert needs no list of them.
fn tokens(encoder: &mut DescriptorEncoder<'_>, runtime: &Runtime) -> fmt::Result {
    let help = "When the credentials of an AIProvider end that the gateway renews, in seconds since 1970";
    let name = "routeapi_provider_token_expiry_timestamp";
    let mut family = encoder.encode_descriptor(name, help, Some(&Unit::Seconds), MetricType::Gauge)?;
    let upstreams = runtime.routes().flat_map(|route| &route.upstreams);
    let mut ends = BTreeMap::new();
    for upstream in upstreams {
        let expires = upstream.client.credentials().and_then(|credentials| credentials.current().expires());
        ends.extend(expires.map(|end| (upstream.provider.id.to_string(), end.div_euclid(1_000))));
    }
    for (provider, end) in ends {
        let labels = [("provider", provider.as_str())];
        ConstGauge::new(end).encode(family.encode_family(&labels)?)?;
    }
    Ok(())
}

fn write(
    encoder: &mut DescriptorEncoder<'_>,
    (name, help): (&str, &str),
    runtime: &Runtime,
    value: impl Fn(&Upstream) -> i64,
) -> fmt::Result {
    let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
    for route in runtime.routes() {
        let id = route.id.to_string();
        for upstream in route.upstreams.iter().filter(|upstream| upstream.load.is_used()) {
            let labels = [("route", id.as_str()), ("upstream", upstream.name.as_str())];
            ConstGauge::new(value(upstream)).encode(family.encode_family(&labels)?)?;
        }
    }
    Ok(())
}
