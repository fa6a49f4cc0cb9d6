//! A request for an upstream of this dialect: the members around `contents`.

use super::{contents_encode, generation, model, tools_encode};
use crate::{
    codec::{
        Encoded, Target, extras,
        field::Name,
        ids,
        json::write::{self, Members},
    },
    dialect::{Family, Operation},
    ir::Request,
    report::Report,
};

/// Writes the request, stating every change.
pub fn encode(request: &Request, target: Target<'_>, from: Operation, report: &mut Report) -> Encoded {
    report.spell(&request.spelled);
    let names = ids::tool_names(request, ids::GEMINI_TOOL_NAME);
    let capability = model::capability(target.table_id()).limited(&target.limits);
    let extras = extras::native(request, Operation::GenerateContent, from, report);
    let mut body = Vec::new();
    write::object_within(&mut body, report.max_bytes(), |out| {
        contents_encode::encode(request, &names, capability, from, report, out);
        check(out, Name::Messages, from, report);
        tools_encode::encode(request, &names, capability, from, report, out);
        check(out, Name::Tools, from, report);
        generation::encode(request, &extras, capability, from, report, out);
        out.put_some("serviceTier", service_tier(request, from, report));
        for extra in extras.iter().filter(|extra| !extra.field.contains('.')) {
            out.put(&extra.field, &extra.raw);
        }
        check(out, Name::Output, from, report);
    });
    if request.user.as_ref().is_some_and(|user| !user.is_empty()) {
        report.dropped(Name::User.field(from));
    }
    Encoded { body, names }
}

/// Refuses the request if it has outgrown its bound by here.
fn check(out: &Members<'_>, name: Name, from: Operation, report: &mut Report) {
    if out.is_full() {
        report.too_large(name.field(from));
    }
}

fn service_tier<'r>(request: &'r Request, from: Operation, report: &mut Report) -> Option<&'r str> {
    let tier = request.service_tier.as_deref()?;
    if from.family() == Family::Gemini {
        return Some(tier);
    }
    match tier {
        "" | "auto" => None,
        "default" | "standard" | "standard_only" => Some("standard"),
        "flex" => Some("flex"),
        "priority" | "fast" => Some("priority"),
        _ => {
            report.dropped(Name::ServiceTier.field(from));
            None
        }
    }
}
