//! Members that the neutral representation has no name for: who gets them, and what is said when nobody does.

use crate::{
    dialect::Operation,
    ir::{Extra, Request},
    report::Report,
};

/// The extras that go to a target of this operation as they are. Everything else is stated: hints as dropped, the rest as
/// refused.
///
/// Only top-level members can be handed on: positions of messages and tools do not survive the neutral representation.
pub fn native<'a>(request: &'a Request, target: Operation, from: Operation, report: &mut Report) -> Vec<&'a Extra> {
    let mut native = Vec::new();
    for extra in request.extras.iter() {
        if extra.family == target.family() && from == target && !extra.field.contains("[]") {
            native.push(extra);
        } else if extra.is_neutral() {
            // Asking for nothing is no loss.
        } else if extra.essential {
            report.refused(extra.field.clone(), "cannot be expressed for the upstream");
        } else {
            report.dropped(extra.field.clone());
        }
    }
    report.more(request.extras.more());
    native
}
