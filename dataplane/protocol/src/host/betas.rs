//! Beta features of Anthropic's API that clouds take. They refuse a whole request, or reset its connection, for one flag that
//! they do not know (hard case 245), so that only these are passed on.

use crate::{codec::Head, dialect::Operation, report::Report};

/// What Bedrock and Vertex AI were seen to take (docs/protocols/clouds.md).
pub(super) const TAKEN: [&str; 17] = [
    "computer-use-2024-10-22",
    "computer-use-2025-01-24",
    "context-1m-2025-08-07",
    "context-management-2025-06-27",
    "dev-full-thinking-2025-05-14",
    "fine-grained-tool-streaming-2025-05-14",
    "interleaved-thinking-2025-05-14",
    "mcp-client-2025-04-04",
    "mcp-client-2025-11-20",
    "model-context-window-exceeded-2025-08-26",
    "output-128k-2025-02-19",
    "pdfs-2024-09-25",
    "search-results-2025-06-09",
    "token-counting-2024-11-01",
    "token-efficient-tools-2025-02-19",
    "tool-search-tool-2025-10-19",
    "web-search-2025-03-05",
];

/// Those that say how a body is to be read which clouds read in the same way without them.
pub(super) const IMPLIED: [&str; 2] = ["prompt-caching-2024-07-31", "extended-cache-ttl-2025-04-11"];

/// Those of the client's flags that are passed on. Counting takes none of them (hard case 246).
pub(super) fn taken(operation: Operation, head: &Head) -> impl Iterator<Item = &str> {
    let counts = operation == Operation::MessagesCountTokens;
    head.anthropic_beta.iter().map(String::as_str).filter(move |flag| !counts && TAKEN.contains(flag))
}

/// Says which are not passed on and change what the request means.
pub(super) fn report(operation: Operation, head: &Head, report: &mut Report) {
    if operation != Operation::Messages {
        return;
    }
    for flag in head.anthropic_beta.iter().filter(|flag| !TAKEN.contains(&flag.as_str())) {
        if !IMPLIED.contains(&flag.as_str()) {
            report.dropped(format!("anthropic-beta={flag}"));
        }
    }
}
