//! Whole answers: their bytes stay, and are judged as on the other lanes, so that another upstream can answer.

use crate::{
    codec::{NameMap, ResponseContext},
    dialect::Operation,
    lane::{
        generate,
        parts::{Answer, Codecs, JSON, Whole, unreadable},
    },
    problem::{Problem, understand},
    stored, tap,
    wire::sniff,
};

/// The answer for the client.
///
/// # Errors
/// When it is no answer of its dialect, or says that it failed.
pub(crate) fn answer(operation: Operation, context: &ResponseContext, answer: Answer<'_>) -> Result<Whole, Problem> {
    if are_events(&answer) {
        let Some(codecs) = Codecs::between(operation, operation) else {
            return Err(unreadable("the upstream answered with events where a whole answer was asked for"));
        };
        let names = NameMap::default();
        return generate::whole::answer(codecs, (operation, operation), &names, context, &answer.body);
    }
    let stats = tap::whole::look(operation, &answer.body)
        .ok_or_else(|| understand::no_answer(operation.family(), &answer.body))?;
    if let Some(problem) = stats.error {
        return Err(problem);
    }
    let edited = context.stored_ids.as_ref().and_then(|ids| stored::in_response(&answer.body, ids));
    let changed = edited.is_some();
    Ok(Whole { body: edited.unwrap_or(answer.body), content_type: JSON, stats, changed })
}

fn are_events(answer: &Answer<'_>) -> bool {
    let stated = answer.content_type.is_some_and(|kind| kind.trim_start().starts_with("text/event-stream"));
    let are_events = sniff::is_events(&answer.body) || (stated && !sniff::is_json(&answer.body));
    (200..300).contains(&answer.status) && are_events
}
