//! What of a request an upstream may do without, as the client wrote it.

use super::{
    needs::Needs,
    parsed::ParsedRequest,
    restrict::{self, Held},
};
use crate::limits::{Feature, Features};

/// What a request says about reasoning. A model may refuse a parameter while it reasons, and take it while it does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReasoningSetting {
    /// Nothing: the model does as it does by default.
    Default,
    /// It is asked for.
    On,
    /// It is turned off.
    Off,
}

impl ParsedRequest {
    /// Which of these features the body holds, in the client's dialect and whatever their values.
    pub fn held(&self, features: Features) -> Held {
        restrict::held(self.operation(), &self.body, &self.scan, features)
    }

    /// What it says about reasoning.
    pub fn reasoning_setting(&self, needs: Needs) -> ReasoningSetting {
        if needs.reasoning {
            ReasoningSetting::On
        } else if self.held(Features::default().with(Feature::ReasoningEffort)).features.is_empty() {
            ReasoningSetting::Default
        } else {
            ReasoningSetting::Off
        }
    }
}
