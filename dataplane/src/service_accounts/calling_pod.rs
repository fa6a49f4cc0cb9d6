//! Who calls with a ServiceAccount token.

use routeapi_channel::ObjectId;

/// A pod that calls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallingPod {
    /// Namespace and name of its ServiceAccount.
    pub account: ObjectId,
    /// Its name.
    pub pod: String,
}
