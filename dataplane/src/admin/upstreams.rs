//! Gauges of each upstream that was ever asked: whether it is ready, and what it has to do. Read when someone asks, from
//! the configuration in force, so that the page is bounded by it.

use std::{fmt, sync::Arc};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric},
    metrics::{MetricType, gauge::ConstGauge},
};

use crate::{
    clock,
    config::{
        runtime::{Runtime, Upstream},
        store::Store,
    },
    live::Availability,
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
        })
    }
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
