//! The contract between operator and data plane.
//!
//! [`snapshot`] is what a data plane is told: providers, routes and tokens with every reference already resolved. The
//! wire, `routeapi render`, the admin dump and golden files all show this one shape. [`catalog`] names each resource
//! by the hash of its content and a whole state by the hash of those; [`diff`] says what lies between two catalogs;
//! [`frame`] is how it travels; [`token_format`] is what a minted token looks like on both sides.
//!
//! Rules of change: fields are only added; a reader refuses a resource with a field or a word it does not know
//! (`deny_unknown_fields`), rejecting that resource alone and keeping its previous version, because a limit or a
//! restriction that is silently ignored is worse than one that arrives late.

pub mod catalog;
pub mod diff;
pub mod frame;
pub mod snapshot;
pub mod token_format;

pub use catalog::{Catalog, Entry, Key, Kind, Revision, Version};
pub use snapshot::{ObjectId, Secret, Snapshot};
