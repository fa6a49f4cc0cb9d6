//! The field managers of this operator's writes.
//!
//! Statuses are applied server-side with one field manager per task, and name the UID of the object, so that an object that
//! was recreated in between does not get the status of its predecessor.

/// Field manager of conditions, and of everything that is not a status.
pub const FIELD_MANAGER: &str = "routeapi-operator";

/// Field manager of the keys in an ApiToken's status.
pub const KEYS_FIELD_MANAGER: &str = "routeapi-operator-keys";
