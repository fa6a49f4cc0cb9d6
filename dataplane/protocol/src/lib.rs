//! AI wire formats: what the gateway knows about bytes, and nothing about sockets, clocks or policy.
//!
//! Two lanes lead through this crate. **Passthrough**: client and upstream speak the same dialect; [`scan`] finds the
//! few members that matter, [`splice`] edits them in place, and the answer's bytes go through while a tap reads a copy.
//! **Translation**: a [`codec`] decodes the client's dialect into the neutral [`ir`], another encodes it for the
//! upstream, and the answer comes back the same way, whole or as events. One codec per dialect, so N dialects cost N
//! codecs and not N×N.
//!
//! What a target cannot express is never lost in silence: every codec states it to a [`report::Report`], which turns it
//! into a warning or a refusal by the route's mode.

pub mod codec;
mod count;
pub mod defaults;
pub mod dialect;
pub mod direct;
pub mod echo;
mod embed;
pub mod estimate;
pub mod framing;
pub mod host;
pub mod inbound;
pub mod ir;
mod lane;
pub mod limits;
pub mod model_table;
pub mod models;
pub mod pending;
pub mod problem;
pub mod realtime;
pub mod report;
pub mod request;
pub mod response_stats;
pub mod response_translation;
pub mod scan;
pub mod splice;
pub mod stored;
mod tap;
pub mod unsupported;
mod usage;
pub mod websocket;
pub mod wire;
