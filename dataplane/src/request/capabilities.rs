//! What a request needs a model to be able to do, in an AIRoute's own names.

use routeapi_crds::value::Capability;
use routeapi_protocol::request::{Needs, ParsedRequest};

use crate::config::{
    runtime::{Token, Upstream},
    terms::Terms,
};

/// What a call needs and an upstream lacks on these terms, as an AIRoute writes it; empty if it lacks nothing.
pub fn lacking(terms: &Terms<'_>, request: &ParsedRequest) -> String {
    capability_names(
        &needed_capabilities(request.needs()).into_iter().filter(|need| !terms.can(*need)).collect::<Vec<_>>(),
    )
}

/// Whether an upstream, as it is configured now, can serve this model to this token for a call that needs this.
pub(super) fn serves(upstream: &Upstream, requested_model: &str, needs: Needs, token: &Token) -> bool {
    let terms = upstream.terms(requested_model).filter(|terms| terms.priced || !token.denies_unpriced);
    upstream.weight > 0 && terms.is_some_and(|terms| needed_capabilities(needs).iter().all(|need| terms.can(*need)))
}

pub(super) fn needed_capabilities(needs: Needs) -> Vec<Capability> {
    let all = [
        (needs.streaming, Capability::Streaming),
        (needs.tools, Capability::Tools),
        (needs.parallel_tools, Capability::ParallelTools),
        (needs.json_mode, Capability::JSONMode),
        (needs.json_schema, Capability::JSONSchema),
        (needs.vision, Capability::Vision),
        (needs.audio, Capability::Audio),
        (needs.documents, Capability::Documents),
        (needs.reasoning, Capability::Reasoning),
        (needs.embeddings, Capability::Embeddings),
        (needs.prompt_caching, Capability::PromptCaching),
    ];
    all.into_iter().filter_map(|(need, capability)| need.then_some(capability)).collect()
}

/// As they are written in an AIRoute.
pub(super) fn capability_names(needed: &[Capability]) -> String {
    let word = |capability: &Capability| serde_json::to_value(capability).ok()?.as_str().map(str::to_owned);
    needed.iter().filter_map(word).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_capabilities_use_airoute_names() {
        let needs = Needs { tools: true, json_schema: true, ..Needs::default() };
        assert_eq!(capability_names(&needed_capabilities(needs)), "Tools, JSONSchema");
    }
}
