//! Whether a request may still go on. A body can be a minute in coming, and a pause can be waited for; so the token, the
//! route and the upstream with its key are looked up again in the configuration in force before anything is reserved,
//! and before each attempt. Costs a pointer comparison while the configuration has not changed.

use std::sync::Arc;

use super::{
    caller::{self, Caller},
    gateway::Gateway,
    refusal::Refusal,
};
use crate::{clock, config::runtime::Runtime};

/// The configuration that a request goes by, and its caller in it.
#[derive(Clone)]
pub(super) struct ConfigView {
    runtime: Arc<Runtime>,
    caller: Caller,
}

impl ConfigView {
    /// As found when the head came.
    pub(super) fn new(runtime: Arc<Runtime>, caller: Caller) -> Self {
        Self { runtime, caller }
    }

    /// The configuration as of the last look.
    pub(super) fn runtime(&self) -> &Runtime {
        &self.runtime
    }

    /// The caller as of the last look.
    pub(super) fn caller(&self) -> &Caller {
        &self.caller
    }

    /// Looks again. Returns whether the configuration is another one now.
    ///
    /// # Errors
    /// The token is gone, suspended or expired, or its value was rotated out.
    pub(super) fn refresh(&mut self, gateway: &Gateway) -> Result<bool, Refusal> {
        let current = gateway.config.current();
        let is_new = !Arc::ptr_eq(&current, &self.runtime);
        if is_new {
            self.caller = caller::find_again(&current, &self.caller)?;
            self.runtime = current;
        }
        caller::check(&self.caller.token, clock::now())?;
        Ok(is_new)
    }
}
