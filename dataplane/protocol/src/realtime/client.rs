//! A client's events: is it about the model that it may use.
//!
//! The model of a session is the one of its address, for which the token, the route and the price were looked up.
//! `session.update` can name one as well; servers that take it from there (vLLM does) must not be led elsewhere.

use std::borrow::Cow;

use crate::{
    problem::{Problem, ProblemKind},
    scan::{Kind, Scan, Value},
    splice::{self, Edit},
};

/// Longest id of an event that is repeated, in characters.
const LONGEST_ID: usize = 128;

/// An event that is not passed on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// Why.
    pub problem: Problem,
    /// Its `event_id`.
    pub event: Option<String>,
}

/// Looks at a client's event. `asked` is the model that the client connected with, `sent` what it is called at the upstream.
/// None if it is passed on as it is; otherwise the event to pass on, in which the model has the upstream's name.
///
/// # Errors
/// When it is not one JSON object, so that another reader could find something else in it, or names another model.
pub fn check(event: &[u8], asked: &str, sent: &str) -> Result<Option<Vec<u8>>, Refused> {
    let wrong = |problem: Problem, event: Option<String>| Refused { problem, event };
    let scan = Scan::read(event).map_err(|error| {
        let message = format!("the event is not valid JSON: {error}");
        wrong(Problem::new(ProblemKind::InvalidRequest, message), None)
    })?;
    if !is_update(&scan, event) {
        return Ok(None);
    }
    let edits = models(&scan, event).and_then(|models| {
        let renamed = models.into_iter().map(|model| renamed(&model, event, asked, sent));
        renamed.filter_map(Result::transpose).collect::<Result<Vec<Edit>, Problem>>()
    });
    let edits = edits.map_err(|problem| {
        let id = scan.last(event, "event_id").and_then(|id| id.text(event));
        wrong(problem, id.map(|id| id.chars().take(LONGEST_ID).collect()))
    })?;
    Ok((!edits.is_empty()).then(|| splice::apply(event, edits)))
}

/// Whether any reader could take it for `session.update` (or the beta's `transcription_session.update`).
fn is_update(scan: &Scan, event: &[u8]) -> bool {
    let types = scan.members().iter().filter(|member| member.is(event, "type"));
    types.filter_map(|member| member.value.text(event)).any(|kind| kind.ends_with("session.update"))
}

/// Where the event can name the session's model: in the session, and beside it (vLLM).
fn models(scan: &Scan, event: &[u8]) -> Result<Vec<Value>, Problem> {
    let repeated = |name: &str| {
        Problem::new(ProblemKind::InvalidRequest, format!("`{name}` is given more than once")).at(name.to_owned())
    };
    let mut found: Vec<Value> =
        scan.once(event, "model").map_err(|_| repeated("model"))?.cloned().into_iter().collect();
    if let Some(session) = scan.once(event, "session").map_err(|_| repeated("session"))? {
        let before = found.len();
        session.each_named(event, &["model"], |model| {
            if found.len() < before + 2 {
                found.push(model);
            }
        });
        if found.len() > before + 1 {
            return Err(repeated("session.model"));
        }
    }
    Ok(found)
}

/// The edit that gives a model its name at the upstream; none if it has it. The upstream's own name is what
/// `session.created` tells, which clients send back.
fn renamed(model: &Value, event: &[u8], asked: &str, sent: &str) -> Result<Option<Edit>, Problem> {
    match (model.kind, model.text(event)) {
        (Kind::Null, _) => Ok(None),
        (_, Some(name)) if name == sent => Ok(None),
        (_, Some(name)) if name == asked => Ok(Some(Edit::string(model.span.clone(), sent))),
        (_, name) => {
            let name: Cow<'_, str> = name.unwrap_or(Cow::Borrowed("something else than a name"));
            let name: String = name.chars().filter(|letter| !letter.is_control()).take(LONGEST_ID).collect();
            let message = format!(
                "this session is one of {asked:?}, by which it was routed; connect anew to use {name:?} (session.update \
                 cannot change the model)"
            );
            Err(Problem::new(ProblemKind::InvalidRequest, message).at("session.model"))
        }
    }
}
