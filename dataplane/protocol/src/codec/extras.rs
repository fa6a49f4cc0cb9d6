//! Members that the neutral representation has no name for: who gets them, and what is said when nobody does.

use crate::{
    dialect::Operation,
    ir::{Extra, Request},
    report::Report,
};

/// Members of Responses that refer to what OpenAI keeps of earlier requests. Without it another conversation would be
/// answered, so that no mode lets them go.
const STATE: [&str; 4] = ["previous_response_id", "conversation", "prompt", "input[].item_reference"];
/// Why they are refused.
const KEPT_ELSEWHERE: &str = "refers to state that is kept elsewhere and that no upstream of another API has; send the whole conversation in `input`";

/// The extras that go to a target of this operation as they are. Everything else is stated: hints as dropped, the rest as
/// refused.
///
/// Only top-level members can be handed on: positions of messages and tools do not survive the neutral representation.
pub fn native<'a>(request: &'a Request, target: Operation, from: Operation, report: &mut Report) -> Vec<&'a Extra> {
    kept(request, report, |extra| is_native(extra, target, from))
}

/// Whether an extra is of the target's own operation, and no member of a list.
pub fn is_native(extra: &Extra, target: Operation, from: Operation) -> bool {
    extra.family == target.family() && from == target && !extra.field.contains("[]")
}

/// The extras that a target takes. Everything else is stated, as [`native`] does.
pub fn kept<'a>(request: &'a Request, report: &mut Report, takes: impl Fn(&Extra) -> bool) -> Vec<&'a Extra> {
    let mut kept = Vec::new();
    for extra in request.extras.iter() {
        if takes(extra) {
            kept.push(extra);
        } else if extra.is_neutral() {
            // Asking for nothing is no loss.
        } else if extra.essential && STATE.contains(&extra.field.as_ref()) {
            report.impossible(extra.field.clone(), KEPT_ELSEWHERE);
        } else if extra.essential {
            report.refused(extra.field.clone(), why(&extra.field));
        } else {
            report.dropped(extra.field.clone());
        }
    }
    report.more(request.extras.more());
    kept
}

/// Why the upstream cannot have a member that a caller relies on.
fn why(field: &str) -> &'static str {
    match field {
        "background" => "the upstream answers while its client waits, and keeps no answer for later",
        "input[].compaction" | "input[].context_compaction" => "can be read by OpenAI alone",
        _ => "cannot be expressed for the upstream",
    }
}
