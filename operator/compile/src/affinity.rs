//! Session affinity of a route: from the spec's words to the snapshot's, and where it has nothing to choose from.

use std::collections::BTreeMap;

use routeapi_channel::snapshot::{Affinity, Upstream};
use routeapi_crds::{
    condition::Reason,
    v1alpha1::{self, AIRouteSpec},
    value::AffinityType,
};

use crate::verdict::SpecError;

/// What names a session; none without affinity.
///
/// # Errors
/// When a header is named without the type that reads it, or the reverse, which an API server does not let pass.
pub(crate) fn build(spec: &AIRouteSpec) -> Result<Option<Affinity>, SpecError> {
    let Some(v1alpha1::Affinity { type_, header }) = &spec.affinity else { return Ok(None) };
    match (type_, header) {
        (AffinityType::Session, None) => Ok(Some(Affinity::Session)),
        // Case means nothing in a header's name, so that a change of it is no change of the snapshot.
        (AffinityType::Header, Some(name)) => Ok(Some(Affinity::Header(name.to_ascii_lowercase()))),
        (AffinityType::Session, Some(_)) | (AffinityType::Header, None) => Err(SpecError::new(
            Reason::InvalidConfig,
            "spec.affinity.header: must be set if and only if type is Header".to_owned(),
        )),
    }
}

/// Says so if no priority has two upstreams that take requests.
pub(crate) fn note(spec: &AIRouteSpec, usable: &[Upstream], complete: bool) -> Option<String> {
    spec.affinity.as_ref().filter(|_| complete)?;
    let mut by_priority = BTreeMap::<u32, usize>::new();
    for upstream in usable.iter().filter(|upstream| upstream.weight > 0) {
        *by_priority.entry(upstream.priority).or_default() += 1;
    }
    by_priority.values().all(|upstreams| *upstreams < 2).then(|| {
        "spec.affinity: has no effect, because no two upstreams with a weight have the same priority".to_owned()
    })
}
