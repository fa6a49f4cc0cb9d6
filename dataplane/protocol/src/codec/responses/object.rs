//! The whole `response` object, which stands alone as an answer and in the first and last events of a stream.

use super::{ending::Ending, request_echo, usage};
use crate::{
    codec::{
        ResponseContext,
        json::write::{Elements, Members},
    },
    ir::Usage,
};

/// What is the same in each of an answer's objects.
#[derive(Clone, Debug)]
pub struct Identity {
    /// `resp_…`
    pub id: String,
    /// Seconds since 1970.
    pub created: i64,
}

/// Writes the members.
pub fn put(
    identity: &Identity,
    ending: &Ending,
    usage: Option<Usage>,
    context: &ResponseContext,
    out: &mut Members<'_>,
    output: impl FnOnce(&mut Elements<'_>),
) {
    out.put("id", &identity.id);
    out.put("object", "response");
    out.put("created_at", &identity.created);
    out.put("status", ending.status());
    out.put("background", &false);
    match ending {
        Ending::Failed(code, message) => out.object("error", |out| {
            out.put("code", code);
            out.put("message", message);
        }),
        _ => out.put("error", &None::<bool>),
    }
    match ending {
        Ending::Incomplete(reason) => out.object("incomplete_details", |out| out.put("reason", reason)),
        _ => out.put("incomplete_details", &None::<bool>),
    }
    out.put("model", &context.model);
    out.list("output", output);
    out.put("previous_response_id", &None::<bool>);
    // Nothing is kept here, whatever the client asked for.
    out.put("store", &false);
    match &context.echo {
        Some(echo) => out.put_members(&echo.members),
        None => out.put_members(&request_echo::unknown()),
    }
    match usage {
        Some(counts) => usage::put(counts, out),
        None => out.put("usage", &None::<bool>),
    }
}
