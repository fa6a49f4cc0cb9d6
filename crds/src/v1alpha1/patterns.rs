//! Regular expressions of names, as the schemas contain them.

/// A DNS label (RFC 1123).
pub(super) const LABEL: &str = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$";

/// A DNS subdomain (RFC 1123): the name of an object.
pub(super) const SUBDOMAIN: &str = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$";

/// The name of a header: what HTTP allows (RFC 9110, 5.6.2), without characters that are not in use.
pub(super) const HEADER_NAME: &str = r"^[-A-Za-z0-9._]+$";

/// A key of a Secret or ConfigMap.
pub(super) const DATA_KEY: &str = r"^[-._a-zA-Z0-9]+$";
