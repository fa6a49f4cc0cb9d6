//! What a call refers to that an upstream keeps: the id says it, and nothing is looked up. Ids that were not issued to the
//! caller, by an upstream of the model's route, are refused alike, whether they are forged, another tenant's or forgotten.

use std::sync::Arc;

use bytes::Bytes;
use http::{
    HeaderMap,
    header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE},
};
use http_body_util::Full;
use routeapi_channel::ObjectId;
use routeapi_protocol::{
    codec::Malformed,
    dialect::Operation,
    inbound::MatchedPath,
    request::ParsedRequest,
    stored::{self, StoredPath},
};

use super::{printable::clip_model, refusal::Refusal};
use crate::{
    config::runtime::{Route, Upstream},
    state::{PresentedId, ResponseIds},
};

/// A stored response that a call refers to.
pub(super) struct StoredResponse {
    ids: Arc<ResponseIds>,
    /// As the client wrote it, for messages.
    named: String,
    /// None where nobody can have issued it.
    presented: Option<PresentedId>,
    token: ObjectId,
    /// Whether the call is about it, and not going on from it.
    is_subject: bool,
}

impl StoredResponse {
    /// What a call about a stored response is about: the call as any other, for the model that was asked then.
    pub(super) fn subject(
        path: StoredPath,
        token: &ObjectId,
        ids: &Arc<ResponseIds>,
    ) -> Result<(MatchedPath, Box<Self>), Refusal> {
        let StoredPath { call, id, query, framing, unknown_query } = path;
        let unknown = || Refusal::UnknownResponse { id: clip_model(&id), is_subject: true };
        let presented = PresentedId::read(&id).ok_or_else(unknown)?;
        let matched = MatchedPath {
            operation: Operation::Stored(call),
            model: Some(presented.model.clone()),
            path: Some(call.path(&presented.upstream_id, &query)),
            framing: Some(framing),
            query: None,
            unknown_query,
        };
        let ids = Arc::clone(ids);
        let subject = Self { ids, named: id, presented: Some(presented), token: token.clone(), is_subject: true };
        Ok((matched, Box::new(subject)))
    }

    /// What a request goes on from, if it goes on from anything.
    pub(super) fn previous(request: &ParsedRequest, token: &ObjectId, ids: &Arc<ResponseIds>) -> Option<Box<Self>> {
        let named = request.previous_response()?.into_owned();
        let presented = PresentedId::read(&named);
        Some(Box::new(Self { ids: Arc::clone(ids), named, presented, token: token.clone(), is_subject: false }))
    }

    /// The upstreams of a route that can know it. All of them where none keeps anything: they refuse it each for its own
    /// reason.
    pub(super) fn issuers(&self, route: &Route) -> Result<Vec<Arc<Upstream>>, Refusal> {
        let keeping: Vec<_> = route.upstreams.iter().filter(|upstream| keeps_responses(upstream)).collect();
        if keeping.is_empty() && !self.is_subject {
            return Ok(route.upstreams.clone());
        }
        let issued = |upstream: &&Arc<Upstream>| {
            let whose = (&self.token, &upstream.provider.id);
            self.presented.as_ref().is_some_and(|presented| self.ids.is_issued(presented, whose))
        };
        let issuers: Vec<_> = keeping.into_iter().filter(issued).cloned().collect();
        if issuers.is_empty() {
            return Err(Refusal::UnknownResponse { id: clip_model(&self.named), is_subject: self.is_subject });
        }
        Ok(issuers)
    }

    /// What the upstreams call it.
    pub(super) fn upstream_id(&self) -> Option<&str> {
        self.presented.as_ref().map(|presented| presented.upstream_id.as_str())
    }
}

/// Refuses a conversation that a vendor keeps: the gateway has issued none, so that it can be anybody's.
pub(super) fn refuse_conversation(request: &ParsedRequest, route: &Route) -> Result<(), Refusal> {
    if !request.names_conversation() || !route.upstreams.iter().any(|upstream| keeps_responses(upstream)) {
        return Ok(());
    }
    Err(Refusal::Malformed(Malformed::of(
        "conversation",
        "conversations are not served by this gateway: the vendor keeps them in one account for all of its users; \
         go on with previous_response_id",
    )))
}

/// Whether what an upstream answers can be gone on from.
fn keeps_responses(upstream: &Upstream) -> bool {
    upstream.operations.contains(&Operation::Responses)
}

/// What gives the clients of this token and provider their ids.
pub(super) fn ids_for(
    ids: &Arc<ResponseIds>,
    token: &ObjectId,
    provider: &ObjectId,
    requested_model: &str,
) -> stored::ResponseIds {
    let (ids, token, provider) = (Arc::clone(ids), token.clone(), provider.clone());
    let requested_model = requested_model.to_owned();
    stored::ResponseIds::new(move |id| ids.issue((&token, &provider), &requested_model, id))
}

/// What stands in the place of a body: all that a call about a stored response asks is in its address.
pub(super) fn no_body(headers: &mut HeaderMap) -> Full<Bytes> {
    for name in [CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE] {
        headers.remove(name);
    }
    Full::new(Bytes::from_static(b"{}"))
}
