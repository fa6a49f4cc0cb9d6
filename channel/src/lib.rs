//! The contract between operator and data plane.
//!
//! [`snapshot`] is the configuration of a data plane: providers, routes and tokens with every reference resolved. The wire,
//! `routeapi render`, the admin dump and golden files all show this form. [`catalog`] identifies each resource by the hash
//! of its content and a whole state by the hash of those; [`diff`] compares two catalogs, whose
//! clones share their content ([`shared_map`]), and [`changes`] decodes what differs; [`frame`] is the protocol;
//! [`token_format`] is the format of minted tokens; [`service_account`] is what other tokens are verified by.
//!
//! Rules of change: fields are only added. A reader rejects a resource with a field or a value it does not know
//! (`deny_unknown_fields`) and keeps its previous version, because a limit or a restriction that is silently ignored is
//! worse than one that arrives late.

pub mod catalog;
pub mod changes;
pub mod diff;
pub mod frame;
pub mod service_account;
pub mod shared_map;
pub mod snapshot;
pub mod token_format;

pub use catalog::{Catalog, Entry, Key, Kind, Revision, Version};
pub use service_account::{ServiceAccountIssuer, VerificationKey};
pub use snapshot::{ObjectId, Secret, Snapshot};
