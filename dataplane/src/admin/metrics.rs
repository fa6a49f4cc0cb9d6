//! Series about the configuration, read when someone asks.

use std::sync::atomic::AtomicU64;

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{family::Family, gauge::Gauge},
    registry::{Registry, Unit},
};

use super::config;
use crate::{
    clock,
    config::store::{Link, Store},
};

/// What is shown of the configuration.
#[derive(Debug, Default)]
pub(super) struct Series {
    info: Family<Info, Gauge>,
    age: Gauge<f64, AtomicU64>,
    connected: Gauge,
    rejected: Gauge,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Info {
    revision: String,
    origin: &'static str,
}

impl Series {
    pub(super) fn new(registry: &mut Registry) -> Self {
        let series = Self::default();
        registry.register("routeapi_config", "The configuration in force; always 1", series.info.clone());
        registry.register_with_unit(
            "routeapi_config_age",
            "Since the configuration in force was applied",
            Unit::Seconds,
            series.age.clone(),
        );
        registry.register(
            "routeapi_config_connected",
            "Whether the operator's stream is up; 1 where there is no operator",
            series.connected.clone(),
        );
        registry.register(
            "routeapi_config_rejected_resources",
            "Resources that were refused, their previous version staying in force",
            series.rejected.clone(),
        );
        series
    }

    pub(super) fn refresh(&self, store: &Store) {
        self.connected.set(i64::from(!matches!(store.link(), Link::Down { .. })));
        self.info.clear();
        let Some(applied) = store.applied() else { return };
        let age = clock::now().mono.saturating_duration_since(applied.at.mono);
        self.age.set(age.as_secs_f64());
        self.rejected.set(i64::try_from(applied.rejected.len()).unwrap_or(i64::MAX));
        let info = Info { revision: applied.revision.to_string(), origin: config::label(applied.origin) };
        self.info.get_or_create(&info).set(1);
    }
}
