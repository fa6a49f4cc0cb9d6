//! Why an upstream cannot be called on the client's API, in the words of its AIProvider.

use routeapi_crds::value::ProviderType;
use routeapi_protocol::{dialect::Operation, direct::Direct};

use crate::config::runtime::Upstream;

/// Why a provider does not have the client's API: servers of OpenAI's type have those that `endpoints` says.
pub(super) fn missing_api(upstream: &Upstream) -> String {
    let provider = &upstream.provider;
    let endpoints: Vec<&str> = upstream.operations.iter().filter_map(|operation| endpoint_name(*operation)).collect();
    match provider.type_ {
        ProviderType::OpenAI | ProviderType::AzureOpenAI if !endpoints.is_empty() => {
            let endpoints = endpoints.join(" and ");
            if upstream.operations == provider.operations {
                format!("the endpoints of its provider are {endpoints}")
            } else {
                format!("by its field api, it is called on {endpoints} alone")
            }
        }
        type_ => format!("providers of type {type_:?} do not have it"),
    }
}

/// The word in `endpoints`.
const fn endpoint_name(operation: Operation) -> Option<&'static str> {
    match operation {
        Operation::ChatCompletions => Some("ChatCompletions"),
        Operation::Responses => Some("Responses"),
        Operation::Embeddings => Some("Embeddings"),
        // Each word once, though some stand for several paths.
        Operation::Direct(direct) => match direct {
            Direct::Completions => Some("Completions"),
            Direct::Moderations => Some("Moderations"),
            Direct::ImageGenerations => Some("Images"),
            Direct::Speech => Some("Speech"),
            Direct::Transcriptions => Some("Transcriptions"),
            Direct::Rerank => Some("Rerank"),
            Direct::Realtime => Some("Realtime"),
            Direct::Unlisted => Some("OtherPaths"),
            Direct::ImageEdits
            | Direct::ImageVariations
            | Direct::Translations
            | Direct::Score
            | Direct::Compaction => None,
        },
        _ => None,
    }
}
