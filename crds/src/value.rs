//! Small value types shared by specs (what the user writes) and snapshots (what a data plane receives).
//!
//! Each is checked where it enters, so that nothing downstream parses a string again.

mod address;
mod duration;
mod model;
mod money;
mod terms;

pub use address::{AddressClass, AddressPolicy, AddressRules, ForbiddenPlace, Host, METADATA_SERVICE};
pub use duration::{Duration, InvalidDuration};
pub use model::{InvalidModelPattern, ModelPattern};
pub use money::{InvalidMoney, NanoUsd};
pub use terms::{
    AffinityType, BedrockEndpoint, Capability, Endpoint, Enforcement, FallbackCondition, HeartbeatMode, LoadBalancing,
    ProviderType, ReasoningEffort, RequestFeature, Translation, UpstreamApi, Window,
};
