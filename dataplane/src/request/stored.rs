//! What a call refers to that an upstream keeps: the id says it, and nothing is looked up. Ids that were not issued to the
//! caller, by an upstream of the model's route, are refused alike, whether they are forged, another tenant's or forgotten.

use std::{collections::BTreeSet, sync::Arc};

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
    stored::{self, StoredCall, StoredKind, StoredPath},
};

use super::{caller::Caller, printable::clip_model, refusal::Refusal};
use crate::{
    config::runtime::{Route, Runtime, Upstream},
    state::{PresentedId, StoredIds},
};

/// A stored response or conversation that a call refers to.
pub(super) struct StoredObject {
    ids: Arc<StoredIds>,
    kind: StoredKind,
    /// As the client wrote it.
    named: String,
    /// None where nobody can have issued it.
    presented: Option<PresentedId>,
    token: ObjectId,
    /// Whether the call is about it, and not going on from it.
    is_subject: bool,
}

/// What a call about something stored is: a call as any other, for the model that was asked when that was made, or, where
/// the call makes it, for one that the caller names or has.
pub(super) fn matched(
    path: &StoredPath,
    (runtime, caller): (&Runtime, &Caller),
    ids: &Arc<StoredIds>,
) -> Result<(MatchedPath, Option<Box<StoredObject>>), Refusal> {
    let subject =
        path.id.as_deref().map(|id| StoredObject::subject(path.call, id, &caller.token.id, ids)).transpose()?;
    let presented = subject.as_ref().and_then(|subject| subject.presented.as_ref());
    let model = match (presented, &path.model) {
        (Some(presented), _) => presented.model.clone(),
        (None, Some(named)) => named.clone(),
        (None, None) => only_home(runtime, caller, path.call)?,
    };
    let matched = MatchedPath {
        operation: Operation::Stored(path.call),
        model: Some(model),
        path: Some(path.upstream(presented.map(|presented| presented.upstream_id.as_str()))),
        framing: Some(path.framing),
        query: None,
        unknown_query: path.unknown_query,
    };
    Ok((matched, subject.map(Box::new)))
}

/// A model whose route leads to the one provider that can keep what the call makes, where the caller has but one.
fn only_home(runtime: &Runtime, caller: &Caller, call: StoredCall) -> Result<String, Refusal> {
    let takes_part =
        |upstream: &&Arc<Upstream>| upstream.weight > 0 && upstream.operations.contains(&Operation::Stored(call));
    let (mut providers, mut first) = (BTreeSet::new(), None);
    for (model, route) in runtime.models(caller.token.id.namespace()) {
        let keeping = route.upstreams.iter().filter(takes_part).map(|upstream| &upstream.provider.id);
        let before = providers.len();
        providers.extend(keeping.filter(|_| caller.token.may_name(model)));
        if providers.len() > 1 {
            break;
        }
        if providers.len() > before {
            first = Some(model.to_owned());
        }
    }
    let message = match first {
        Some(model) if providers.len() == 1 => return Ok(model),
        Some(_) => {
            "several providers could keep the conversation: say for which model it is meant, \
             POST /v1/conversations?model=MODEL"
        }
        None => {
            "none of the models that /v1/models lists for you is on a provider that keeps conversations; for a model that is \
             not listed, POST /v1/conversations?model=MODEL"
        }
    };
    Err(Refusal::Malformed(Malformed::of("model", message)))
}

// === impl StoredObject ===

impl StoredObject {
    /// What a call is about.
    fn subject(call: StoredCall, id: &str, token: &ObjectId, ids: &Arc<StoredIds>) -> Result<Self, Refusal> {
        let kind = call.kind();
        let presented = PresentedId::read(kind, id).ok_or_else(|| Refusal::UnknownStored {
            kind,
            id: clip_model(id),
            is_subject: true,
        })?;
        let (ids, presented) = (Arc::clone(ids), Some(presented));
        Ok(Self { ids, kind, named: id.to_owned(), presented, token: token.clone(), is_subject: true })
    }

    /// What a request goes on from, if it goes on from anything.
    pub(super) fn continued(request: &ParsedRequest, token: &ObjectId, ids: &Arc<StoredIds>) -> Option<Box<Self>> {
        let stored::Continued { kind, id } = request.continued()?;
        let presented = PresentedId::read(kind, &id);
        let (ids, token) = (Arc::clone(ids), token.clone());
        Some(Box::new(Self { ids, kind, named: id.into_owned(), presented, token, is_subject: false }))
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
            return Err(Refusal::UnknownStored {
                kind: self.kind,
                id: clip_model(&self.named),
                is_subject: self.is_subject,
            });
        }
        Ok(issuers)
    }

    /// What the upstreams call it.
    pub(super) fn upstream_id(&self) -> Option<&str> {
        self.presented.as_ref().map(|presented| presented.upstream_id.as_str())
    }
}

/// Whether what an upstream answers can be gone on from.
fn keeps_responses(upstream: &Upstream) -> bool {
    upstream.operations.contains(&Operation::Responses)
}

/// What gives the clients of this token and provider their ids. What the call refers to keeps the id that it was called by:
/// another model may have been asked for it.
pub(super) fn ids_for(
    ids: &Arc<StoredIds>,
    (token, provider): (&ObjectId, &ObjectId),
    requested_model: &str,
    referred: Option<&StoredObject>,
) -> stored::StoredIds {
    let (ids, token, provider) = (Arc::clone(ids), token.clone(), provider.clone());
    let requested_model = requested_model.to_owned();
    let known = referred.and_then(|it| Some((it.kind, it.upstream_id()?.to_owned(), it.named.clone())));
    stored::StoredIds::new(move |kind, id| match &known {
        Some((known, upstream_id, named)) if *known == kind && upstream_id == id => Some(named.clone()),
        _ => ids.issue((&token, &provider), &requested_model, (kind, id)),
    })
}

/// What stands in the place of a body: all that most calls about something stored ask is in their address.
pub(super) fn no_body(headers: &mut HeaderMap) -> Full<Bytes> {
    for name in [CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE] {
        headers.remove(name);
    }
    Full::new(Bytes::from_static(b"{}"))
}
